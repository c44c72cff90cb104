"""Gaussian processes of the board: on features at large, and with a drift in size and data.

Legend: n rows, F features or recipe columns, k columns of the drift.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ncpl.laws.base import Array
from ncpl.model.gaussian_process import distance, matern
from ncpl.model.marginal_likelihood import FittedKernel, Kernel, fit_kernel

SUBSET = 700
"""Rows the kernel's numbers are fitted on; the posterior uses all rows."""
ROUNDS = 2
CENTRES = (0.0, -1.0, -1.5, -0.3, -0.7, -2.3)
"""Where the logs of the drift kernel's scales start, and the centres of their wide priors: drift,
drift of an optimizer, short range, recipe, recipe of an optimizer, noise; in standard deviations of
the loss."""
Drift = Literal["linear", "quadratic"]


class Rows(NamedTuple):
    """What a process reads of some runs, as arrays or tensors."""

    scale: Any
    """Log size and log data, (n, 2)."""
    recipe: Any
    """Standardized recipe columns, (n, F)."""
    kind: Any
    """Code of the optimizer; negative where training never saw it."""

    def take(self, rows: Any) -> Rows:
        """Return some rows."""
        return Rows(*(column[rows] for column in self))


class Bounded:
    """What both kernels share: safe logs, the noise as the last log but where it stands."""

    jitter = 1e-8
    noise_at = -1

    def bounded(self, logs: Tensor) -> Tensor:
        """Return the logs inside the range in which the factorization is safe."""
        return logs.clamp(-7, 5)

    def noise(self, logs: Tensor) -> Tensor:
        """Return the variance of the noise."""
        return (2 * logs[self.noise_at]).exp()


class FeatureKernel(Bounded):
    """Matern-5/2 of all features and a linear drift; logs: F lengths, scale, noise, drift."""

    noise_at = -2

    def covariance(self, a: Rows, b: Rows, logs: Tensor) -> Tensor:
        """Return the covariance of two sets of rows, shape (n, m)."""
        length, scale, drift = logs[:-3].exp(), logs[-3].exp(), logs[-1].exp()
        near: Tensor = matern(distance(a.recipe / length, b.recipe / length))
        found: Tensor = scale**2 * near + drift**2 * (a.recipe @ b.recipe.T + 1)
        return found

    def variance(self, a: Rows, logs: Tensor) -> Tensor:
        """Return the prior variance of each row, shape (n,)."""
        scale, drift = logs[-3].exp(), logs[-1].exp()
        found: Tensor = scale**2 + drift**2 * ((a.recipe**2).sum(1) + 1)
        return found

    def surprise(self, logs: Tensor) -> Tensor:
        """Return weak priors: an unused length scale may not run away."""
        return ((logs[:-3] - 0.7) ** 2).sum() / (2 * 1.5**2) + ((logs[-1] + 1) ** 2) / 8


@dataclass(frozen=True)
class DriftKernel(Bounded):
    """A drift in log size and log data that goes on where no run lies, and Matern-5/2 beside it.

    Beside the smooth part in the recipe stand a polynomial drift with the same terms for each
    optimizer, and a short-range part in size and data. Logs: F + 2 + 2 length scales, then those of
    `CENTRES`.
    """

    drift: Drift
    has_kinds: bool
    n_lengths: int

    def covariance(self, a: Rows, b: Rows, logs: Tensor) -> Tensor:
        """Return the covariance of two sets of rows, noise left out, shape (n, m)."""
        n_recipe = a.recipe.shape[1]
        lengths, scales = logs[:-6].exp(), (2 * logs[-6:]).exp()
        recipe, wide, short = lengths[:n_recipe], lengths[n_recipe:-2], lengths[-2:]
        total: Tensor = scales[0] * (self.basis(a.scale) @ self.basis(b.scale).T)
        total = total + scales[2] * matern(distance(a.scale / short, b.scale / short))
        whole_a, whole_b = (torch.cat([r.recipe / recipe, r.scale / wide], 1) for r in (a, b))
        near: Tensor = matern(distance(whole_a, whole_b))
        if not self.has_kinds:
            return total + scales[3] * near
        same = ((a.kind[:, None] == b.kind[None, :]) & (a.kind[:, None] >= 0)).double()
        own: Tensor = _linear(a.scale) @ _linear(b.scale).T
        total += scales[1] * own * same + near * (scales[3] + scales[4] * same)
        return total

    def basis(self, scale_n2: Tensor) -> Tensor:
        """Return the drift's columns, shape (n, k)."""
        if self.drift == "linear":
            return _linear(scale_n2)
        n, d = scale_n2.unbind(1)
        return torch.cat([_linear(scale_n2), torch.stack([d * d / 2, n * d], 1)], 1)

    def variance(self, a: Rows, logs: Tensor) -> Tensor:
        """Return the prior variance of each row, noise left out, shape (n,)."""
        scales = (2 * logs[-6:]).exp()
        total = scales[0] * (self.basis(a.scale) ** 2).sum(1) + scales[2] + scales[3]
        if self.has_kinds:
            known = (a.kind >= 0).double()
            own = scales[1] * (_linear(a.scale) ** 2).sum(1)
            total = total + known * (own + scales[4])
        return total

    @property
    def start(self) -> Tensor:
        """Return the logs to start from, which are the centres of their priors too."""
        first = [1.0] * (self.n_lengths - 2) + [0.5, 0.5, *CENTRES]
        return torch.tensor(first, dtype=torch.float64)

    def surprise(self, logs: Tensor) -> Tensor:
        """Return wide log-normal priors: they hold unused numbers."""
        width = torch.full_like(logs, 1.2)
        width[-6:] = 2.0
        return (((logs - self.start) / width) ** 2).sum() / 2


