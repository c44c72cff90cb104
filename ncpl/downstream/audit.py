"""Which tasks can be predicted at all: rank correlations, and errors on models left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ncpl.downstream.hierarchy import Hierarchy
from ncpl.downstream.methods import BASELINES, above_chance
from ncpl.downstream.table import Array, TaskTable

LEFT_OUT_SHARE = 0.3
"""Models of the most compute that each task is tried on."""
FEWEST_MODELS = 8
ORDERED = 0.7
"""Rank correlation with the loss from which a task counts as ordered by it."""
EMERGED_SHARE = 0.25
"""Share of the models that must do better than a guess and the noise of scoring it."""


@dataclass(frozen=True)
class Audit:
    """What can be said of one task under one metric."""

    task: str
    kind: str
    n_models: int
    chance: float | None
    emerged: float | None
    """Share of the models above a guess; None for losses."""
    rank_with_compute: float | None
    """Spearman's rank correlation with log compute, positive where more is better."""
    rank_with_loss: float | None
    """Likewise with minus the loss."""
    error: float | None
    """Mean absolute error on the models left out, those of the most compute."""
    error_of_largest: float | None
    """Likewise of saying what the largest model left in reached."""
    verdict: str
    """`predictable`, or the reason why not."""

    @property
    def is_predictable(self) -> bool:
        """Return whether a number for this task means something."""
        return self.verdict == "predictable"

    def to_json(self) -> dict[str, Any]:
        """Return the row as plain values."""
        return asdict(self)


def rank_correlation(x: Array, y: Array) -> float | None:
    """Return Spearman's correlation of two columns, None with fewer than four pairs."""
    keep = np.isfinite(x) & np.isfinite(y)
    if keep.sum() < 4 or np.ptp(x[keep]) == 0 or np.ptp(y[keep]) == 0:
        return None
    from scipy.stats import spearmanr

    return float(spearmanr(x[keep], y[keep]).statistic)


def audit(table: TaskTable) -> list[Audit]:
    """Return a row for each task and kind of metric.

    A task is predictable where enough models are above a guess, the loss orders them (log compute
    where no loss is known), and a curve through the smaller models says more of the larger ones
    than the largest small model does.
    """
    errors = left_out_errors(table)
    beyond = above_chance(np.nan_to_num(table.values, nan=-1.0), table.tasks)
    rows = []
    for j, task in enumerate(table.tasks):
        value = table.values[:, j]
        known = np.isfinite(value)
        better = value if "loss" not in task.kind else -value
        with_compute = rank_correlation(np.log(table.flop), better)
        with_loss = rank_correlation(-table.loss, better)
        emerged = float(beyond[known, j].mean()) if task.is_share and known.any() else None
        error, plain = errors.get(task.id, (None, None))
        ordered = with_loss if with_loss is not None else with_compute
        rows.append(
            Audit(
                task.name, task.kind, int(known.sum()), task.chance, emerged, with_compute,
                with_loss, error, plain, verdict(emerged, ordered, error, plain),
            )
        )  # fmt: skip
    return rows


def verdict(
    emerged: float | None, ordered: float | None, error: float | None, plain: float | None
) -> str:
    """Return `predictable`, or the first reason against."""
    if ordered is None:
        return "too few models with a loss or a size"
    if emerged is not None and emerged < EMERGED_SHARE:
        return f"at chance: {emerged:.0%} of the models do better than a guess"
    if ordered < ORDERED:
        return f"not ordered by the loss: rank correlation {ordered:.2f}"
    if error is not None and plain is not None and error > plain:
        return "larger models do not follow: the largest smaller model tells more of them"
    return "predictable"


def left_out_errors(table: TaskTable) -> Mapping[str, tuple[float, float]]:
    """Return for each task the errors of our curve and of the largest model left in."""
    shares = table.shares()
    out = largest_models(shares, LEFT_OUT_SHARE)
    if (~out).sum() < FEWEST_MODELS or not out.any() or not shares.tasks:
        return {}
    kept, left = shares.take(~out), shares.take(out)
    ours = Hierarchy(calibrated=False).fit(kept).predict(left).value
    plain = BASELINES[-1].fit(kept).predict(left).value
    found = {}
    for j, task in enumerate(shares.tasks):
        both = np.isfinite(left.values[:, j]) & np.isfinite(plain[:, j]) & np.isfinite(ours[:, j])
        if both.any():
            truth = left.values[both, j]
            found[task.id] = (
                float(np.abs(ours[both, j] - truth).mean()),
                float(np.abs(plain[both, j] - truth).mean()),
            )
    return found


def largest_models(table: TaskTable, share: float) -> npt.NDArray[np.bool_]:
    """Return a mask of the models of the most compute; the lowest loss where sizes are unknown."""
    order = np.where(np.isfinite(table.flop), np.log(np.maximum(table.flop, 1.0)), -np.inf)
    if not np.isfinite(order).any():
        order = -table.loss
    return np.asarray(order >= np.quantile(order[np.isfinite(order)], 1 - share))
