"""How losses lie along a run, jointly: what a start of a run says of its rest and its end.

    loss(f) - base(f) = b_0 + sum_j b_j phi_j(f) + noise,   b ~ Normal(mean, cov),  phi_j(1) = 0

b_0 is what the final loss lies off, the phi are the functions of `data.schedules`, which know the
rate at f and what of it is still to come: a loss measured at a high rate says less of the end. The
base is the curve that the configuration alone gives, or zero where no model knows the family.

Legend: B runs, P points, K coefficients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from ncpl.data.fields import Config
from ncpl.data.schedules import N_FUNCTIONS, Array, Schedules

SPREADS = (0.6, 1.6, 6.0, 0.6, 1.6, 6.0, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4) + (0.5,) * (N_FUNCTIONS - 12)
"""Size of the functions along a run, by which they are divided: coefficients are then alike."""
STUDENT_T = 4.0
"""Degrees of freedom of the noise: a point of a spike counts little."""
ROUNDS = 4
"""Rounds of weights of the points of one run."""


class AlongRun(NamedTuple):
    """Means and standard deviations of Q places along one run, nats."""

    mean: Array
    spread: Array


def design(rows: Sequence[Config], frac_BP: Array) -> Array:
    """Return 1 and the functions, scaled, at shares of the run: (B, P, K)."""
    functions = Schedules.of(rows).functions(frac_BP) / np.array(SPREADS)
    return np.concatenate([np.ones((*frac_BP.shape, 1)), functions], axis=-1)


@dataclass(frozen=True)
class CurveProcess:
    """The distribution of the coefficients, and the noise of a point."""

    mean: Array
    """(K,)"""
    cov: Array
    """(K, K)"""
    noise: float
    """Standard deviation of a point, nats."""

    def coefficients(
        self, design_PK: Array, residual_P: Array, *, final: tuple[float, float] | None = None
    ) -> tuple[Array, Array]:
        """Return mean (K,) and covariance (K, K) of a run's coefficients, given its points.

        `final` is mean and standard deviation of b_0, where they are known better than by `cov`.
        """
        mean, cov = self.mean.copy(), self.cov
        if final is not None:
            scale = np.ones(len(mean))
            scale[0] = final[1] / np.sqrt(max(cov[0, 0], 1e-12))
            cov = cov * scale * scale[:, None]
            mean[0] = final[0]
        if not len(residual_P):
            return mean, cov
        off_P = residual_P - design_PK @ mean
        prior_PP = design_PK @ cov @ design_PK.T
        weight_P = np.ones(len(off_P))
        for _ in range(ROUNDS):
            noise_P = self.noise**2 / weight_P
            gain = np.linalg.solve(prior_PP + np.diag(noise_P), design_PK @ cov).T
            found = mean + gain @ off_P
            left_P = (residual_P - design_PK @ found) / self.noise
            weight_P = (STUDENT_T + 1) / (STUDENT_T + left_P**2)
        return found, cov - gain @ design_PK @ cov

    def tell(
        self,
        row: Config,
        frac_P: Array,
        residual_P: Array,
        at_Q: Array,
        *,
        final: tuple[float, float] | None = None,
    ) -> AlongRun:
        """Return what lies off the base at shares of the run, given points of it."""
        mean, cov = self.coefficients(design([row], frac_P[None])[0], residual_P, final=final)
        at_QK = design([row], at_Q[None])[0]
        variance = np.einsum("qk,kl,ql->q", at_QK, cov, at_QK)
        return AlongRun(at_QK @ mean, np.sqrt(np.maximum(variance, 0.0)))

    def state(self) -> dict[str, Array]:
        """Return the arrays of a bundle."""
        return {"mean": self.mean, "cov": self.cov, "noise": np.array(self.noise)}

    @classmethod
    def of_state(cls, state: Mapping[str, Array]) -> Self:
        """Return the process of a bundle's arrays. Raises LookupError where one is missing."""
        return cls(state["mean"], state["cov"], state["noise"].item())


def posteriors(
    process: CurveProcess,
    design_BPK: Array,
    residual_BP: Array,
    given_BP: npt.NDArray[np.bool_],
) -> tuple[Array, Array, Array]:
    """Return what `CurveProcess.coefficients` does, of all runs at once, and what is left over.

    Means (B, K), covariances (B, K, K) and residuals (B, P), zero where no point is given.
    """
    off_BP = np.where(given_BP, residual_BP - design_BPK @ process.mean, 0.0)
    prior = np.linalg.inv(process.cov)
    weight_BP = given_BP.astype(np.float64)
    for _ in range(ROUNDS):
        sure_BPK = design_BPK * (weight_BP / process.noise**2)[:, :, None]
        covs = np.linalg.inv(prior + sure_BPK.transpose(0, 2, 1) @ design_BPK)
        found = np.einsum("bkl,bpl,bp->bk", covs, sure_BPK, off_BP, optimize=True)
        left_BP = np.where(given_BP, off_BP - np.einsum("bpk,bk->bp", design_BPK, found), 0.0)
        weight_BP = given_BP * (STUDENT_T + 1) / (STUDENT_T + (left_BP / process.noise) ** 2)
    return process.mean + found, np.asarray(covs), np.asarray(left_BP)


def fit_curve_process(
    rows: Sequence[Config],
    frac_BP: Array,
    residual_BP: Array,
    *,
    weight_B: Array | None = None,
    rounds: int = 40,
    start: float = 0.05,
) -> CurveProcess:
    """Return the process that whole runs follow, by expectation and maximization.

    NaN marks points that a run does not have. `weight_B` is how much a run counts; `start` is the
    standard deviation of a coefficient at the beginning, nats.
    """
    given_BP: npt.NDArray[np.bool_] = np.isfinite(residual_BP) & np.isfinite(frac_BP)
    design_BPK = design(rows, np.where(given_BP, frac_BP, 1.0))
    n_runs, n_coefficients = design_BPK.shape[0], design_BPK.shape[2]
    weight_B = np.ones(n_runs) if weight_B is None else weight_B / weight_B.mean()
    mean = np.zeros(n_coefficients)
    process = CurveProcess(mean, start**2 * np.eye(n_coefficients), start / 3)
    prior = (start / 30) ** 2 * np.eye(n_coefficients)
    for _ in range(rounds):
        means, covs, left_BP = posteriors(process, design_BPK, residual_BP, given_BP)
        spread_BP = np.einsum("bpk,bkl,bpl->bp", design_BPK, covs, design_BPK)
        bounded_BP = np.minimum(np.abs(left_BP), 4 * process.noise) ** 2 + spread_BP
        square = float((weight_B * (bounded_BP * given_BP).sum(1)).sum())
        count = float((weight_B * given_BP.sum(1)).sum())
        # Heavy tails: a run far from the others counts less, as a Student-t coefficient would.
        precision = np.linalg.inv(process.cov)
        off = means - process.mean
        far = np.einsum("bk,kl,bl->b", off, precision, off) / n_coefficients
        share = weight_B * (STUDENT_T + 1) / (STUDENT_T + far)
        mean = (share[:, None] * means).sum(0) / share.sum()
        off = means - mean
        cov = np.einsum("b,bk,bl->kl", share, off, off)
        cov = cov + np.einsum("b,bkl->kl", share, covs)
        cov = (cov + 5 * prior) / (share.sum() + 5)
        process = CurveProcess(mean, (cov + cov.T) / 2, float(np.sqrt(square / max(count, 1.0))))
    return process
