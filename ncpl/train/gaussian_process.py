"""The Gaussian process, fitted to what the surface leaves over of the training runs.

The noise of a run is a Student-t: rounds of weights from exact leave-one-out residuals, so that
spikes count little.

Legend: n training runs, F features.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ncpl.model.arrays import Array
from ncpl.model.encoder import Encoder
from ncpl.model.gaussian_process import Features, Process, Scales, columns_of, kernel
from ncpl.model.inputs import Inputs
from ncpl.model.response_surface import Surface

SUBSET = 700
"""Runs the kernel's numbers are fitted on; the mean uses all runs."""
ITERATIONS = 40
STUDENT_T = 4.0
"""Degrees of freedom of the noise."""
ROUNDS = 3
"""Times the weights are taken from what the process then leaves over."""
JITTER = 1e-5
START_LOGS = (0.0, -1.0, -1.5, -1.0, -2.0, -1.0)
"""Logs of the shared scale, an optimizer's own scale, slope and level, a cell's level, noise."""
START_LENGTH, LENGTH_SPREAD, SCALE_SPREAD = 1.0, 1.0, 1.5
"""Log length scale to start from, and the spreads of the log-normal priors."""


def fit_process(
    inputs: Inputs,
    residual_n: Array,
    surface: Surface,
    encoder: Encoder,
    *,
    seed: int,
    iterations: int = ITERATIONS,
    logs: Array | None = None,
) -> Process:
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
    n_features = known.x.shape[1]
    start = torch.tensor([START_LENGTH] * n_features + list(START_LOGS), dtype=torch.float64)
    # A fold in which a field no longer varies compares fewer numbers: it fits its own.
    is_tuned = logs is None or len(logs) != len(start)
    found = start if logs is None or is_tuned else torch.from_numpy(logs)
    has_own = bool((known.place != known.place[0]).any())
    weight = torch.ones_like(y)
    for i in range(ROUNDS + 1):
        if i:
            weight = weights(y, factor_of(known, weight, found, has_own=has_own))
        if is_tuned:
            n = iterations if i == 0 else iterations // 2
            part = known.take(some)
            found = _maximize(part, y[some], weight[some], found, start, n, has_own=has_own)
    factor = factor_of(known, weight, found, has_own=has_own)
    return Process(
        scales.columns, scales.spread, scales.low, scales.high,
        logs=bounded(found).numpy(), unit=np.array(unit), x=features.x, drift=features.drift,
        place=features.place, solved=torch.cholesky_solve(y[:, None], factor)[:, 0].numpy(),
        typical=known.x[:, 2:].median(0).values.numpy(), carries_level=np.array(True),
    )  # fmt: skip


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


def factor_of(runs: Features, weight_n: Tensor, logs: Tensor, *, has_own: bool) -> Tensor:
    """Return the Cholesky factor (n, n) of the covariance of runs, noise included."""
    logs = bounded(logs)
    noise = (2 * logs[-1]).exp() / weight_n + JITTER
    factor: Tensor = torch.linalg.cholesky(
        kernel(runs, runs, logs, has_own=has_own) + torch.diag(noise)
    )
    return factor


def _maximize(
    runs: Features,
    y_n: Tensor,
    weight_n: Tensor,
    first: Tensor,
    centre: Tensor,
    iterations: int,
    *,
    has_own: bool,
) -> Tensor:
    logs = first.clone().requires_grad_(True)
    optimizer = torch.optim.LBFGS(
        [logs], max_iter=iterations, history_size=20, line_search_fn="strong_wolfe"
    )
    spread = torch.full_like(first, LENGTH_SPREAD)
    spread[runs.x.shape[1] :] = SCALE_SPREAD

    def closure() -> Tensor:
        optimizer.zero_grad()
        factor = factor_of(runs, weight_n, logs, has_own=has_own)
        solved = torch.cholesky_solve(y_n[:, None], factor)[:, 0]
        prior = (((logs - centre) / spread) ** 2).sum() / 2
        loss = y_n @ solved / 2 + factor.diagonal().log().sum() + prior
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return logs.detach()
