"""How wide an interval must be for a new family: what was missed on families left out in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ncpl.data.families import FamilyRuns
from ncpl.evaluate.transfer_tasks import TransferTask, qualifies
from ncpl.model.adaptation import Adapted, Answers
from ncpl.model.law_inputs import Array
from ncpl.model.population import Population

Learn = Callable[[Sequence[FamilyRuns]], Population]
"""How a population is learned from families."""
LEVEL, LEAST_LEVEL, MOST_LEVEL = 0.9, 0.6, 0.95
"""Share of targets to be covered on the mean over families, of each, and at most on the mean."""
FACTORS = np.geomspace(1.0, 3.0, 45)
"""Factors tried; a wider interval says no more than the widest: nothing is known."""


def lacking(family: FamilyRuns | None, task: TransferTask) -> str:
    """Return why a family cannot be scored, or an empty text."""
    if family is None:
        return "not in the snapshot"
    missing = {*task.context, *task.targets} - set(family.run_ids)
    return f"{len(missing)} of its runs are not in the snapshot" if missing else ""


def without(families: Sequence[FamilyRuns], sources: frozenset[str]) -> list[FamilyRuns]:
    """Return the families to learn from that share no source with these."""
    return [f for f in families if not (f.sources & sources) and qualifies(f)]


def parts_of(family: FamilyRuns, task: TransferTask) -> tuple[FamilyRuns, FamilyRuns]:
    """Return the known runs and those asked for."""
    place = {run_id: i for i, run_id in enumerate(family.run_ids)}
    return (
        family.take([place[run_id] for run_id in task.context]),
        family.take([place[run_id] for run_id in task.targets]),
    )


@dataclass(frozen=True)
class Transferred:
    """What a population says of a family left out, before a factor."""

    task: TransferTask
    sources: frozenset[str]
    loss: Array
    """(targets,) measured, nats."""
    answers: Answers


def measure(population: Population, family: FamilyRuns, task: TransferTask) -> Transferred:
    """Return what a population says of the larger runs of a family, a few of its runs known."""
    known, asked = parts_of(family, task)
    adapted = Adapted.of(replace(population, widths={}), known.rows, known.loss)
    return Transferred(task, family.sources, asked.loss, adapted.predict(asked.rows))


def stretch_of(measured: Transferred) -> Array:
    """Return errors over the half width on their side, (targets,)."""
    answers = measured.answers
    error = measured.loss - answers.loss
    half = np.where(error > 0, answers.high - answers.loss, answers.loss - answers.low)
    return np.asarray(np.abs(error) / np.maximum(half, 1e-9))


def factor_of(measured: Sequence[tuple[str, Array]]) -> float:
    """Return the factor on half widths of families left out, by name and errors over half widths.

    The least with which the mean family has 90% covered and each 60%; where that would cover more
    than 95% of the mean one, the factor that covers as many. Never below 1, for families differ
    more than those measured.
    """
    if not measured:
        return 1.0
    by_family: dict[str, list[Array]] = {}
    for name, stretch in measured:
        by_family.setdefault(name, []).append(stretch)
    found = [np.concatenate(own) for own in by_family.values()]
    covered = np.array([[(own <= factor).mean() for own in found] for factor in FACTORS])
    enough = (covered.mean(1) >= LEVEL) & (covered.min(1) >= LEAST_LEVEL)
    most = int(np.argmax(np.append(covered.mean(1), 1.0) >= MOST_LEVEL))
    chosen = int(np.argmax(np.append(enough, True)))
    return float(FACTORS[min(chosen, most, len(FACTORS) - 1)])


def widths_of(measured: Sequence[Transferred]) -> dict[int, float]:
    """Return factors on half widths by number of known runs, from families left out in turn."""
    return {
        count: factor_of(
            [(m.task.family, stretch_of(m)) for m in measured if m.task.count == count]
        )
        for count in sorted({m.task.count for m in measured})
    }


def widths_without(measured: Sequence[Transferred], sources: frozenset[str]) -> dict[int, float]:
    """Return the factors that families tell which share no source with these."""
    return widths_of([m for m in measured if not m.sources & sources])


def widths_by_sources(measured: Sequence[Transferred]) -> dict[frozenset[str], dict[int, float]]:
    """Return the factors for the sources of each family, as the others tell."""
    return {own: widths_without(measured, own) for own in {m.sources for m in measured}}


def measured_tasks(
    families: Sequence[FamilyRuns],
    tasks: Iterable[TransferTask],
    learn: Learn,
) -> list[Transferred]:
    """Return what populations say of families left out in turn, with all that share a source."""
    by_name = {family.name: family for family in families}
    populations: dict[frozenset[str], Population] = {}
    measured = []
    for task in tasks:
        family = by_name.get(task.family)
        if family is None or lacking(family, task):
            continue
        if family.sources not in populations:
            populations[family.sources] = learn(without(families, family.sources))
        measured.append(measure(populations[family.sources], family, task))
    return measured
