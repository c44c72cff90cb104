"""Gaussian process that extrapolates in size and data along a fitted drift, not back to its mean.

Beside the smooth part in the recipe stand a polynomial drift in (log N, log D) with the same terms
for each optimizer, and a short-range part in (log N, log D). One Student-t reweighting makes it
robust to spikes. Legend: n rows, F recipe columns, k columns of the drift.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ncpl.laws.base import Array

SUBSET = 700
"""Rows the kernel's numbers are fitted on; the posterior uses all rows."""
ITERATIONS = 40
STUDENT_T = 4.0
JITTER = 1e-8
CENTRES = (0.0, -1.0, -1.5, -0.3, -0.7, -2.3)
"""Where the logs of the scales start, and the centres of their wide priors: drift, drift of an
optimizer, short range, recipe, recipe of an optimizer, noise; in standard deviations of the loss.
"""
Drift = Literal["linear", "quadratic"]


@dataclass(frozen=True)
class Rows:
    """What the process reads of some runs."""

    scale: Array
    """Log size and log data, (n, 2)."""
    recipe: Array
    """Standardized recipe columns, (n, F)."""
    kind: npt.NDArray[np.int64]
    """Code of the optimizer; negative where training never saw it."""


@dataclass(frozen=True)
class _Input:
    scale: Tensor
    recipe: Tensor
    kind: Tensor

    def take(self, rows: Tensor) -> _Input:
        return _Input(self.scale[rows], self.recipe[rows], self.kind[rows])


@dataclass(frozen=True)
class Kernel:
    """The covariance; `logs` holds F + 2 + 2 length scales, then the six scales of `CENTRES`."""

    logs: Tensor
    drift: Drift
    has_kinds: bool

    def covariance(self, a: _Input, b: _Input) -> Tensor:
        """Return the covariance of two sets of rows, noise left out, shape (n, m)."""
        n_recipe = a.recipe.shape[1]
        lengths, scales = self.logs[:-6].exp(), (2 * self.logs[-6:]).exp()
        recipe, wide, short = lengths[:n_recipe], lengths[n_recipe:-2], lengths[-2:]
        same = ((a.kind[:, None] == b.kind[None, :]) & (a.kind[:, None] >= 0)).double()
        total = scales[0] * (self.basis(a.scale) @ self.basis(b.scale).T)
        total = total + scales[2] * _matern(_square(a.scale / short, b.scale / short))
        apart = _square(a.recipe / recipe, b.recipe / recipe)
        apart = apart + _square(a.scale / wide, b.scale / wide)
        if not self.has_kinds:
            return total + scales[3] * _matern(apart)
        own = _linear(a.scale) @ _linear(b.scale).T
        return total + scales[1] * own * same + _matern(apart) * (scales[3] + scales[4] * same)

    def basis(self, scale_n2: Tensor) -> Tensor:
        """Return the drift's columns, shape (n, k)."""
        if self.drift == "linear":
            return _linear(scale_n2)
        n, d = scale_n2.unbind(1)
        return torch.cat([_linear(scale_n2), torch.stack([d * d / 2, n * d], 1)], 1)

    def variance(self, a: _Input) -> Tensor:
        """Return the prior variance of each row, noise left out, shape (n,)."""
        scales = (2 * self.logs[-6:]).exp()
        total = scales[0] * (self.basis(a.scale) ** 2).sum(1) + scales[2] + scales[3]
        if self.has_kinds:
            known = (a.kind >= 0).double()
            own = scales[1] * (_linear(a.scale) ** 2).sum(1)
            total = total + known * (own + scales[4])
        return total

    @property
    def noise(self) -> Tensor:
        """Return the variance of the noise."""
        return (2 * self.logs[-1]).exp()

    def factor(self, a: _Input, weight_n: Tensor) -> Tensor:
        """Return the Cholesky factor of the covariance with noise, shape (n, n)."""
        noisy = self.covariance(a, a) + torch.diag(self.noise / weight_n + JITTER)
        found: Tensor = torch.linalg.cholesky(noisy)
        return found


def _linear(scale_n2: Tensor) -> Tensor:
    return torch.cat([torch.ones_like(scale_n2[:, :1]), scale_n2], 1)


def _square(a: Tensor, b: Tensor) -> Tensor:
    return ((a**2).sum(1)[:, None] + (b**2).sum(1)[None, :] - 2 * a @ b.T).clamp_min(0)


def _matern(square: Tensor) -> Tensor:
    distance = math.sqrt(5) * square.clamp_min(1e-12).sqrt()
    return (1 + distance + distance**2 / 3) * torch.exp(-distance)


