"""How wide an interval must be for a new family: what was missed on families left out in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from ncpl.data.families import FamilyRuns
from ncpl.evaluate.transfer_tasks import TransferTask
from ncpl.model.adaptation import Adapted, Answers
from ncpl.model.family_law import Array
from ncpl.model.population import Population

Learn = Callable[[Sequence[FamilyRuns]], Population]
"""How a population is learned from families."""
LEVEL = 0.9
MOST_STRETCH = 3.0
"""A wider interval says no more than this one: nothing is known."""


def lacking(family: FamilyRuns | None, task: TransferTask) -> str:
    """Return why a family cannot be scored, or an empty text."""
    if family is None:
        return "not in the snapshot"
    missing = {*task.context, *task.targets} - set(family.run_ids)
    return f"{len(missing)} of its runs are not in the snapshot" if missing else ""


def without(families: Sequence[FamilyRuns], sources: frozenset[str]) -> list[FamilyRuns]:
    """Return the families that share no source with these."""
    return [family for family in families if not (family.sources & sources)]


def parts_of(family: FamilyRuns, task: TransferTask) -> tuple[FamilyRuns, FamilyRuns]:
    """Return the known runs and those asked for."""
    place = {run_id: i for i, run_id in enumerate(family.run_ids)}
    return (
        family.take([place[run_id] for run_id in task.context]),
        family.take([place[run_id] for run_id in task.targets]),
    )


def stretch_of(family: FamilyRuns, task: TransferTask, answers: Answers) -> Array:
    """Return errors over the half width on their side, (targets,)."""
    _, asked = parts_of(family, task)
    error = asked.loss - answers.loss
    half = np.where(error > 0, answers.high - answers.loss, answers.loss - answers.low)
    return np.asarray(np.abs(error) / np.maximum(half, 1e-9))


def factor_of(measured: Sequence[tuple[TransferTask, Array]], count: int) -> float:
    """Return the factor on half widths with which 90% are covered, each family one vote.

    Never below 1: families differ more than those measured.
    """
    values, weights = [], []
    own = [(task, stretch) for task, stretch in measured if task.count == count]
    votes = {name: sum(t.family == name for t, _ in own) for name in {t.family for t, _ in own}}
    for task, stretch in own:
        values.append(stretch)
        weights.append(np.full(len(stretch), 1 / len(stretch) / votes[task.family]))
    if not values:
        return 1.0
    value, weight = np.concatenate(values), np.concatenate(weights)
    order = np.argsort(value)
    share = np.cumsum(weight[order]) / weight.sum()
    return float(np.clip(value[order][np.searchsorted(share, LEVEL)], 1.0, MOST_STRETCH))


def widths_of(
    families: Sequence[FamilyRuns],
    tasks: Iterable[TransferTask],
    learn: Learn,
) -> dict[int, float]:
    """Return factors on half widths by number of known runs, from families left out in turn."""
    by_name = {family.name: family for family in families}
    populations: dict[frozenset[str], Population] = {}
    measured = []
    for task in tasks:
        family = by_name.get(task.family)
        if family is None or lacking(family, task):
            continue
        if family.sources not in populations:
            populations[family.sources] = learn(without(families, family.sources))
        known, asked = parts_of(family, task)
        adapted = Adapted.of(populations[family.sources], known.rows, known.loss)
        measured.append((task, stretch_of(family, task, adapted.predict(asked.rows))))
    return {
        count: factor_of(measured, count) for count in sorted({task.count for task, _ in measured})
    }
