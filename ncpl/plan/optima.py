"""Where the best learning rate and batch lie in measured sweeps, and how they move.

A cell is one optimizer, size, number of tokens and batch, its runs over several learning rates.

Legend: C cells, K draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from ncpl.plan.measured import MeasuredRuns

Array = npt.NDArray[np.float64]
NEAR_FRAC = 0.04
"""Runs of a cell within this share of its best tell where the optimum lies; beyond, the bowl is no
quadratic (302 StepLaw cells: .0173 to .0307 nats a squared log unit)."""
MIN_RATES, MIN_BATCHES, MIN_CELLS = 4, 3, 4
DRAWS = 400
LEVEL = (0.05, 0.95)


@dataclass(frozen=True)
class Cell:
    """The optimum of one cell."""

    optimizer: str
    params: float
    tokens: float
    batch_tokens: float
    value: float
    """The best learning rate, or weight decay."""
    loss: float
    """At the optimum, nats per token."""
    other: float | None = None
    """The weight decay where the rate is told, and the other way round."""


@dataclass(frozen=True)
class Slope:
    """How the log of an optimum moves with the log of something, all else equal."""

    name: str
    value: float
    low: float
    high: float
    n_cells: int
    n_groups: int


def cells_of(
    known: MeasuredRuns, optimizer: str | None, field: str = "learning_rate"
) -> list[Cell]:
    """Return the cells in which a field has an optimum between its measured values."""
    grouped: dict[tuple[Any, ...], list[tuple[float, float]]] = {}
    other = "weight_decay" if field == "learning_rate" else "learning_rate"
    for row, loss in zip(known.rows, known.loss, strict=True):
        value = row.get(field)
        if not value or not row.get("batch_tokens") or not math.isfinite(loss):
            continue
        if optimizer is not None and row.get("optimizer") != optimizer:
            continue
        key = (
            str(row.get("optimizer") or ""), float(row["params_non_embedding"]),
            float(row["data_tokens"]), float(row["batch_tokens"]), row.get(other),
            row.get("schedule"), row.get("warmup_steps"),
        )  # fmt: skip
        grouped.setdefault(key, []).append((float(value), float(loss)))
    found = []
    for (name, params, tokens, batch, held, *_), points in sorted(grouped.items(), key=repr):
        best = optimum(points)
        if best is not None:
            found.append(Cell(name, params, tokens, batch, *best, held))
    return found


def optimum(points: Sequence[tuple[float, float]]) -> tuple[float, float] | None:
    """Return where a quadratic in the log through the better points has its bottom, and its height.

    None where it has none between the measured values, or too few of them are near the best.
    """
    lowest = min(loss for _, loss in points)
    near = sorted({(v, loss) for v, loss in points if loss <= lowest * (1 + NEAR_FRAC)})
    x = np.log([v for v, _ in near])
    if len(np.unique(x)) < MIN_RATES:
        return None
    y = np.array([loss for _, loss in near])
    curvature, slope, height = np.polyfit(x - x.mean(), y, 2)
    if curvature <= 0:
        return None
    at = -slope / (2 * curvature)
    if not x.min() < at + x.mean() < x.max():
        return None
    return float(np.exp(at + x.mean())), float(height - slope**2 / (4 * curvature))


def slopes(cells: Sequence[Cell], seed: int = 0) -> list[Slope]:
    """Return how the optimum moves with size, tokens and batch together, with 90% intervals.

    Only with what varies. Intervals are a bootstrap over groups of size and tokens.
    """
    columns = {
        "params_non_embedding": np.log([c.params for c in cells]),
        "train_tokens": np.log([c.tokens for c in cells]),
        "batch_tokens": np.log([c.batch_tokens for c in cells]),
    }
    names = [n for n, x in columns.items() if len(x) and len(np.unique(np.round(x, 6))) > 1]
    groups = np.unique(
        [f"{c.optimizer}/{c.params:.6g}/{c.tokens:.6g}" for c in cells], return_inverse=True
    )[1]
    n_groups = int(groups.max()) + 1 if len(groups) else 0
    if len(cells) < len(names) + MIN_CELLS or n_groups < MIN_CELLS or not names:
        return []
    optimizers = sorted({c.optimizer for c in cells})
    own = [np.array([c.optimizer == name for c in cells], float) for name in optimizers]
    design = np.column_stack([*(columns[n] for n in names), *own])
    target = np.log([c.value for c in cells])

    def fit(weight: Array) -> Array:
        root = np.sqrt(weight)[:, None]
        return np.asarray(np.linalg.lstsq(design * root, target * root[:, 0], rcond=None)[0])

    centre = fit(np.ones(len(cells)))
    generator = np.random.default_rng(seed)
    draws = []
    for _ in range(DRAWS):
        counts = np.bincount(generator.integers(n_groups, size=n_groups), minlength=n_groups)
        draws.append(fit(counts[groups].astype(float)))
    low, high = np.quantile(np.array(draws), LEVEL, axis=0)
    return [
        Slope(name, float(centre[i]), float(low[i]), float(high[i]), len(cells), n_groups)
        for i, name in enumerate(names)
    ]


def envelope(
    known: MeasuredRuns, optimizer: str | None, is_in: Callable[[float, float], bool]
) -> dict[float, tuple[float, float, str]]:
    """Return the best measured run by batch in tokens, of some groups: loss, rate, run."""
    found: dict[float, tuple[float, float, str]] = {}
    for run_id, row, loss in zip(known.run_ids, known.rows, known.loss, strict=True):
        if optimizer is not None and row.get("optimizer") != optimizer:
            continue
        batch = row.get("batch_tokens")
        if not batch or not is_in(row["params_non_embedding"], row["data_tokens"]):
            continue
        entry = (float(loss), float(row.get("learning_rate") or math.nan), run_id)
        found[float(batch)] = min(entry, found.get(float(batch), entry))
    return found


@dataclass(frozen=True)
class Optimum:
    """An optimum carried to a size and tokens along the slopes of measured ones."""

    value: float
    low: float
    high: float
    """90% ends: the fit's own, and what single optima spread by around it."""
    n_cells: int
    power_of_size: float
    power_of_tokens: float