@dataclass(frozen=True)
class DriftProcess:
    """A fitted process: predicts a mean and a standard deviation for new rows."""

    kernel: Kernel
    centre: Array
    spread: Array
    """Of log size and log data, (2,) each."""
    level: float
    unit: float
    known: _Input
    target: Tensor
    weight: Tensor

    def read(self, rows: Rows) -> _Input:
        """Return rows in the process's own units."""
        return _read(rows, self.centre, self.spread)

    def predict(self, rows: Rows) -> tuple[Array, Array]:
        """Return means and standard deviations (noise included), in the unit of the values."""
        mean, deviation = self._given(self.known, self.target, self.weight, self.read(rows))
        return self.level + self.unit * mean, self.unit * deviation

    def _given(
        self, known: _Input, target: Tensor, weight: Tensor, new: _Input
    ) -> tuple[Array, Array]:
        factor = self.kernel.factor(known, weight)
        cross = self.kernel.covariance(new, known)
        mean = cross @ torch.cholesky_solve(target[:, None], factor)[:, 0]
        explained = (torch.linalg.solve_triangular(factor, cross.T, upper=False) ** 2).sum(0)
        variance = self.kernel.variance(new) - explained + self.kernel.noise
        return mean.numpy(), variance.clamp_min(1e-12).sqrt().numpy()

    def left_out_scale(
        self, groups: Sequence[str | None], *, share: float, n_folds: int = 5
    ) -> float:
        """Return how many standard deviations hold `share` of left-out training rows.

        Whole groups are left out, as in the split, the kernel kept; at least the normal quantile.
        """
        names = np.array([g or "" for g in groups])
        fold_of = {name: i % n_folds for i, name in enumerate(sorted(set(names.tolist())))}
        fold_n = np.array([fold_of[name] for name in names])
        scores = []
        for fold in sorted(set(fold_n.tolist())):
            inside = torch.from_numpy(np.flatnonzero(fold_n != fold))
            outside = torch.from_numpy(np.flatnonzero(fold_n == fold))
            if not len(inside):
                continue
            mean, deviation = self._given(
                self.known.take(inside),
                self.target[inside],
                self.weight[inside],
                self.known.take(outside),
            )
            scores.append(np.abs(mean - self.target[outside].numpy()) / deviation)
        normal = float(torch.special.ndtri(torch.tensor((1 + share) / 2, dtype=torch.float64)))
        return max(normal, float(np.quantile(np.concatenate(scores), share)) if scores else 0.0)


def fit_drift_process(
    rows: Rows, values_n: Array, *, drift: Drift = "quadratic", seed: int = 0
) -> DriftProcess:
    """Return the process fitted to residuals (nats) of these rows.

    Raises ValueError if there are fewer than 10 rows or a column is not finite.
    """
    finite = all(np.isfinite(a).all() for a in (rows.scale, rows.recipe, values_n))
    if len(values_n) < 10 or not finite:
        raise ValueError("a Gaussian process needs at least 10 rows of finite features")
    centre = rows.scale.mean(0)
    # two sizes close together must not become two labels far apart
    spread = np.maximum(rows.scale.std(0), 0.3)
    level, unit = float(np.median(values_n)), float(values_n.std()) or 1.0
    known = _read(rows, centre, spread)
    target = torch.from_numpy((values_n - level) / unit)
    n_lengths = rows.recipe.shape[1] + 4
    start = torch.full((n_lengths + 6,), 1.0, dtype=torch.float64)
    start[-6:] = torch.tensor(CENTRES)
    start[n_lengths - 2 : n_lengths] = 0.5
    kernel = Kernel(start, drift, len(set(rows.kind.tolist())) > 1)
    generator = np.random.default_rng(seed)
    some = torch.from_numpy(np.sort(generator.permutation(len(values_n))[:SUBSET]))
    weight = torch.ones(len(values_n), dtype=torch.float64)
    kernel = _maximize(kernel, known.take(some), target[some], weight[some], ITERATIONS)
    for _ in range(2):
        inverse = torch.cholesky_inverse(kernel.factor(known, weight))
        left_out = (inverse @ target) / inverse.diagonal()
        # expected precision of a Student-t residual, given how far off the row is
        size = left_out / torch.median(left_out.abs()) * 0.6745
        weight = (STUDENT_T + 1) / (STUDENT_T + size**2)
        kernel = _maximize(kernel, known.take(some), target[some], weight[some], ITERATIONS // 2)
    return DriftProcess(kernel, centre, spread, level, unit, known, target, weight)


def _read(rows: Rows, centre: Array, spread: Array) -> _Input:
    scale = torch.from_numpy((rows.scale - centre) / spread)
    return _Input(scale, torch.from_numpy(rows.recipe), torch.from_numpy(rows.kind))


def _maximize(
    kernel: Kernel, known: _Input, target: Tensor, weight: Tensor, iterations: int
) -> Kernel:
    """Return the kernel of largest posterior; wide log-normal priors hold unused numbers."""
    logs = kernel.logs.clone().requires_grad_(True)
    centre = torch.full_like(kernel.logs, 1.0)
    centre[-6:] = torch.tensor(CENTRES)
    centre[-8:-6] = 0.5
    width = torch.full_like(kernel.logs, 1.2)
    width[-6:] = 2.0
    optimizer = torch.optim.LBFGS(
        [logs], max_iter=iterations, history_size=20, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        factor = replace(kernel, logs=logs.clamp(-7, 5)).factor(known, weight)
        solved = torch.cholesky_solve(target[:, None], factor)[:, 0]
        prior = (((logs - centre) / width) ** 2).sum() / 2
        loss = target @ solved / 2 + factor.diagonal().log().sum() + prior
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return replace(kernel, logs=logs.detach().clamp(-7, 5))
