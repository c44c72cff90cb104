"""Robust fitting of a law: Huber loss, many starts, L-BFGS, and a verdict on identifiability."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ncpl.laws.base import Array, Inputs, Law, LawFit

SCREEN_POINTS = 1000
"""Starts are compared on at most this many rows; the best ones are finished on all rows."""
FINISHED_STARTS = 3
MIN_AGREEING = 3
"""Starts that have to end at one and the same best fit: where fewer do, the last bit of a sum, and
with it the machine, may decide which fit comes out."""
MAX_STARTS = 160
"""Starts are doubled up to this many in search of those."""
AGREEING_FRAC = 1e-3
"""Ends agree when their objectives differ by less than this share."""
STEP = 1e-6
"""Central difference step in the optimizer's coordinates, which are all of order one."""
FLAT_PULL = 0.1
"""Where the data say nothing, parameters go to the middle of their start range with this weight (in
units of delta squared, at the range's edge): a hundredth of one row that is 10 deltas off. Without
it the end of a flat valley would depend on the machine's rounding."""
POLISH_ROUNDS = 60
RETURN_STEPS = 4
POLISH_STEP = 0.3
"""Longest step of a round, in the optimizer's coordinates: valleys bend."""
WEAK_SPREAD = 1.0
"""A log-scale parameter known to no better than a factor e is not identified."""


@dataclass(frozen=True)
class FitProblem:
    """One law against one table, in the optimizer's coordinates."""

    law: Law
    inputs: Inputs
    target: Array
    weight: Array

    def outer(self, z_KP: Array) -> Array:
        """Return parameter values for coordinates of shape (K, P)."""
        return np.stack([p.outer(z_KP[..., i]) for i, p in enumerate(self.law.parameters)], axis=-1)

    def residuals(self, z_KP: Array) -> Array:
        """Return (K, n) residuals; a prediction outside the formula's domain counts as far off."""
        with np.errstate(all="ignore"):
            predicted = self.law.function(self.outer(z_KP), self.inputs)
        return np.nan_to_num(predicted - self.target, nan=1e3, posinf=1e3, neginf=-1e3)

    def objective(self, z_KP: Array) -> Array:
        """Return the summed Huber loss of K coordinate vectors, in units of delta squared."""
        delta = self.law.huber_delta
        size = np.abs(self.residuals(z_KP)) / delta
        data = (self.weight * np.where(size <= 1, size**2 / 2, size - 0.5)).sum(-1)
        centre, pull = self.pulls
        return np.asarray(data + ((z_KP - centre) ** 2 * pull).sum(-1) / 2)

    @cached_property
    def pulls(self) -> tuple[Array, Array]:
        """Return centres and strengths of the priors, and of the flat pull where there is none."""
        centre, pull = (column.copy() for column in self.priors)
        for i, p in enumerate(self.law.parameters):
            if pull[i] == 0:
                low, high = (p.inner(v) for v in p.start)
                centre[i] = (low + high) / 2
                pull[i] = FLAT_PULL / max((high - low) / 2, 1e-9) ** 2
        return centre, pull

    @cached_property
    def priors(self) -> tuple[Array, Array]:
        """Return the priors' centres and strengths, (P,) each; strength 0 where there is none."""
        centre = np.zeros(len(self.law.parameters))
        pull = np.zeros(len(self.law.parameters))
        for i, p in enumerate(self.law.parameters):
            if p.prior is not None:
                centre[i] = p.inner(p.prior[0])
                pull[i] = self.law.prior_weight * float(self.weight.sum()) / p.prior[1] ** 2
        return centre, pull

    def jacobian(self, z_P: Array) -> tuple[Array, Array]:
        """Return residuals (n,) and their derivatives (P, n), from one batched call."""
        steps = STEP * np.eye(len(z_P))
        stacked = self.residuals(np.concatenate([z_P[None], z_P + steps, z_P - steps]))
        n_parameters = len(z_P)
        return stacked[0], (stacked[1 : n_parameters + 1] - stacked[n_parameters + 1 :]) / (
            2 * STEP
        )

    def value_and_gradient(self, z_P: Array) -> tuple[float, Array]:
        """Return the objective and its gradient for L-BFGS."""
        residual, slope_Pn = self.jacobian(z_P)
        delta = self.law.huber_delta
        scaled = residual / delta
        size = np.abs(scaled)
        value = float((self.weight * np.where(size <= 1, size**2 / 2, size - 0.5)).sum())
        slope = slope_Pn @ (self.weight * np.clip(scaled, -1, 1)) / delta
        centre, pull = self.pulls
        away = z_P - centre
        return value + float((away**2 * pull).sum()) / 2, slope + away * pull


