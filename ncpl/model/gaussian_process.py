"""A Gaussian process on what the law leaves over: the member that remembers single runs.

    kernel = s^2 Matern(x, x') + drift + same optimizer * (t^2 Matern(x / 1.5, x' / 1.5) + drift)
             + u^2 same optimizer, size and data

x holds size, data, the distances to the law's optimum and every other recipe number as the encoder
gives it (0, its usual value, where absent). The drift is linear in log N and log D. Size and data
stop at the border of the training runs: beyond it the law alone extrapolates. Whether what the
process says of a typical run of the largest size holds for larger ones, or only how runs differ
from it, is chosen by left-out sizes (`carries_level`). The last term is what the runs of one cell
share and no other cell can know: without it single cells bend what is shared. Where all training
runs have one optimizer, nothing is its own. The noise of a run is a Student-t: rounds of weights
from exact leave-one-out residuals, so that spikes count little.

Legend: n training runs, m runs asked for, F features, K local coefficients.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ncpl.model.encoder import Encoder
from ncpl.model.response_surface import Surface, distances
from ncpl.model.seen import LAW_FIELDS

SUBSET = 700
"""Runs the kernel's numbers are fitted on; the mean uses all runs."""
ITERATIONS = 40
STUDENT_T = 4.0
"""Degrees of freedom of the noise."""
ROUNDS = 3
"""Times the weights are taken from what the process then leaves over."""
JITTER = 1e-5
REACH = 4.0
"""Standard deviations at which a recipe number stops: further out it says the same."""
WIDER = 1.5
"""Length scales of one optimizer's own part, as a multiple of the shared ones."""
FADE = 0.7
"""Logs beyond the largest training size over which what is said beside the law falls to 1/e: runs
at the border tell less and less of larger ones, and their noise would be carried with them."""
DRIFT = 0.3
"""Prior size of the shared drift, in units of the residual."""
START_LOGS = (0.0, -1.0, -1.5, -1.0, -2.0, -1.0)
"""Logs of the shared scale, an optimizer's own scale, slope and level, a cell's level, noise."""
START_LENGTH, LENGTH_SPREAD, SCALE_SPREAD = 1.0, 1.0, 1.5
"""Log length scale to start from, and the spreads of the log-normal priors."""


class Features(NamedTuple):
    """What the kernel compares; the same for training runs and for those asked for."""

    x: Tensor
    """(n, F)"""
    drift: Tensor
    """(n, 2) scaled log N and log D."""
    place: Tensor
    """(n,) place of the optimizer; -1 for one training has not seen."""
    sizes: Tensor
    """(n, 2) scaled log N and log D as they are: `drift` stops at the border."""


