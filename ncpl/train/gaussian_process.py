"""The Gaussian process, fitted to what the surface leaves over of the training runs.

Above EXACT_RUNS training runs it is told by some of them: inducing.py.

Legend: n training runs, F features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from ncpl.model.arrays import Array
from ncpl.model.encoder import Encoder
from ncpl.model.gaussian_process import DRIFT, Features, Process, Scales, columns_of, kernel
from ncpl.model.inputs import Inputs
from ncpl.model.marginal_likelihood import fit_kernel, maximize
from ncpl.model.response_surface import Surface
from ncpl.train.inducing import kept_runs, solve_with_trust

SUBSET = 700
"""Runs the kernel's numbers are fitted on; the mean uses all runs."""
EXACT_RUNS = 2000
"""Training runs up to which the process is exact."""
ITERATIONS = 40
ROUNDS = 3
"""Times the weights are taken from what the process then leaves over."""
START_LOGS = (0.0, -1.0, -1.5, -1.0, -2.0, -1.0)
"""Logs of the shared scale, an optimizer's own scale, slope and level, a cell's level, noise."""
START_LENGTH, LENGTH_SPREAD, SCALE_SPREAD = 1.0, 1.0, 1.5
"""Log length scale to start from, and the spreads of the log-normal priors."""


@dataclass(frozen=True)
class RecipeKernel:
    """The kernel of `model.gaussian_process`, with its prior."""

    start: Tensor
    has_own: bool
    jitter: float = 1e-5

    @classmethod
    def of(cls, known: Features) -> Self:
        """Return the kernel of training runs, at its start."""
        start = [START_LENGTH] * known.x.shape[1] + list(START_LOGS)
        has_own = bool((known.place != known.place[0]).any())
        return cls(torch.tensor(start, dtype=torch.float64), has_own)

    def bounded(self, logs: Tensor) -> Tensor:
        """Return the logs inside the range in which the factorization is safe."""
        return torch.cat([logs[:-1].clamp(-5, 4), logs[-1:].clamp(-4, 4)])

    def covariance(self, a: Features, b: Features, logs: Tensor) -> Tensor:
        """Return the covariance of two sets of runs, in units of the residual squared."""
        found: Tensor = kernel(a, b, logs, has_own=self.has_own)
        return found

    def variance(self, a: Features, logs: Tensor) -> Tensor:
        """Return the variance of each run (n,), in units of the residual squared."""
        scale, own_scale, slope, level, cell, _ = logs[a.x.shape[1] :].exp()
        drift: Tensor = torch.as_tensor(a.drift).square().sum(1)
        found: Tensor = scale**2 + DRIFT**2 * (drift + 1)
        if self.has_own:
            own = own_scale**2 + slope**2 * drift + level**2 + cell**2
            found = found + own * (torch.as_tensor(a.place) >= 0)
        return found

    def noise(self, logs: Tensor) -> Tensor:
        """Return the variance of the noise."""
        return (2 * logs[-1]).exp()

    def surprise(self, logs: Tensor) -> Tensor:
        """Return the negative log of log-normal priors."""
        spread = torch.full_like(self.start, LENGTH_SPREAD)
        spread[-len(START_LOGS) :] = SCALE_SPREAD
        return (((logs - self.start) / spread) ** 2).sum() / 2


class Fitted(NamedTuple):
    """A process, and which of the training runs it keeps."""

    process: Process
    places: Array
    """Places of the runs kept, in order: all of them up to EXACT_RUNS."""


def fit_process(
    inputs: Inputs,
    residual_n: Array,
    surface: Surface,
    encoder: Encoder,
    *,
    seed: int,
    iterations: int = ITERATIONS,
    logs: Array | None = None,
) -> Fitted:
    """Return the process fitted to the surface's residuals (nats) of the training runs.

    Kernel numbers maximize the marginal likelihood of a seeded subset under log-normal priors;
    `logs`, those of a process on the same fields, are taken as they are.
    """
    scales = scales_of(inputs, columns_of(encoder))
    features = scales.features(inputs, surface)
    known = Features(*(torch.from_numpy(column) for column in features))
    unit = 1.5 * float(torch.from_numpy(np.abs(residual_n)).median()) + 1e-6
    y = torch.from_numpy(np.asarray(residual_n, dtype=np.float64)) / unit
    generator = torch.Generator().manual_seed(seed)
    some = torch.randperm(len(y), generator=generator)[:SUBSET].sort().values
    own = RecipeKernel.of(known)
    # A fold in which a field no longer varies compares fewer numbers: it fits its own.
    is_tuned = logs is None or len(logs) != len(own.start)
    first = own.start if logs is None or is_tuned else torch.from_numpy(logs)
    kept = features
    places = np.arange(len(y))
    if len(y) <= EXACT_RUNS:
        found = fit_kernel(
            own, known, y, some, first, iterations=iterations, rounds=ROUNDS, is_tuned=is_tuned
        )
        fitted, solved = found.logs, found.solved()
    else:
        fitted, chosen, solved = _told_by_some(
            own, known, y, some, first, seed=seed, iterations=iterations, is_tuned=is_tuned
        )
        places = chosen.numpy()
        kept = features.take(places)
    process = Process(
        **vars(scales), logs=fitted.numpy(), unit=np.array(unit), x=kept.x,
        drift=kept.drift, place=kept.place, solved=solved.numpy(),
        typical=known.x[:, 2:].median(0).values.numpy(), carries_level=np.ones((), dtype=bool),
        fades=np.zeros((), dtype=bool),
    )  # fmt: skip
    return Fitted(process, places)


def _told_by_some(
    own: RecipeKernel,
    known: Features,
    y: Tensor,
    some: Tensor,
    first: Tensor,
    *,
    seed: int,
    iterations: int,
    is_tuned: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the kernel's numbers, which runs are kept (m,), and their weights (m,)."""
    logs = first
    if is_tuned:
        logs = maximize(own, known.take(some), y[some], torch.ones_like(y[some]), logs, iterations)
    places = kept_runs(own, known, logs, seed=seed)
    if is_tuned:
        for _ in range(ROUNDS):
            _, trusted = solve_with_trust(own, known, y, places, logs, rounds=1)
            logs = maximize(own, known.take(some), y[some], trusted[some], logs, iterations // 2)
    weight, _ = solve_with_trust(own, known, y, places, logs, rounds=ROUNDS)
    return own.bounded(logs), places, weight


def scales_of(inputs: Inputs, columns: list[int]) -> Scales:
    """Return how features are made, by the training runs."""
    own = inputs.numbers[:, columns]
    given = inputs.codes[:, columns] == 1
    count = given.sum(0).clip(min=1)
    mean = (own * given).sum(0) / count
    spread = np.sqrt(((own - mean) ** 2 * given).sum(0) / count)
    sizes = inputs.law[:, :2].astype(np.float64)
    spread = np.where(spread > 1e-6, spread, 1.0)
    return Scales(np.array(columns, dtype=np.int64), spread, sizes.min(0), sizes.max(0))
