"""Gaussian process on what a law leaves over: ARD Matern-5/2 plus a linear drift, robust to spikes.

Legend: n rows, F features, k columns of the drift.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ncpl.laws.base import Array

SUBSET = 700
"""Rows the kernel's numbers are fitted on; the posterior uses all rows."""
STUDENT_T = 4.0
"""Degrees of freedom of the noise: rows far off are trusted less."""
JITTER = 1e-8


@dataclass(frozen=True)
class Kernel:
    """Fitted numbers of the kernel, in standardized units."""

    lengthscale: Tensor
    scale: Tensor
    """Standard deviation of the smooth part."""
    noise: Tensor
    drift: Tensor
    """Prior standard deviation of each linear slope and of the level."""

    def smooth(self, a_nF: Tensor, b_mF: Tensor) -> Tensor:
        """Return the Matern-5/2 covariance of two sets of rows, shape (n, m)."""
        distance = math.sqrt(5) * _distance(a_nF / self.lengthscale, b_mF / self.lengthscale)
        return self.scale**2 * (1 + distance + distance**2 / 3) * torch.exp(-distance)

    def full(self, a_nF: Tensor, b_mF: Tensor) -> Tensor:
        """Return the covariance with the linear drift added, shape (n, m)."""
        return self.smooth(a_nF, b_mF) + self.drift**2 * (a_nF @ b_mF.T + 1)


def _distance(a_nF: Tensor, b_mF: Tensor) -> Tensor:
    square = (a_nF**2).sum(1)[:, None] + (b_mF**2).sum(1)[None, :] - 2 * a_nF @ b_mF.T
    return square.clamp_min(1e-12).sqrt()


@dataclass(frozen=True)
class GaussianProcess:
    """A fitted process: predicts a mean and a standard deviation for new rows."""

    kernel: Kernel
    centre: Array | float
    spread: Array | float
    level: float
    unit: float
    """Mean and standard deviation of the fitted values, nats."""
    rows: Tensor
    solved: Tensor
    factor: Tensor
    weight: Tensor
    """Trust in each row: below one where it was far off."""

    def predict(self, features_nF: Array) -> tuple[Array, Array]:
        """Return means and standard deviations (noise included), in the unit of the values."""
        x = torch.from_numpy((features_nF - self.centre) / self.spread)
        cross = self.kernel.full(x, self.rows)
        mean = cross @ self.solved
        explained = torch.linalg.solve_triangular(self.factor, cross.T, upper=False)
        prior = self.kernel.scale**2 + self.kernel.drift**2 * ((x**2).sum(1) + 1)
        variance = prior - (explained**2).sum(0) + self.kernel.noise**2
        deviation = variance.clamp_min(1e-12).sqrt()
        return self.level + self.unit * mean.numpy(), self.unit * deviation.numpy()