class Process(nn.Module):
    """The fitted process of one family. `solved` is the covariance's inverse times residuals."""

    columns: Tensor
    spread: Tensor
    low: Tensor
    high: Tensor
    logs: Tensor
    unit: Tensor
    x: Tensor
    drift: Tensor
    place: Tensor
    solved: Tensor
    typical: Tensor
    carries_level: Tensor
    fades: Tensor

    def __init__(self, n_runs: int, columns: list[int]) -> None:
        super().__init__()
        n_features = 4 + len(columns)
        for name, shape in (
            ("spread", (len(columns),)), ("low", (2,)), ("high", (2,)), ("unit", ()),
            ("logs", (n_features + len(START_LOGS),)),
            ("x", (n_runs, n_features)), ("drift", (n_runs, 2)), ("solved", (n_runs,)),
            ("typical", (n_features - 2,)),
        ):  # fmt: skip
            self.register_buffer(name, torch.zeros(shape, dtype=torch.float64))
        self.register_buffer("place", torch.zeros(n_runs, dtype=torch.int64))
        self.register_buffer("carries_level", torch.tensor(True))
        self.register_buffer("fades", torch.tensor(False))
        """Whether what is said beside the law fades beyond the largest size: see `kept_beyond`."""
        self.register_buffer("columns", torch.tensor(columns, dtype=torch.int64))

    @property
    def has_own(self) -> bool:
        """Return whether training runs differ in their optimizer: else nothing is one's own."""
        return bool((self.place != self.place[0]).any())

    @property
    def known(self) -> Features:
        """Return the features of the training runs: none lies beyond the border."""
        return Features(self.x, self.drift, self.place, self.drift)

    @classmethod
    def columns_of(cls, encoder: Encoder) -> list[int]:
        """Return the columns of encoded numbers that are compared: the recipe outside the law."""
        recipe = range(len(encoder.context), len(encoder.fields))
        return [j for j in recipe if encoder.fields[j] not in LAW_FIELDS]

    def features(
        self, numbers_BF: Tensor, codes_BF: Tensor, law_B6: Tensor, surface: Surface
    ) -> Features:
        """Return the features of encoded runs, in double precision."""
        free_B2 = torch.nan_to_num(law_B6[:, :2].double())
        sizes_B2 = free_B2.clamp(self.low, self.high)
        away_B2 = distances(surface.coefficients(law_B6), law_B6).double()
        given = codes_BF[:, self.columns] == 1
        recipe = (numbers_BF[:, self.columns].double() / self.spread).clamp(-REACH, REACH) * given
        x = torch.cat([sizes_B2, away_B2, recipe], dim=1)
        place = torch.nan_to_num(law_B6[:, 5], nan=-1.0).long()
        return Features(x, sizes_B2, place, free_B2)

    def kernel(self, a: Features, b: Features, logs: Tensor) -> Tensor:
        """Return the covariance (n, m) of two sets of runs, in units of the residual squared."""
        far = self.scaled_distance(a, b, logs)
        scale = logs[a.x.shape[1]].exp()
        covariance: Tensor = scale**2 * matern(far) + DRIFT**2 * (a.drift @ b.drift.T + 1)
        if not self.has_own:
            return covariance
        for place in torch.unique(a.place[a.place >= 0]).tolist():
            rows, columns = ((runs.place == place).nonzero()[:, 0] for runs in (a, b))
            own = self.own(far, a, b, logs, rows, columns)
            covariance = covariance.index_put((rows[:, None], columns), own, accumulate=True)
        return covariance

    def scaled_distance(self, a: Features, b: Features, logs: Tensor) -> Tensor:
        """Return how far runs are apart (n, m), in length scales."""
        length = logs[: a.x.shape[1]].exp()
        return distance(a.x / length, b.x / length)

    def own(
        self, far_nm: Tensor, a: Features, b: Features, logs: Tensor, rows: Tensor, columns: Tensor
    ) -> Tensor:
        """Return what runs of one optimizer have in common beside that (rows, columns)."""
        _, own_scale, slope, level, cell, _ = logs[a.x.shape[1] :].exp()
        drift = a.drift[rows] @ b.drift[columns].T
        one_cell = (a.sizes[rows][:, None] == b.sizes[columns]).all(-1)
        near = matern(far_nm[rows][:, columns] / WIDER)
        covariance: Tensor = own_scale**2 * near + slope**2 * drift + level**2
        covariance += cell**2 * one_cell
        return covariance

    @torch.no_grad()
    def nearest(
        self, inputs: tuple[Tensor, Tensor, Tensor], surface: Surface, count: int
    ) -> tuple[Tensor, Tensor]:
        """Return the `count` training runs most like each run asked for, and how far they are.

        Places (B, count) and distances (B, count) in length scales of the kernel; runs of another
        optimizer come after all of the same one.
        """
        asked = self.features(*inputs, surface)
        free = asked._replace(x=torch.cat([asked.sizes, asked.x[:, 2:]], dim=1))  # as they are
        far = self.scaled_distance(free, self.known, self.logs)
        other = asked.place[:, None] != self.place[None]
        order = (far + 1e3 * other).topk(min(count, far.shape[1]), largest=False).indices
        return order, far.gather(1, order)


def kept_beyond(process: Process, size_B: Tensor) -> Tensor:
    """Return the share (B) of what is said beside the law that holds at scaled log sizes."""
    if not process.fades:
        return torch.ones_like(size_B)
    return torch.exp(-(size_B - process.high[0].to(size_B)).clamp(min=0) / FADE)


def distance(a_nF: Tensor, b_mF: Tensor) -> Tensor:
    """Return Euclidean distances (n, m)."""
    square = (a_nF**2).sum(1)[:, None] + (b_mF**2).sum(1)[None] - 2 * a_nF @ b_mF.T
    return square.clamp_min(1e-12).sqrt()


def matern(far: Tensor) -> Tensor:
    """Return the Matern-5/2 correlation at distances in length scales."""
    scaled = math.sqrt(5) * far
    return (1 + scaled + scaled**2 / 3) * torch.exp(-scaled)


