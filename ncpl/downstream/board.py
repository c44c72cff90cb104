"""The board of task prediction: frozen ways to leave models out, every method on each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ncpl.downstream.audit import audit, largest_models
from ncpl.downstream.estimate import TaskMethod
from ncpl.downstream.hierarchy import Hierarchy
from ncpl.downstream.losses import LossLaws
from ncpl.downstream.methods import BASELINES, PUBLISHED, with_task_losses
from ncpl.downstream.table import TaskTable

Mask = npt.NDArray[np.bool_]
Fold = tuple[Mask, Mask]
"""(models to fit on, models to predict)."""
LARGE_MODEL = 1e9
LADDER_TOP = 2e9
LADDER_TARGETS = ("olmo_ladder/peteish7", "olmo_ladder/peteish13")
"""The 7B and 13B runs that the ladder was made for; a third export is a variant of the first."""
LEFT_OUT_SHARE = 0.3
HEADER = (
    "| method | results | MAE | mean error | 90% covers | half width | covers, predictable |",
    "|---|---|---|---|---|---|---|",
)


@dataclass(frozen=True)
class Case:
    """One way to leave models of one source out."""

    source: str
    name: str
    folds: Callable[[TaskTable], list[Fold]]
    from_size: bool = False
    """Whether the losses of the models left out come from laws of size and data."""


def by_size(table: TaskTable) -> list[Fold]:
    """Fit on models under 1B, predict the larger ones."""
    return [(table.params < LARGE_MODEL, table.params >= LARGE_MODEL)]


def ladder(table: TaskTable) -> list[Fold]:
    """Fit on the ladder up to 1B, predict the 7B and the 13B model."""
    targets = np.array([m in LADDER_TARGETS for m in table.models], dtype=bool)
    return [(table.params < LADDER_TOP, targets)]


def by_family(table: TaskTable) -> list[Fold]:
    """Leave each family out in turn."""
    family = np.array(table.family)
    return [(family != name, family == name) for name in sorted(set(table.family))]


def by_compute(table: TaskTable) -> list[Fold]:
    """Leave the models of the most compute out."""
    out = largest_models(table, LEFT_OUT_SHARE)
    return [(~out, out)]


CASES = (
    Case("overtraining", "1B and more, from their loss", by_size),
    Case("overtraining", "1B and more, from size and data", by_size, from_size=True),
    Case("olmo_ladder", "7B and 13B, from their loss", ladder),
    Case("olmo_ladder", "7B and 13B, from size and data", ladder, from_size=True),
    Case("loss_to_loss", "each data set", by_family),
    Case("loss_to_loss", "most compute", by_compute),
    Case("marin", "most compute", by_compute),
    Case("observational", "most compute", by_compute),
)


@dataclass(frozen=True)
class TaskScore:
    """One method on one case."""

    source: str
    case: str
    method: str
    n_results: int
    mae: float
    """Mean absolute error of a share."""
    relative_error_of_mean: float
    """Of each model's mean task error (1 - mean share), relative, mean over models."""
    coverage: float
    half_width: float
    coverage_predictable: float | None
    """Coverage on tasks the audit of the training models calls predictable."""

    def to_json(self) -> dict[str, Any]:
        """Return the row as plain values."""
        return asdict(self)


def methods_for(case: Case) -> tuple[TaskMethod, ...]:
    """Return every method in the order of the board."""
    return (*BASELINES, *PUBLISHED, Hierarchy(from_size=case.from_size))


def run_case(case: Case, table: TaskTable) -> Iterator[TaskScore]:
    """Yield a score for each method that has something to say.

    All methods are scored on the results that they predict; `n_results` tells where one is silent.
    """
    full = with_task_losses(table)
    shares = full.shares()
    kept: dict[str, list[tuple[Any, ...]]] = {}
    for train_mask, test_mask in case.folds(shares):
        train, test = shares.take(train_mask), shares.take(test_mask)
        predictable = np.array([row.is_predictable for row in audit(train)], dtype=bool)
        given = LossLaws.fit(train).predict(test) if case.from_size else test
        for method in methods_for(case):
            said = method.fit(train).predict(given)
            low, high = said.interval(test.tasks)
            kept.setdefault(method.name, []).append(
                (said.value, low, high, test.values, np.broadcast_to(predictable, low.shape))
            )
    for name, parts in kept.items():
        value, low, high, truth, predictable = (
            np.concatenate([part[i] for part in parts]) for i in range(5)
        )
        score = score_of(case, name, value, low, high, truth, predictable)
        if score is not None:
            yield score


def score_of(
    case: Case,
    name: str,
    value: npt.NDArray[np.float64],
    low: npt.NDArray[np.float64],
    high: npt.NDArray[np.float64],
    truth: npt.NDArray[np.float64],
    predictable: Mask,
) -> TaskScore | None:
    """Return the score of predictions (M, T), None where there are none."""
    known = np.isfinite(value) & np.isfinite(truth)
    if not known.any():
        return None
    inside = (low <= truth) & (truth <= high)
    with np.errstate(all="ignore"):
        rows = known.any(axis=1)
        said = np.where(known, value, 0).sum(axis=1)[rows] / known.sum(axis=1)[rows]
        real = np.where(known, truth, 0).sum(axis=1)[rows] / known.sum(axis=1)[rows]
    counted = known & predictable
    return TaskScore(
        source=case.source,
        case=case.name,
        method=name,
        n_results=int(known.sum()),
        mae=float(np.abs(value - truth)[known].mean()),
        relative_error_of_mean=float((np.abs(said - real) / (1 - real)).mean()),
        coverage=float(inside[known].mean()),
        half_width=float((high - low)[known].mean() / 2),
        coverage_predictable=float(inside[counted].mean()) if counted.any() else None,
    )


def markdown(scores: Sequence[TaskScore]) -> str:
    """Return the board as Markdown tables, one a case."""
    lines = []
    for source, case in dict.fromkeys((s.source, s.case) for s in scores):
        rows = [s for s in scores if (s.source, s.case) == (source, case)]
        best = min(s.mae for s in rows if s.n_results == max(r.n_results for r in rows))
        lines += [f"\n### {source}: {case}\n", *HEADER]
        for s in rows:
            bold = "**" if s.mae == best else ""
            told = "-" if s.coverage_predictable is None else f"{s.coverage_predictable:.3f}"
            lines.append(
                f"| {s.method} | {s.n_results} | {bold}{s.mae:.4f}{bold} | "
                f"{s.relative_error_of_mean:.1%} | {s.coverage:.3f} | {s.half_width:.3f} | {told} |"
            )
    return "\n".join(lines).strip() + "\n"