def cells_at_best_batch(known: MeasuredRuns, optimizer: str | None) -> list[Cell]:
    """Return the best learning rate of each group of size and tokens, over all batches."""
    grouped: dict[tuple[float, float], dict[float, float]] = {}
    for row, loss in zip(known.rows, known.loss, strict=True):
        rate = row.get("learning_rate")
        if rate and (optimizer is None or row.get("optimizer") == optimizer):
            key = (float(row["params_non_embedding"]), float(row["data_tokens"]))
            own = grouped.setdefault(key, {})
            own[float(rate)] = min(float(loss), own.get(float(rate), math.inf))
    found = []
    for (params, tokens), by_rate in sorted(grouped.items()):
        best = optimum(list(by_rate.items()))
        if best is not None:
            found.append(Cell(optimizer or "", params, tokens, 1.0, *best))
    return found


def batch_cells(known: MeasuredRuns, optimizer: str | None) -> list[Cell]:
    """Return the best batch in tokens of each group of size and tokens, over all learning rates."""
    keys = sorted(
        {
            (float(row["params_non_embedding"]), float(row["data_tokens"]))
            for row in known.rows
            if optimizer is None or row.get("optimizer") == optimizer
        }
    )
    found = []
    for params, tokens in keys:
        is_in = partial(_is_group, params, tokens)
        points = [(b, loss) for b, (loss, *_) in envelope(known, optimizer, is_in).items()]
        best = optimum(points) if points else None
        if best is not None:
            found.append(Cell(optimizer or "", params, tokens, best[0], *best))
    return found


def _is_group(params: float, tokens: float, own_params: float, own_tokens: float) -> bool:
    return (params, tokens) == (own_params, own_tokens)


def carried(cells: Sequence[Cell], params: float, tokens: float, seed: int = 0) -> Optimum | None:
    """Return the optimum at a size and tokens; None with too few cells for two slopes."""
    if len(cells) < MIN_CELLS + 2:
        return None
    design = np.column_stack(
        [np.ones(len(cells)), np.log([c.params for c in cells]), np.log([c.tokens for c in cells])]
    )
    target = np.log([c.value for c in cells])
    asked = np.array([1.0, math.log(params), math.log(tokens)])
    centre = np.linalg.lstsq(design, target, rcond=None)[0]
    residual = target - design @ centre
    generator = np.random.default_rng(seed)
    drawn = []
    for _ in range(DRAWS):
        rows = generator.integers(len(cells), size=len(cells))
        own = np.linalg.lstsq(design[rows], target[rows], rcond=None)[0]
        drawn.append(float(asked @ own) + float(generator.choice(residual)))
    low, high = np.quantile(drawn, LEVEL)
    at = float(asked @ centre)
    return Optimum(
        math.exp(at), math.exp(low), math.exp(high), len(cells), float(centre[1]), float(centre[2])
    )
