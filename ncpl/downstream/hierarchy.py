"""Our model: a logistic curve of the loss for each task, all tasks drawn from one population.

M models, T tasks, P coefficients a task: level, slope in the loss, slope in what the other losses
say beside the main one, and a shift for each family. Tasks share the mean and the spread of level
and slope; shifts and the second slope are drawn to zero. Spreads are learned (empirical Bayes).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ncpl.downstream.estimate import NORMAL_90, Estimate, binomial, chances
from ncpl.downstream.losses import LossLaws
from ncpl.downstream.table import Array, TaskTable

POPULATION_ROUNDS = 8
NEWTON_ROUNDS = 12
LONGEST_STEP = 2.0
STUDENT_DF = 4.0
SMALLEST_NOISE = 1e-3
NOISE_SHRINKAGE = 0.2
"""Share of the median task's noise in each task's own, on the log scale: few points a task."""
LEFT_OUT_SHARES = (0.15, 0.3, 0.5)
"""Shares of the models with the most compute that are left out in turn to calibrate widths."""
FEWEST_MODELS = 8
FEWEST_RESULTS = 4
"""A task scored on fewer models gets no curve: the population alone would say nothing of it."""
Places = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Basis:
    """How a table's losses become the columns a task's curve is linear in."""

    mean: Array
    """(K,) of each loss over the training models."""
    spread: Array
    share: Array
    """(K,) slope of each standardised loss on the main one."""
    beside: Array | None
    """(K,) direction of what the other losses say beside the main one; None with one loss."""
    families: tuple[str, ...]
    """Families with a shift of their own; empty where there is one only."""
    names: tuple[str, ...]

    @classmethod
    def of(cls, table: TaskTable) -> Basis:
        """Return the basis of a table of training models."""
        losses = features(table)
        x = np.stack(list(losses.values()), axis=1)
        mean, spread = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-9)
        z = (x - mean) / spread
        share = z.T @ z[:, 0] / (z[:, 0] @ z[:, 0])
        beside = None
        if z.shape[1] > 1:
            _, size, directions = np.linalg.svd(z - np.outer(z[:, 0], share), full_matrices=False)
            beside = directions[0] / max(size[0] / np.sqrt(len(z)), 1e-9)
        families = tuple(sorted(set(table.family)))
        return cls(
            mean, spread, share, beside, families if len(families) > 1 else (), tuple(losses)
        )

    def columns(self, table: TaskTable) -> Array:
        """Return (M, P) columns of a table; a family the basis does not know has no shift."""
        losses = features(table)
        z = (np.stack([losses[n] for n in self.names], axis=1) - self.mean) / self.spread
        found = [np.ones(len(table)), -z[:, 0]]
        if self.beside is not None:
            found.append((z - np.outer(z[:, 0], self.share)) @ self.beside)
        found += [
            np.array([f == name for f in table.family], dtype=float) for name in self.families
        ]
        return np.stack(found, axis=1)

    def distance(self, table: TaskTable, train_lowest: float) -> Array:
        """Return how far below the lowest training loss each model lies, in standard deviations."""
        x = next(iter(features(table).values()))
        return np.asarray(np.maximum(train_lowest - x, 0) / self.spread[0])


def features(table: TaskTable) -> dict[str, Array]:
    """Return the losses the curves are drawn over; minus log compute where a table has none."""
    losses = {n: v for n, v in table.losses.items() if not n.startswith("task/")}
    return losses or {"compute": -np.log(table.flop)}


@dataclass(frozen=True)
class HierarchyFit:
    """The fitted curves of T tasks."""

    basis: Basis
    coefficients: Array
    """(T, P)."""
    covariance: Array
    """(T, P, P)."""
    noise: Array
    """(T,) standard deviation of results about the curve, beyond the noise of scoring."""
    lowest: float
    """Lowest training value of the main loss."""
    widening: tuple[float, float] = (1.0, 0.0)
    """Factor of the widths inside the training losses, and how much it grows with distance."""

    def predict(self, table: TaskTable) -> Estimate:
        """Return predictions (M, T)."""
        x_MP = self.basis.columns(table)
        chance = chances(table.tasks)
        share = sigmoid(x_MP @ self.coefficients.T)
        value = chance + (1 - chance) * share
        slope = (1 - chance) * share * (1 - share)
        spread = np.einsum("mp,tpq,mq->mt", x_MP, self.covariance, x_MP)
        scoring = binomial(np.nan_to_num(value), table.tasks)
        base, growth = self.widening
        factor = base + growth * self.basis.distance(table, self.lowest)
        model = np.sqrt(slope**2 * spread + self.noise**2) * factor[:, None]
        return Estimate(value, np.sqrt(model**2 + scoring**2))


def sigmoid(z: Array) -> Array:
    """Return the logistic function, finite everywhere."""
    return np.asarray(1 / (1 + np.exp(-np.clip(z, -50, 50))))


@dataclass(frozen=True)
class Hierarchy:
    """The method: fit, then widths from models of the most compute left out."""

    name: str = "hierarchy"
    citation: str = "ours: ncpl/downstream/hierarchy.py"
    calibrated: bool = True
    from_size: bool = False
    """Whether losses of new models will come from laws of size and data, whose error the widths
    must then hold too."""

    def fit(self, table: TaskTable) -> HierarchyFit:
        """Return the curves of a table's tasks in [0, 1]; others can not be fitted."""
        usable = np.isfinite(np.stack(list(features(table).values()))).all(axis=0)
        scored = np.isfinite(table.values).any(axis=1)
        table = table.take(np.asarray(usable & scored))
        enough = np.flatnonzero(np.isfinite(table.values).sum(axis=0) >= FEWEST_RESULTS)
        known = table.only(enough.tolist())
        found = fit_curves(known)
        if self.calibrated:
            found = replace(found, widening=widening_of(known, self.from_size))
        return silent_elsewhere(found, enough, len(table.tasks))


