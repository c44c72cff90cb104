"""A Gaussian process fitted by its marginal likelihood: one way for the model and for the board.

The noise of a row is a Student-t: rounds of weights from exact leave-one-out residuals, so that
spikes count little. Needs torch; what predicts from a fitted process does not (`gaussian_process`).

Legend: n rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from ncpl.model.arrays import Array

STUDENT_T = 4.0
"""Degrees of freedom of the noise."""


class Selectable(Protocol):
    """What a kernel compares."""

    def take(self, rows: Any) -> Self:
        """Return some rows."""
        ...


R = TypeVar("R", bound=Selectable)
A_contra = TypeVar("A_contra", bound=Selectable, contravariant=True)


class Kernel(Protocol[A_contra]):
    """A covariance whose numbers are fitted as logs."""

    @property
    def jitter(self) -> float:
        """Return what is added to the diagonal so that it can be factored."""
        ...

    def bounded(self, logs: Tensor) -> Tensor:
        """Return the logs inside the range in which the factorization is safe."""
        ...

    def covariance(self, a: A_contra, b: A_contra, logs: Tensor) -> Tensor:
        """Return the covariance of two sets of rows, noise left out, shape (n, m)."""
        ...

    def noise(self, logs: Tensor) -> Tensor:
        """Return the variance of the noise of a row of weight one."""
        ...

    def surprise(self, logs: Tensor) -> Tensor:
        """Return the negative log prior of the logs, up to a constant."""
        ...


@dataclass(frozen=True)
class FittedKernel(Generic[R]):
    """A kernel fitted to rows, and their values: the posterior."""

    kernel: Kernel[R]
    logs: Tensor
    rows: R
    values: Tensor
    weight: Tensor
    """Trust in each row (n,): below one where it was far off."""

    def factor(self, some: Any = slice(None)) -> Tensor:
        """Return the Cholesky factor of the covariance of some rows, noise included."""
        return factor_of(self.kernel, self.rows.take(some), self.weight[some], self.logs)

    def solved(self) -> Tensor:
        """Return the inverse covariance times the values (n,)."""
        return torch.cholesky_solve(self.values[:, None], self.factor())[:, 0]

    def given(self, asked: R, prior: Tensor, some: Any = slice(None)) -> tuple[Array, Array]:
        """Return means and standard deviations, noise included, at rows asked for.

        `prior` is their variance before anything was seen; only `some` of the rows are used.
        """
        factor = self.factor(some)
        cross = self.kernel.covariance(asked, self.rows.take(some), self.logs)
        mean = cross @ torch.cholesky_solve(self.values[some][:, None], factor)[:, 0]
        explained = (torch.linalg.solve_triangular(factor, cross.T, upper=False) ** 2).sum(0)
        variance = prior - explained + self.kernel.noise(self.logs)
        return mean.numpy(), variance.clamp_min(1e-12).sqrt().numpy()

    def left_out_scale(
        self, prior: Tensor, groups: Sequence[str | None], *, share: float, n_folds: int = 5
    ) -> float:
        """Return how many standard deviations hold `share` of left-out rows.

        Whole groups are left out, as in the split, with the kernel kept; at least the normal
        quantile, so that a lucky fold cannot narrow the intervals.
        """
        names = np.array([g or "" for g in groups])
        fold_of = {name: i % n_folds for i, name in enumerate(sorted(set(names.tolist())))}
        fold_n = np.array([fold_of[name] for name in names])
        scores = []
        for fold in sorted(set(fold_n.tolist())):
            inside, outside = (
                torch.from_numpy(np.flatnonzero(is_in))
                for is_in in (fold_n != fold, fold_n == fold)
            )
            if len(inside):
                mean, deviation = self.given(self.rows.take(outside), prior[outside], inside)
                scores.append(np.abs(mean - self.values[outside].numpy()) / deviation)
        normal = float(torch.special.ndtri(torch.tensor((1 + share) / 2, dtype=torch.float64)))
        return max(normal, float(np.quantile(np.concatenate(scores), share)) if scores else 0.0)


def fit_kernel(
    kernel: Kernel[R],
    rows: R,
    values_n: Tensor,
    some: Tensor,
    start: Tensor,
    *,
    iterations: int,
    rounds: int,
    is_tuned: bool = True,
) -> FittedKernel[R]:
    """Return the kernel whose logs maximize the marginal likelihood of `some` rows, from `start`.

    `rounds` times weights are taken from what is then left over, and the logs fitted again with
    half the iterations. With `is_tuned` false the logs stay as they are.
    """
    weight, logs = torch.ones_like(values_n), start
    for i in range(rounds + 1):
        if i:
            weight = weights(values_n, factor_of(kernel, rows, weight, logs))
        if is_tuned:
            n = iterations // 2 if i else iterations
            logs = maximize(kernel, rows.take(some), values_n[some], weight[some], logs, n)
    return FittedKernel(kernel, kernel.bounded(logs), rows, values_n, weight)


def weights(values_n: Tensor, factor_nn: Tensor) -> Tensor:
    """Return the expected precision of each row's Student-t noise (n,), given how far off it is.

    `factor_nn` is the Cholesky factor of the covariance: leave-one-out residuals are exact.
    """
    inverse = torch.cholesky_inverse(factor_nn)
    return trust((inverse @ values_n) / inverse.diagonal())


def trust(missed_n: Tensor) -> Tensor:
    """Return the same, given what is missed of each row left out."""
    size = missed_n / (missed_n.abs().median() / 0.6745)
    return (STUDENT_T + 1) / (STUDENT_T + size**2)


def factor_of(kernel: Kernel[R], rows: R, weight_n: Tensor, logs: Tensor) -> Tensor:
    """Return the Cholesky factor (n, n) of the covariance of rows, noise included."""
    logs = kernel.bounded(logs)
    noise = torch.diag(kernel.noise(logs) / weight_n + kernel.jitter)
    factor: Tensor = torch.linalg.cholesky(kernel.covariance(rows, rows, logs) + noise)
    return factor


def maximize(
    kernel: Kernel[R], rows: R, values_n: Tensor, weight_n: Tensor, first: Tensor, iterations: int
) -> Tensor:
    """Return the logs under which the values of rows are likeliest, from `first`."""
    logs = first.clone().requires_grad_(True)
    optimizer = torch.optim.LBFGS(
        [logs], max_iter=iterations, history_size=20, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        factor = factor_of(kernel, rows, weight_n, logs)
        solved = torch.cholesky_solve(values_n[:, None], factor)[:, 0]
        loss = values_n @ solved / 2 + factor.diagonal().log().sum() + kernel.surprise(logs)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return logs.detach()
