"""The transfer board: what a new family's small runs tell of its larger ones, by every method.

The population is learned anew without the family asked for and without every family that shares a
source with it. Interval widths come from the tasks of the other sources.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ncpl.bench.transfer_methods import BASELINES
from ncpl.data.families import FamilyRuns
from ncpl.data.sizes import size_of, worth_of
from ncpl.evaluate.transfer_tasks import TransferTask
from ncpl.evaluate.transfer_widths import (
    Learn,
    Transferred,
    lacking,
    measure,
    parts_of,
    widths_by_sources,
    without,
)
from ncpl.model.adaptation import Answers
from ncpl.model.law_inputs import Array
from ncpl.model.population import Population

COMMUNITY = "Population, adapted"
LEAST_IN_GROUP = 5


@dataclass(frozen=True)
class TransferScore:
    """How one method did on one task; losses in nats."""

    method: str
    task: TransferTask
    mae: float
    percent: float
    bias: float
    rank: float
    """Mean Spearman correlation within groups of one size and data of five runs; NaN where none."""
    choice_gap: float
    """Mean percent above the best run of a group at the run a method would choose; else NaN."""
    best_mae: float = np.nan
    """Error of the best target of each size and data alone."""
    coverage: float = np.nan
    """Share of targets inside the 90% interval."""
    width: float = np.nan


@dataclass
class TransferBoard:
    """Scores of all tasks whose family the snapshot holds whole."""

    snapshot_id: str
    scores: list[TransferScore] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)
    """Family -> why it is not scored."""
    measured: list[Transferred] = field(default_factory=list)
    """What the population said of each task, before a factor."""

    def rows(self) -> list[dict[str, Any]]:
        """Return one row a method and number of known runs: means over families."""
        rows = []
        for method, count in sorted({(s.method, s.task.count) for s in self.scores}):
            own = self.by_family(method, count)
            numbers = {
                name: np.array([s[name] for s in own.values()])
                for name in (
                    "mae",
                    "best_mae",
                    "percent",
                    "coverage",
                    "width",
                    "rank",
                    "choice_gap",
                )
            }
            rows.append(
                {"method": method, "k": count, "families": len(own)}
                | {name: _mean(values) for name, values in numbers.items()}
                | {"median_mae": _plain(np.median(numbers["mae"]))}
                | {"median_best_mae": _plain(np.median(numbers["best_mae"]))}
            )
        return rows

    def by_family(self, method: str, count: int) -> dict[str, dict[str, float]]:
        """Return means over draws, by family."""
        found: dict[str, list[TransferScore]] = {}
        for score in self.scores:
            if (score.method, score.task.count) == (method, count):
                found.setdefault(score.task.family, []).append(score)
        names = ("mae", "best_mae", "percent", "bias", "coverage", "width", "rank", "choice_gap")
        return {
            family: {name: _nanmean([getattr(s, name) for s in own]) for name in names}
            | {"targets": _nanmean([float(len(s.task.targets)) for s in own])}
            for family, own in found.items()
        }

    def to_json(self) -> dict[str, Any]:
        """Return the board as plain values."""
        keys = sorted({(s.method, s.task.count) for s in self.scores})
        return {
            "format": "ncpl-transfer-board/1",
            "snapshot_id": self.snapshot_id,
            "rows": self.rows(),
            "families": [
                {"method": method, "k": count, "family": family}
                | {name: _plain(value) for name, value in numbers.items()}
                for method, count in keys
                for family, numbers in self.by_family(method, count).items()
            ],
            "absent": self.absent,
        }


def _nanmean(values: Sequence[float]) -> float:
    there = [v for v in values if np.isfinite(v)]
    return float(np.mean(there)) if there else np.nan


def _mean(values: Array) -> float | None:
    return _plain(_nanmean(values.tolist()))


def _plain(value: float) -> float | None:
    return round(float(value), 6) if np.isfinite(value) else None


def run_transfer(
    snapshot_id: str,
    families: Sequence[FamilyRuns],
    tasks: Iterable[TransferTask],
    *,
    learn: Learn,
    baselines: bool = True,
    tell: Callable[[str], None] = lambda _: None,
) -> TransferBoard:
    """Return the board of these tasks on the families of a snapshot."""
    by_name = {family.name: family for family in families}
    board = TransferBoard(snapshot_id)
    populations: dict[frozenset[str], Population] = {}
    raw: list[Transferred] = []
    for task in tasks:
        family = by_name.get(task.family)
        problem = lacking(family, task)
        if family is None or problem:
            board.absent[task.family] = problem
            continue
        if family.sources not in populations:
            tell(f"learning without {', '.join(sorted(family.sources))}")
            populations[family.sources] = learn(without(families, family.sources))
        population = populations[family.sources]
        raw.append(measure(population, family, task))
        if baselines and task.count:
            known, asked = parts_of(family, task)
            for name in BASELINES:
                loss = baseline(name, known, asked, population)
                board.scores.append(score(name, task, asked, loss))
    board.measured = raw
    factors = widths_by_sources(raw)
    for own in raw:
        _, asked = parts_of(by_name[own.task.family], own.task)
        factor = factors[own.sources].get(own.task.count, 1.0)
        board.scores.append(
            score(COMMUNITY, own.task, asked, own.answers.loss, own.answers, factor)
        )
    return board


def baseline(name: str, known: FamilyRuns, asked: FamilyRuns, population: Population) -> Array:
    """Return what a baseline predicts; the mean of the known losses where it cannot be fitted."""
    n, d, to_n, to_d = (
        np.array([read(row) for row in part.rows])
        for part in (known, asked)
        for read in (size_of, worth_of)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a line through runs of one compute, say
        try:
            found = BASELINES[name](n, d, known.loss, to_n, to_d, population)
        except (ValueError, np.linalg.LinAlgError):
            found = np.full(len(asked), np.nan)
    return np.where(np.isfinite(found), found, known.loss.mean())


def score(
    method: str,
    task: TransferTask,
    asked: FamilyRuns,
    loss: Array,
    answers: Answers | None = None,
    factor: float = 1.0,
) -> TransferScore:
    """Return how a method did on a task."""
    from scipy.stats import spearmanr

    error = loss - asked.loss
    groups: dict[tuple[float, float], list[int]] = {}
    for i, row in enumerate(asked.rows):
        groups.setdefault((round(size_of(row)), round(worth_of(row))), []).append(i)
    best = [min(members, key=lambda i: asked.loss[i]) for members in groups.values()]
    ranks, gaps = [], []
    for members in groups.values():
        if len(members) < LEAST_IN_GROUP:
            continue
        said, measured = loss[members], asked.loss[members]
        varies = len({asked.rows[i].get("learning_rate") for i in members}) > 1
        if np.ptp(said) > 0 and np.ptp(measured) > 0:
            ranks.append(float(spearmanr(said, measured).statistic))
            if varies:
                least = measured.min()
                gaps.append(100 * float(measured[np.argmin(said)] - least) / least)
    covered = width = np.nan
    if answers is not None:
        wide = answers.widened(factor)
        covered, width = float(wide.covers(asked.loss).mean()), wide.width
    return TransferScore(
        method, task, float(np.abs(error).mean()),
        100 * float(np.abs(error / asked.loss).mean()), float(error.mean()),
        _nanmean(ranks), _nanmean(gaps), float(np.abs(error[best]).mean()), covered, width,
    )  # fmt: skip