def fit_gp(
    features_nF: Array, values_n: Array, *, seed: int = 0, iterations: int = 60
) -> GaussianProcess:
    """Return the process fitted to residuals (nats) at these features.

    The kernel's numbers maximize the marginal likelihood of a seeded subset; one round of
    Student-t weights from exact leave-one-out residuals then makes the posterior robust.
    Raises ValueError if there are fewer than 10 rows or a feature is not finite.
    """
    if len(values_n) < 10 or not np.isfinite(features_nF).all():
        raise ValueError("a Gaussian process needs at least 10 rows of finite features")
    centre, spread = features_nF.mean(0), features_nF.std(0)
    spread = np.where(spread > 1e-9, spread, 1.0)
    level, unit = float(values_n.mean()), float(values_n.std()) or 1.0
    x = torch.from_numpy((features_nF - centre) / spread)
    y = torch.from_numpy((values_n - level) / unit)
    generator = np.random.default_rng(seed)
    some = np.sort(generator.permutation(len(y))[:SUBSET])
    weight = torch.ones(len(y), dtype=torch.float64)
    kernel = _maximize(x[some], y[some], weight[some], iterations)
    for _ in range(2):
        factor = _factor(kernel, x, weight)
        inverse = torch.cholesky_inverse(factor)
        left_out = (inverse @ y) / inverse.diagonal()
        # Expected precision of a Student-t residual, given how far off the row is.
        size = left_out / torch.median(left_out.abs()) * 0.6745
        weight = (STUDENT_T + 1) / (STUDENT_T + size**2)
        kernel = _maximize(x[some], y[some], weight[some], iterations // 2, kernel)
    factor = _factor(kernel, x, weight)
    solved = torch.cholesky_solve(y[:, None], factor)[:, 0]
    return GaussianProcess(kernel, centre, spread, level, unit, x, solved, factor, weight)


def left_out_scale(
    process: GaussianProcess,
    values_n: Array,
    groups: Sequence[str | None],
    *,
    share: float,
    n_folds: int = 5,
) -> float:
    """Return how many standard deviations hold `share` of left-out rows.

    Whole groups are left out, as in the split, with the kernel kept; at least the normal quantile
    is returned, so that a lucky fold cannot narrow the intervals.
    """
    y = torch.from_numpy((values_n - process.level) / process.unit)
    names = np.array([g or "" for g in groups])
    distinct = sorted(set(names.tolist()))
    fold_of = {name: i % n_folds for i, name in enumerate(distinct)}
    fold_n = np.array([fold_of[name] for name in names])
    scores = []
    for fold in range(min(n_folds, len(distinct))):
        inside, outside = torch.from_numpy(fold_n != fold), torch.from_numpy(fold_n == fold)
        x = process.rows[inside]
        factor = _factor(process.kernel, x, process.weight[inside])
        solved = torch.cholesky_solve(y[inside][:, None], factor)[:, 0]
        part = replace(
            process,
            rows=x,
            solved=solved,
            factor=factor,
            centre=0.0,
            spread=1.0,
            level=0.0,
            unit=1.0,
        )
        mean, deviation = part.predict(process.rows[outside].numpy())
        scores.append(np.abs(mean - y[outside].numpy()) / deviation)
    normal = float(torch.special.ndtri(torch.tensor((1 + share) / 2, dtype=torch.float64)))
    return max(normal, float(np.quantile(np.concatenate(scores), share)))


def _factor(kernel: Kernel, x_nF: Tensor, weight_n: Tensor) -> Tensor:
    covariance = kernel.full(x_nF, x_nF)
    noisy = covariance + torch.diag(kernel.noise**2 / weight_n + JITTER)
    factor: Tensor = torch.linalg.cholesky(noisy)
    return factor


def _maximize(
    x_nF: Tensor, y_n: Tensor, weight_n: Tensor, iterations: int, start: Kernel | None = None
) -> Kernel:
    n_features = x_nF.shape[1]
    first = torch.zeros(n_features + 3, dtype=torch.float64)
    first[n_features:] = torch.tensor([0.0, math.log(0.1), math.log(0.3)])
    if start is not None:
        rest = torch.stack([start.scale, start.noise, start.drift])
        first = torch.cat([start.lengthscale, rest]).log()
    logs = first.clone().requires_grad_(True)
    optimizer = torch.optim.LBFGS(
        [logs], max_iter=iterations, history_size=20, line_search_fn="strong_wolfe"
    )

    def of(values: Tensor) -> Kernel:
        bounded = values.clamp(-7, 5)
        scale, noise, drift = bounded[n_features:].exp()
        return Kernel(bounded[:n_features].exp(), scale, noise, drift)

    def closure() -> Tensor:
        optimizer.zero_grad()
        factor = _factor(of(logs), x_nF, weight_n)
        solved = torch.cholesky_solve(y_n[:, None], factor)[:, 0]
        # Weak log-normal priors keep an unused length scale from running away.
        prior = ((logs[:n_features] - 0.7) ** 2).sum() / (2 * 1.5**2) + ((logs[-1] + 1) ** 2) / 8
        loss = y_n @ solved / 2 + factor.diagonal().log().sum() + prior
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return of(logs.detach())