def fit_process(
    inputs: tuple[Tensor, Tensor, Tensor],
    residual_n: Tensor,
    surface: Surface,
    encoder: Encoder,
    *,
    seed: int,
    iterations: int = ITERATIONS,
    logs: Tensor | None = None,
) -> Process:
    """Return the process fitted to the law's residuals (nats) of the training runs.

    Kernel numbers maximize the marginal likelihood of a seeded subset under log-normal priors;
    `logs`, those of a process on the same fields, are taken as they are.
    """
    numbers, codes, law = inputs
    process = Process(len(residual_n), Process.columns_of(encoder))
    own = numbers[:, process.columns]
    given = codes[:, process.columns] == 1
    count = given.sum(0).clamp(min=1)
    mean = (own * given).sum(0) / count
    spread = (((own - mean) ** 2 * given).sum(0) / count).sqrt()
    process.spread.copy_(torch.where(spread > 1e-6, spread, torch.ones_like(spread)))
    sizes = torch.nan_to_num(law[:, :2])
    process.low.copy_(sizes.amin(0))
    process.high.copy_(sizes.amax(0))
    process.unit.copy_(1.5 * residual_n.abs().median() + 1e-6)
    with torch.no_grad():
        known = process.features(numbers, codes, law, surface)
    process.x.copy_(known.x)
    process.drift.copy_(known.drift)
    process.place.copy_(known.place)
    process.typical.copy_(known.x[:, 2:].median(0).values)
    y = residual_n.double() / process.unit
    generator = torch.Generator().manual_seed(seed)
    some = torch.randperm(len(y), generator=generator)[:SUBSET].sort().values
    part = Features(*(column[some] for column in known))
    start_logs = [START_LENGTH] * known.x.shape[1] + list(START_LOGS)
    start = torch.tensor(start_logs, dtype=torch.float64)
    # A fold in which a field no longer varies compares fewer numbers: it fits its own.
    is_tuned = logs is None or len(logs) != len(start)
    found = start if logs is None or is_tuned else logs
    weight = torch.ones_like(y)
    for i in range(ROUNDS + 1):
        if i:
            weight = weights(y, _factor(process, known, weight, found))
        if is_tuned:
            n = iterations if i == 0 else iterations // 2
            found = _maximize(process, part, y[some], weight[some], found, start, n)
    factor = _factor(process, known, weight, found)
    process.logs.copy_(bounded(found))
    process.solved.copy_(torch.cholesky_solve(y[:, None], factor)[:, 0])
    return process


def weights(y_n: Tensor, factor_nn: Tensor) -> Tensor:
    """Return the expected precision of each run's Student-t noise (n,), given how far off it is.

    `factor_nn` is the Cholesky factor of the covariance: leave-one-out residuals are exact.
    """
    inverse = torch.cholesky_inverse(factor_nn)
    left_out = (inverse @ y_n) / inverse.diagonal()
    size = left_out / (left_out.abs().median() / 0.6745)
    return (STUDENT_T + 1) / (STUDENT_T + size**2)


def bounded(logs: Tensor) -> Tensor:
    """Return the kernel's numbers inside the range in which the factorization is safe."""
    return torch.cat([logs[:-1].clamp(-5, 4), logs[-1:].clamp(-4, 4)])


def _factor(process: Process, runs: Features, weight_n: Tensor, logs: Tensor) -> Tensor:
    logs = bounded(logs)
    noise = (2 * logs[-1]).exp() / weight_n + JITTER
    factor: Tensor = torch.linalg.cholesky(process.kernel(runs, runs, logs) + torch.diag(noise))
    return factor


def _maximize(
    process: Process,
    runs: Features,
    y_n: Tensor,
    weight_n: Tensor,
    first: Tensor,
    centre: Tensor,
    iterations: int,
) -> Tensor:
    logs = first.clone().requires_grad_(True)
    n_features = runs.x.shape[1]
    optimizer = torch.optim.LBFGS(
        [logs], max_iter=iterations, history_size=20, line_search_fn="strong_wolfe"
    )
    spread = torch.full_like(first, LENGTH_SPREAD)
    spread[n_features:] = SCALE_SPREAD

    def closure() -> Tensor:
        optimizer.zero_grad()
        factor = _factor(process, runs, weight_n, logs)
        solved = torch.cholesky_solve(y_n[:, None], factor)[:, 0]
        prior = (((logs - centre) / spread) ** 2).sum() / 2
        loss = y_n @ solved / 2 + factor.diagonal().log().sum() + prior
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return logs.detach()