def fit_law(
    law: Law,
    inputs: Mapping[str, npt.ArrayLike],
    loss: npt.ArrayLike,
    *,
    seed: int = 0,
    n_starts: int = 20,
    start: Mapping[str, float] | None = None,
    weight: npt.ArrayLike | None = None,
) -> LawFit:
    """Return the law fitted to these losses (nats per token unless the law says otherwise).

    Starts are drawn from each parameter's start range; `start` adds one more. They are doubled
    until MIN_AGREEING of them end at one fit, or MAX_STARTS are reached; the fit says how many did.
    Raises ValueError if there are fewer rows than parameters, or a loss is not positive where its
    logarithm is fitted.
    """
    columns = law.check(inputs)
    observed = np.asarray(loss, dtype=np.float64)
    n_rows, n_parameters = len(observed), len(law.parameters)
    if any(len(column) != n_rows for column in columns.values()):
        raise ValueError(f"law {law.name}: {n_rows} losses, inputs of another length")
    if n_rows < n_parameters:
        raise ValueError(
            f"law {law.name} has {n_parameters} parameters and only {n_rows} rows to fit them"
        )
    is_odd = ~np.isfinite(observed) | ((law.space == "log") & (observed <= 0))
    if is_odd.any():
        at = int(np.argmax(is_odd))
        raise ValueError(
            f"law {law.name}: the loss of row {at + 1} is {observed[at]:g}; expected a finite, "
            "positive number"
        )
    target = np.log(observed) if law.space == "log" else observed
    weights = np.ones(n_rows) if weight is None else np.asarray(weight, dtype=np.float64)
    problem = FitProblem(law, columns, target, weights)
    generator = np.random.default_rng(seed)
    starts = draw_starts(law, generator, n_starts)
    if start is not None:
        given = [p.inner(start[p.name]) for p in law.parameters]
        starts = np.concatenate([np.array([given]), starts])
    best, found, agreeing, converged = multistart(problem, starts, generator)
    errors, warnings = identify(problem, best)
    if agreeing < MIN_AGREEING:
        warnings.append(
            f"only {agreeing} of {found} starts agree on the fit: another machine or another order "
            "of the rows may give another one"
        )
    if not converged:
        warnings.append("the optimizer stopped before it converged; use more starts")
    values = problem.outer(best[None])[0]
    return LawFit(
        law=law,
        values={p.name: float(v) for p, v in zip(law.parameters, values, strict=True)},
        objective=float(problem.objective(best[None])[0] * law.huber_delta**2),
        n_points=n_rows,
        n_starts=found,
        n_starts_agreeing=agreeing,
        standard_errors=errors,
        warnings=tuple(warnings),
    )


def draw_starts(law: Law, generator: np.random.Generator, n_starts: int) -> Array:
    """Return starting coordinates of shape (n_starts, P), spread as a Latin hypercube."""
    spread = np.empty((n_starts, len(law.parameters)))
    for i, parameter in enumerate(law.parameters):
        low, high = (parameter.inner(v) for v in parameter.start)
        cells = generator.permutation(n_starts) + generator.random(n_starts)
        spread[:, i] = low + (high - low) * cells / n_starts
    return spread


def multistart(
    problem: FitProblem, starts: Array, generator: np.random.Generator
) -> tuple[Array, int, int, bool]:
    """Return the best coordinates, counts of starts and of agreeing ones, and if they converged.

    Starts are doubled until MIN_AGREEING agree with the best.
    """
    from scipy.optimize import minimize

    bounds = [(p.inner(p.lower), p.inner(p.upper)) for p in problem.law.parameters]
    n_rows = len(problem.target)
    screen = problem
    if n_rows > SCREEN_POINTS:
        rows = np.sort(generator.choice(n_rows, SCREEN_POINTS, replace=False))
        screen = FitProblem(
            problem.law,
            {name: column[rows] for name, column in problem.inputs.items()},
            problem.target[rows],
            problem.weight[rows],
        )

    def descend(on: FitProblem, z_P: Array, iterations: int, tolerance: float = 1e-13) -> Any:
        options = {"maxiter": iterations, "maxfun": 4 * iterations, "ftol": tolerance, "gtol": 1e-9}
        return minimize(
            on.value_and_gradient, z_P, jac=True, method="L-BFGS-B", bounds=bounds, options=options
        )

    low, high = np.array(bounds).T
    ends: list[Any] = []
    while True:
        ends += [descend(screen, np.clip(z, low, high), 200, 1e-7) for z in starts]
        agreeing = _agreeing(ends)
        if agreeing < MIN_AGREEING:  # perhaps they only stopped short of one another
            ends[:FINISHED_STARTS] = [
                descend(screen, end.x, 2000) for end in ends[:FINISHED_STARTS]
            ]
            agreeing = _agreeing(ends)
        if agreeing >= MIN_AGREEING or 2 * len(ends) > MAX_STARTS:
            break
        starts = draw_starts(problem.law, generator, len(ends))
    finished = [descend(problem, end.x, 2000) for end in ends[:FINISHED_STARTS]]
    best = min(finished, key=lambda end: float(end.fun))
    # L-BFGS-B stalls on the kinks of a tight Huber loss; a second run from its end is cheap.
    again = descend(problem, best.x, 2000)
    converged = bool(best.fun - again.fun <= 1e-3 * max(again.fun, 1e-9))
    return polish(problem, np.asarray(again.x), low, high), len(ends), agreeing, converged