def _linear(scale_n2: Tensor) -> Tensor:
    return torch.cat([torch.ones_like(scale_n2[:, :1]), scale_n2], 1)


@dataclass(frozen=True)
class FittedProcess:
    """A fitted process: predicts a mean and a standard deviation for new rows."""

    posterior: FittedKernel[Rows]
    centre: Array
    spread: Array
    """Of the columns that are standardized."""
    level: float
    unit: float

    def predict(self, rows: Rows | Array) -> tuple[Array, Array]:
        """Return means and standard deviations (noise included), in the unit of the values.

        Takes what the process was fitted on: rows, or features (n, F).
        """
        asked = read(rows, self.centre, self.spread)
        mean, deviation = self.posterior.given(asked, self._prior(asked))
        return self.level + self.unit * mean, self.unit * deviation

    def left_out_scale(self, groups: Sequence[str | None], *, share: float) -> float:
        """Return how many standard deviations hold `share` of left-out training rows."""
        prior = self._prior(self.posterior.rows)
        return self.posterior.left_out_scale(prior, groups, share=share)

    def _prior(self, rows: Rows) -> Tensor:
        kernel: Any = self.posterior.kernel
        found: Tensor = kernel.variance(rows, self.posterior.logs)
        return found


def read(rows: Rows | Array, centre: Array, spread: Array) -> Rows:
    """Return rows as tensors in a process's own units; features at large stand as recipes."""
    if isinstance(rows, Rows):
        scaled = (rows.scale - centre) / spread
        return Rows(*map(torch.from_numpy, rows._replace(scale=scaled)))
    x = torch.from_numpy((rows - centre) / spread)
    return Rows(x[:, :0], x, torch.zeros(len(x), dtype=torch.int64))


def fit_gp(features_nF: Array, values_n: Array, *, seed: int = 0) -> FittedProcess:
    """Return the process fitted to residuals (nats) at these features.

    Raises ValueError if there are fewer than 10 rows or a feature is not finite.
    """
    check(values_n, features_nF)
    centre, spread = features_nF.mean(0), features_nF.std(0)
    spread = np.where(spread > 1e-9, spread, 1.0)
    start = torch.zeros(features_nF.shape[1] + 3, dtype=torch.float64)
    start[-3:] = torch.tensor([0.0, math.log(0.1), math.log(0.3)])
    level = float(values_n.mean())
    rows = read(features_nF, centre, spread)
    return _fitted(FeatureKernel(), rows, values_n, start, 60, centre, spread, level, seed)


def fit_drift_process(
    rows: Rows, values_n: Array, *, drift: Drift = "quadratic", seed: int = 0
) -> FittedProcess:
    """Return the process fitted to residuals (nats) of these rows.

    Raises ValueError if there are fewer than 10 rows or a column is not finite.
    """
    check(values_n, rows.scale, rows.recipe)
    centre = rows.scale.mean(0)
    # Two sizes close together must not become two labels far apart.
    spread = np.maximum(rows.scale.std(0), 0.3)
    has_kinds = len(set(rows.kind.tolist())) > 1
    kernel = DriftKernel(drift, has_kinds, rows.recipe.shape[1] + 4)
    level = float(np.median(values_n))
    known = read(rows, centre, spread)
    return _fitted(kernel, known, values_n, kernel.start, 40, centre, spread, level, seed)


def check(values_n: Array, *columns: Array) -> None:
    """Raise ValueError where rows are too few or not finite."""
    finite = all(np.isfinite(values).all() for values in (*columns, values_n))
    if len(values_n) < 10 or not finite:
        raise ValueError("a Gaussian process needs at least 10 rows of finite features")


def _fitted(
    kernel: Kernel[Rows], rows: Rows, values_n: npt.NDArray[np.float64], start: Tensor,
    iterations: int, centre: Array, spread: Array, level: float, seed: int,
) -> FittedProcess:  # fmt: skip
    unit = float(values_n.std()) or 1.0
    target = torch.from_numpy((values_n - level) / unit)
    generator = np.random.default_rng(seed)
    some = torch.from_numpy(np.sort(generator.permutation(len(values_n))[:SUBSET]))
    found = fit_kernel(kernel, rows, target, some, start, iterations=iterations, rounds=ROUNDS)
    return FittedProcess(found, centre, spread, level, unit)