def silent_elsewhere(fit: HierarchyFit, places: Places, n_tasks: int) -> HierarchyFit:
    """Return the fit with its tasks at these places of T, and nothing to say of the others."""
    n_columns = fit.coefficients.shape[1]
    coefficients = np.full((n_tasks, n_columns), np.nan)
    covariance = np.full((n_tasks, n_columns, n_columns), np.nan)
    noise = np.full(n_tasks, np.nan)
    coefficients[places], covariance[places], noise[places] = (
        fit.coefficients, fit.covariance, fit.noise,
    )  # fmt: skip
    return replace(fit, coefficients=coefficients, covariance=covariance, noise=noise)


def fit_curves(table: TaskTable) -> HierarchyFit:
    """Return curves and population by alternating them: curves given the population, and back."""
    basis = Basis.of(table)
    x_MP = basis.columns(table)
    chance = chances(table.tasks)
    known_TM = np.isfinite(table.values).T
    y_TM = np.nan_to_num(table.values).T
    n_tasks, n_columns = len(table.tasks), x_MP.shape[1]
    mean = np.zeros(n_columns)
    mean[:2] = -1.0, 1.0
    variance = np.full(n_columns, 0.25)
    variance[:2] = 4.0, 1.0
    theta = np.tile(mean, (n_tasks, 1))
    noise = np.full(n_tasks, 1e-2)
    first_shift = n_columns - len(basis.families)
    for _ in range(POPULATION_ROUNDS):
        for _ in range(NEWTON_ROUNDS):
            share = sigmoid(theta @ x_MP.T)
            curve = chance[:, None] + (1 - chance)[:, None] * share
            slope = (1 - chance)[:, None] * share * (1 - share)
            scoring = binomial(curve.T, table.tasks).T ** 2
            total = scoring + noise[:, None] ** 2
            error = y_TM - curve
            trust = (STUDENT_DF + 1) / (STUDENT_DF + error**2 / total)
            weight = np.where(known_TM, trust / total, 0.0)
            jacobian = slope[:, :, None] * x_MP[None]
            gram = np.einsum("tmp,tm,tmq->tpq", jacobian, weight, jacobian)
            bread = gram + np.diag(1 / variance)
            score = np.einsum("tmp,tm->tp", jacobian, weight * error) - (theta - mean) / variance
            step = np.linalg.solve(bread, score[..., None])[..., 0]
            longest = np.abs(step).max(axis=1, keepdims=True)
            theta = theta + step * np.minimum(1.0, LONGEST_STEP / np.maximum(longest, 1e-9))
        covariance = np.linalg.inv(bread)
        used = np.einsum("tpq,tqp->t", gram, covariance)
        freedom = np.maximum(known_TM.sum(axis=1) - used, 1.0)
        squares = np.where(known_TM, np.minimum(error**2, 16 * total) - scoring, 0.0).sum(axis=1)
        own = np.log(np.maximum(squares / freedom, SMALLEST_NOISE**2))
        noise = np.exp(((1 - NOISE_SHRINKAGE) * own + NOISE_SHRINKAGE * np.median(own)) / 2)
        spread = np.einsum("tpp->tp", covariance).mean(axis=0)
        mean[:2] = theta[:, :2].mean(axis=0)
        variance = np.maximum(((theta - mean) ** 2).mean(axis=0) + spread, 1e-4)
        variance[first_shift:] = variance[first_shift:].mean() if basis.families else 1.0
    main = next(iter(features(table).values()))
    return HierarchyFit(basis, theta, covariance, noise, float(main.min()))


def widening_of(table: TaskTable, from_size: bool = False) -> tuple[float, float]:
    """Return the factor of the widths and its growth with distance below the training losses.

    Models of the most compute are left out; the factor makes nine in ten of their results lie
    inside. Without enough models the widths stay as the curves give them.
    """
    order = np.argsort(-np.nan_to_num(table.flop, nan=-np.inf), kind="stable")
    far, ratio = [], []
    for share in LEFT_OUT_SHARES:
        n_out = round(share * len(table))
        if n_out < 1 or len(table) - n_out < FEWEST_MODELS:
            continue
        kept, out = table.take(np.sort(order[n_out:])), table.take(np.sort(order[:n_out]))
        fit = fit_curves(kept)
        said = fit.predict(LossLaws.fit(kept).predict(out) if from_size else out)
        error = np.abs(said.value - out.values)
        scoring = binomial(np.nan_to_num(said.value), out.tasks)
        model = np.sqrt(np.maximum(said.sd**2 - scoring**2, 1e-12))
        beyond = np.sqrt(np.maximum(error**2 - (NORMAL_90 * scoring) ** 2, 0.0))
        distance = np.broadcast_to(fit.basis.distance(out, fit.lowest)[:, None], error.shape)
        keep = np.isfinite(error)
        far.append(distance[keep])
        ratio.append((beyond / (NORMAL_90 * model))[keep])
    if not far:
        return 1.0, 0.0
    distance, wanted = np.concatenate(far), np.concatenate(ratio)
    middle = float(np.median(distance))
    near = distance <= middle
    factors = [float(np.quantile(wanted[part], 0.9)) for part in (near, ~near) if part.any()]
    places = [float(distance[part].mean()) for part in (near, ~near) if part.any()]
    if len(factors) < 2 or places[1] - places[0] < 1e-6:
        return max(1.0, factors[0]), 0.0
    growth = max((factors[1] - factors[0]) / (places[1] - places[0]), 0.0)
    return max(1.0, factors[0] - growth * places[0]), growth
