"""Structured regression: polynomials in the recipe, shared and per optimizer, robust and shrunk.

The strength of the shrinkage is chosen on left-out training groups alone.

Legend: n rows, k columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ncpl.bench.part import Part
from ncpl.bench.recipe import MAIN, Recipe

Array = npt.NDArray[np.float64]
STRENGTHS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
"""Ridge penalties tried, for columns of unit variance."""
FOLDS = 5
ROUNDS = 12
SPIKE = 0.005
"""Nats: residuals beyond it count linearly."""


@dataclass(frozen=True)
class Structured:
    """A fitted regression on what a base law leaves over."""

    recipe: Recipe
    centre: Array
    spread: Array
    """Of log size and log data, (2,) each."""
    scale: Array
    weights: Array
    strength: float

    def predict(self, part: Part) -> Array:
        """Return the predicted residual of each run, nats."""
        return np.asarray(_columns(self.recipe, self.centre, self.spread, part) @ self.weights)


def fit_structured(
    train: Part, residual_n: Array, groups: Sequence[str | None], *, hidden: bool = False
) -> Structured:
    """Return the regression fitted to residuals (nats) of these runs."""
    recipe = Recipe.of(train, hidden=hidden)
    log_scale = np.log(np.stack(train.sizes, axis=1))
    centre, spread = log_scale.mean(0), np.maximum(log_scale.std(0), 0.3)
    columns = _columns(recipe, centre, spread, train)
    scale = np.where(columns.std(0) > 1e-9, columns.std(0), 1.0)
    columns = columns / scale
    names = np.array([g or "" for g in groups])
    fold_of = {name: i % FOLDS for i, name in enumerate(sorted(set(names.tolist())))}
    fold_n = np.array([fold_of[name] for name in names])
    missed = [_left_out(columns, residual_n, fold_n, strength) for strength in STRENGTHS]
    strength = STRENGTHS[int(np.argmin(missed))]
    weights = _ridge(columns, residual_n, strength) / scale
    return Structured(recipe, centre, spread, scale, weights, strength)


def _left_out(columns_nk: Array, target_n: Array, fold_n: Array, strength: float) -> float:
    errors = []
    for fold in sorted(set(fold_n.tolist())):
        inside = fold_n != fold
        if inside.any():
            weights = _ridge(columns_nk[inside], target_n[inside], strength)
            errors.append(np.abs(columns_nk[~inside] @ weights - target_n[~inside]))
    return float(np.concatenate(errors).mean())


def _ridge(columns_nk: Array, target_n: Array, strength: float) -> Array:
    """Return weights of the Huber ridge by reweighting; the level is not shrunk."""
    penalty = np.full(columns_nk.shape[1], strength)
    penalty[0] = 1e-6
    trust = np.ones(len(target_n))
    weights: Array = np.zeros(columns_nk.shape[1])
    for _ in range(ROUNDS):
        weighted = (columns_nk * trust[:, None]).T
        gram = weighted @ columns_nk + np.diag(penalty)
        weights = np.asarray(np.linalg.solve(gram, weighted @ target_n), dtype=np.float64)
        missed = np.abs(target_n - columns_nk @ weights)
        trust = SPIKE / np.maximum(missed, SPIKE)
    return weights


def _columns(recipe: Recipe, centre: Array, spread: Array, part: Part) -> Array:
    """Return the polynomials, shape (n, k): shared ones, then each optimizer's own."""
    x = recipe.columns(part)
    nd = (np.log(np.stack(part.sizes, axis=1)) - centre) / spread
    one = np.ones((len(x), 1))
    main = [i for i, name in enumerate(recipe.names) if name in MAIN]
    pairs = [x[:, i] * x[:, j] for at, i in enumerate(main) for j in main[at + 1 :]]
    scaled = [x[:, i] * nd[:, j] for i in main for j in (0, 1)]
    shared = [one, nd, x, x**2, *(c[:, None] for c in (*pairs, *scaled))]
    if len(recipe.optimizers) < 2:
        u, v = x[:, :1], x[:, 1:2]
        shared += [u**3, u**4, v**3, v**4, u**2 * v, u * v**2, u**2 * v**2]
        shared += [u**2 * nd, v**2 * nd, u**3 * nd]
        return np.concatenate(shared, axis=1)
    kind = recipe.kind(part)
    own = np.concatenate([one, nd, x, x**2], axis=1)
    parts = [own * (kind == code)[:, None] for code in range(len(recipe.optimizers))]
    return np.concatenate([*shared, *parts], axis=1)
