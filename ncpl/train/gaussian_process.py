"""The Gaussian process, fitted to what the surface leaves over of the training runs.

Legend: n training runs, F features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ncpl.model.arrays import Array
from ncpl.model.encoder import Encoder
from ncpl.model.gaussian_process import Features, Process, Scales, columns_of, kernel
from ncpl.model.inputs import Inputs
from ncpl.model.marginal_likelihood import fit_kernel
from ncpl.model.response_surface import Surface

SUBSET = 700
"""Runs the kernel's numbers are fitted on; the mean uses all runs."""
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

    def bounded(self, logs: Tensor) -> Tensor:
        """Return the logs inside the range in which the factorization is safe."""
        return torch.cat([logs[:-1].clamp(-5, 4), logs[-1:].clamp(-4, 4)])

    def covariance(self, a: Features, b: Features, logs: Tensor) -> Tensor:
        """Return the covariance of two sets of runs, in units of the residual squared."""
        found: Tensor = kernel(a, b, logs, has_own=self.has_own)
        return found

    def noise(self, logs: Tensor) -> Tensor:
        """Return the variance of the noise."""
        return (2 * logs[-1]).exp()

    def surprise(self, logs: Tensor) -> Tensor:
        """Return the negative log of log-normal priors."""
        spread = torch.full_like(self.start, LENGTH_SPREAD)
        spread[-len(START_LOGS) :] = SCALE_SPREAD
        return (((logs - self.start) / spread) ** 2).sum() / 2


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
    start = [START_LENGTH] * known.x.shape[1] + list(START_LOGS)
    own = RecipeKernel(
        torch.tensor(start, dtype=torch.float64), bool((known.place != known.place[0]).any())
    )
    # A fold in which a field no longer varies compares fewer numbers: it fits its own.
    is_tuned = logs is None or len(logs) != len(start)
    first = own.start if logs is None or is_tuned else torch.from_numpy(logs)
    found = fit_kernel(
        own, known, y, some, first, iterations=iterations, rounds=ROUNDS, is_tuned=is_tuned
    )
    return Process(
        **vars(scales), logs=found.logs.numpy(), unit=np.array(unit), x=features.x,
        drift=features.drift, place=features.place, solved=found.solved().numpy(),
        typical=known.x[:, 2:].median(0).values.numpy(), carries_level=np.ones((), dtype=bool),
        fades=np.zeros((), dtype=bool),
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
