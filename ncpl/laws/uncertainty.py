"""How sure a fit is: a bootstrap over groups of runs, or draws from the posterior of few.

Legend: K refits, n rows, P parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ncpl.laws.base import Array, Law, LawFit
from ncpl.laws.fitting import STEP, FitProblem
from ncpl.laws.posterior import sample

ROUNDS = 60
TOLERANCE = 1e-7
GROUPS_A_PARAMETER = 4
"""With fewer groups a parameter, a bootstrap is too sure."""


@dataclass(frozen=True)
class Bootstrap:
    """Refits of one law on groups drawn with replacement."""

    law: Law
    centre: Array
    """The fit on all rows, (P,)."""
    draws_KP: Array
    n_groups: int
    n_failed: int
    """Refits that did not converge; they are kept out, and said."""
    noise_K: Array
    """What single runs spread by around the law, in the space of its residuals."""
    method: str = "bootstrap"
    """bootstrap, or posterior: with few groups, or numbers that are not identified."""

    def interval(self, share: float = 0.9) -> dict[str, tuple[float, float]]:
        """Return the central interval of each parameter, in its own unit."""
        edges = [(1 - share) / 2, (1 + share) / 2]
        low, high = np.quantile(self.draws_KP, edges, axis=0)
        names = [p.name for p in self.law.parameters]
        return {n: (float(a), float(b)) for n, a, b in zip(names, low, high, strict=True)}

    def band(self, inputs: Mapping[str, npt.ArrayLike], share: float = 0.9) -> tuple[Array, Array]:
        """Return the interval of the fitted curve at these inputs (not of new runs)."""
        predicted = self.law.predict_many(self.draws_KP, inputs)
        low, high = np.quantile(predicted, [(1 - share) / 2, (1 + share) / 2], axis=0)
        return low, high

    def to_json(self) -> dict[str, Any]:
        """Return intervals and counts as plain JSON values."""
        return {
            "method": self.method,
            "share": 0.9,
            "refits": len(self.draws_KP),
            "failed": self.n_failed,
            "groups": self.n_groups,
            "interval": {name: list(ends) for name, ends in self.interval().items()},
        }


def bootstrap_fit(
    fit: LawFit,
    inputs: Mapping[str, npt.ArrayLike],
    loss: npt.ArrayLike,
    groups: Sequence[object] | None = None,
    *,
    n_refits: int = 200,
    seed: int = 0,
) -> Bootstrap:
    """Return refits on whole groups drawn with replacement (each row its own group by default).

    Runs of one group share a model size, a budget or a curve; drawing them apart would pretend to
    more evidence than there is. Raises ValueError with fewer groups than parameters.
    """
    law = fit.law
    columns = law.check(inputs)
    observed = np.asarray(loss, dtype=np.float64)
    names = (
        np.arange(len(observed))
        if groups is None
        else np.unique(np.array([str(g) for g in groups]), return_inverse=True)[1]
    )
    n_groups = int(names.max()) + 1
    if n_groups < 2:
        raise ValueError(
            f"intervals of law {law.name} need at least 2 groups of runs, found {n_groups}; fit "
            "without intervals: --refits 0"
        )
    generator = np.random.default_rng(seed)
    picks = generator.integers(n_groups, size=(n_refits, n_groups))
    counts = np.stack([np.bincount(row, minlength=n_groups) for row in picks])
    target = np.log(observed) if law.space == "log" else observed
    problem = FitProblem(law, columns, target, np.ones(len(observed)))
    start = np.array([p.inner(fit.values[p.name]) for p in law.parameters])
    ends, converged = refit(problem, counts[:, names].astype(np.float64), start)
    if converged.sum() < 0.5 * n_refits:
        raise ValueError(
            f"law {law.name}: {n_refits - int(converged.sum())} of {n_refits} refits did not "
            "converge; the law has more parameters than these groups can carry"
        )
    return Bootstrap(
        law=law,
        centre=law.theta(fit.values),
        draws_KP=problem.outer(ends[converged]),
        n_groups=n_groups,
        n_failed=int((~converged).sum()),
        noise_K=np.full(int(converged.sum()), noise_of(problem, start)),
    )


def noise_of(problem: FitProblem, z_P: Array) -> float:
    """Return what rows spread by around a fit: their root mean square a degree of freedom."""
    residual = problem.residuals(z_P[None])[0]
    free = max(1, len(residual) - len(z_P))
    return float(np.sqrt((residual**2).sum() / free))


def draws_of(
    fit: LawFit,
    inputs: Mapping[str, npt.ArrayLike],
    loss: npt.ArrayLike,
    groups: Sequence[object] | None = None,
    *,
    n_draws: int = 200,
    seed: int = 0,
) -> Bootstrap:
    """Return a bootstrap, or where that is too sure, draws from the posterior.

    That is with fewer than GROUPS_A_PARAMETER groups a parameter, and where the fit says that a
    parameter is not identified: every refit would end where its start and the flat pull lead it.
    Raises ValueError as `bootstrap_fit` does.
    """
    n_groups = len(np.atleast_1d(loss)) if groups is None else len({str(g) for g in groups})
    is_open = any("not identified" in warning for warning in fit.warnings)
    is_few = n_groups < GROUPS_A_PARAMETER * len(fit.law.parameters)
    has_priors = fit.law.prior_weight > 0 or "row" in fit.law.inputs
    if n_groups < 2 or has_priors or not (is_open or is_few):
        return bootstrap_fit(fit, inputs, loss, groups, n_refits=n_draws, seed=seed)
    law = fit.law
    observed = np.asarray(loss, dtype=np.float64)
    target = np.log(observed) if law.space == "log" else observed
    problem = FitProblem(law, law.check(inputs), target, np.ones(len(observed)))
    start = np.array([p.inner(fit.values[p.name]) for p in law.parameters])
    draws, noise = sample(problem, start, n_groups, n_draws=n_draws, seed=seed)
    return Bootstrap(
        law, law.theta(fit.values), problem.outer(draws), n_groups, 0, noise, "posterior"
    )


def refit(
    problem: FitProblem, weight_Kn: Array, start_P: Array
) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Return K optima (K, P) and which converged: damped Gauss-Newton on reweighted rows.

    All refits start at the fit on all rows and move together; each has its own damping.
    """
    delta = problem.law.huber_delta
    low, high = np.array([(p.inner(p.lower), p.inner(p.upper)) for p in problem.law.parameters]).T
    n_refits, n_parameters = len(weight_Kn), len(start_P)
    z_KP = np.repeat(np.clip(start_P, low, high)[None], n_refits, axis=0)
    damping = np.full(n_refits, 1e-3)
    centre, pull = problem.pulls

    def cost(z: Array, weight: Array) -> Array:
        size = np.abs(problem.residuals(z)) / delta
        data = (weight * np.where(size <= 1, size**2 / 2, size - 0.5)).sum(-1)
        return np.asarray(data + ((z - centre) ** 2 * pull).sum(-1) / 2)

    value = cost(z_KP, weight_Kn)
    active = np.ones(n_refits, dtype=bool)
    for _ in range(ROUNDS):
        at = np.flatnonzero(active)
        if not len(at):
            break
        z, weight = z_KP[at], weight_Kn[at]
        shifted = z[:, None, :] + STEP * np.concatenate(
            [np.zeros((1, n_parameters)), np.eye(n_parameters), -np.eye(n_parameters)]
        )
        residual = problem.residuals(shifted.reshape(-1, n_parameters))
        residual = residual.reshape(len(at), 2 * n_parameters + 1, -1)
        slope = (residual[:, 1 : n_parameters + 1] - residual[:, n_parameters + 1 :]) / (2 * STEP)
        here = residual[:, 0]
        trust = weight / np.maximum(np.abs(here), delta) / delta
        gram = np.einsum("kpn,kn,kqn->kpq", slope, trust, slope) + np.diag(pull)
        gradient = np.einsum("kpn,kn,kn->kp", slope, trust, here) + (z - centre) * pull
        scale = np.einsum("kpp->kp", gram)
        ridge = damping[at, None] * scale + 1e-12
        gram[:, np.arange(n_parameters), np.arange(n_parameters)] += ridge
        step = np.linalg.solve(gram, gradient[..., None])[..., 0]
        new = np.clip(z - step, low, high)
        after = cost(new, weight)
        better = after < value[at]
        gain = (value[at] - after) / np.maximum(value[at], 1e-12)
        z_KP[at[better]] = new[better]
        value[at[better]] = after[better]
        damping[at] = np.where(better, np.maximum(damping[at] / 5, 1e-9), damping[at] * 8)
        done = (better & (gain < TOLERANCE)) | (damping[at] > 1e8)
        active[at[done]] = False
    return z_KP, np.isfinite(value) & (~active | (damping < 1.0))