def _agreeing(ends: list[Any]) -> int:
    """Return how many ends agree with the best; they are sorted in place, the best first."""
    ends.sort(key=lambda end: float(end.fun))
    return sum(end.fun <= ends[0].fun * (1 + AGREEING_FRAC) + 1e-9 for end in ends)


def polish(problem: FitProblem, z_P: Array, low: Array, high: Array) -> Array:
    """Return the coordinates after curvature steps along a flat valley.

    L-BFGS ends where the objective hardly changes: anywhere along such a valley. Valleys bend, so
    a step along one leaves it, and the steps after it come back: only then is it judged.
    """
    value, reach = float(problem.objective(z_P[None])[0]), POLISH_STEP
    for _ in range(POLISH_ROUNDS):
        new = z_P
        for _ in range(RETURN_STEPS):
            step = _curvature_step(problem, new)
            step *= min(1.0, reach / max(float(np.abs(step).max()), 1e-300))
            new = np.clip(new - step, low, high)
        after = float(problem.objective(new[None])[0])
        moved = float(np.abs(new - z_P).max())
        if after < value:
            z_P, value, reach = new, after, min(2 * reach, POLISH_STEP)
        else:
            reach /= 4
        if moved < 1e-6 or reach < 1e-5:
            break
    return z_P


def _curvature_step(problem: FitProblem, z_P: Array) -> Array:
    delta = problem.law.huber_delta
    centre, pull = problem.pulls
    residual, slope_Pn = problem.jacobian(z_P)
    trust = problem.weight / np.maximum(np.abs(residual), delta) / delta
    gradient = slope_Pn @ (trust * residual) + (z_P - centre) * pull
    gram = (slope_Pn * trust) @ slope_Pn.T
    scale = np.sqrt(np.maximum(np.diag(gram), 1e-300))
    whole = (gram + np.diag(pull)) / np.outer(scale, scale)
    return np.asarray(np.linalg.lstsq(whole, gradient / scale, rcond=1e-15)[0] / scale)


def identify(problem: FitProblem, z_P: Array) -> tuple[dict[str, float], list[str]]:
    """Return standard errors and a sentence for each parameter the data do not pin down.

    The curvature is that of the Huber loss (Gauss-Newton, rows inside delta), the scale the usual
    robust one; a parameter at its bound, or in a flat direction, has an infinite error.
    """
    residual, slope_Pn = problem.jacobian(z_P)
    delta = problem.law.huber_delta
    inside = (np.abs(residual) <= delta) * problem.weight
    score = np.clip(residual, -delta, delta) * problem.weight
    bread = (slope_Pn * inside) @ slope_Pn.T + np.diag(problem.priors[1]) * delta**2
    meat = (slope_Pn * score**2) @ slope_Pn.T
    scale = np.sqrt(np.maximum(np.diag(slope_Pn @ slope_Pn.T), 1e-300))
    values, vectors = np.linalg.eigh(bread / np.outer(scale, scale))
    flat = values < max(values.max(), 1e-300) * 1e-10
    inverse = (vectors[:, ~flat] / values[~flat]) @ vectors[:, ~flat].T / np.outer(scale, scale)
    variance = np.diag(inverse @ meat @ inverse)
    errors: dict[str, float] = {}
    warnings: list[str] = []
    for i, parameter in enumerate(problem.law.parameters):
        value = float(parameter.outer(z_P[i]))
        error = float(np.sqrt(max(variance[i], 0.0)))
        at_bound = min(
            abs(z_P[i] - parameter.inner(parameter.lower)),
            abs(z_P[i] - parameter.inner(parameter.upper)),
        )
        if at_bound < 1e-6:
            error = float("inf")
            warnings.append(f"{parameter.name} ended at its bound ({value:.4g}): not identified")
        elif bool((np.abs(vectors[i, flat]) > 0.1).any()):
            error = float("inf")
            warnings.append(f"{parameter.name} lies in a flat direction: not identified")
        elif parameter.scale == "log" and error > WEAK_SPREAD:
            factor = f"a factor {np.exp(error):.3g}" if error < 10 else "no order of magnitude"
            warnings.append(f"{parameter.name} is known to {factor} only: not identified")
        elif parameter.scale == "linear" and error > max(abs(value), 1e-12):
            warnings.append(f"{parameter.name} = {value:.4g} +- {error:.3g}: not identified")
        errors[parameter.name] = error * value if parameter.scale == "log" else error
    return errors, warnings
