"""Which contribution moved what: errors of every family with and without it.

A family's error is that of its transfer tasks: k of its small runs known, its runs of four times
their compute and more asked for, the family's own sources left out of the population. Without a
contribution the population is the same step of learning from the others alone: where each family
lies is found once, under the population of all, so a trace of what is left out stays in where the
others lie.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ncpl.data.families import FamilyRuns
from ncpl.evaluate.gate import bootstrap
from ncpl.evaluate.transfer_tasks import TransferTask, draw_tasks, qualifies
from ncpl.evaluate.transfer_widths import parts_of
from ncpl.model.adaptation import Adapted
from ncpl.model.law_inputs import Array
from ncpl.model.population import Population

KNOWN = 5
"""Runs of a family that are known in the tasks scored."""
Without = Callable[[frozenset[str]], Population]
"""The population without every family that shares one of these sources."""


@dataclass(frozen=True)
class FamilyInfluence:
    """A family's transfer error with a contribution and without, nats."""

    family: str
    known: int
    error_with: float
    error_without: float
    targets: int
    """Different runs asked for."""
    low: float
    """Lower end of the 90% bootstrap interval of the rise, runs drawn."""


@dataclass(frozen=True)
class Influence:
    """What one contribution did."""

    contribution: str
    runs: int
    families: list[FamilyInfluence] = field(default_factory=list)

    @property
    def mean_with(self) -> float:
        """Return the mean error over families with it; NaN where none could be scored."""
        return float(np.mean([f.error_with for f in self.families])) if self.families else np.nan

    @property
    def mean_without(self) -> float:
        """Return the mean error over families without it; NaN where none could be scored."""
        return float(np.mean([f.error_without for f in self.families])) if self.families else np.nan

    @property
    def helped(self) -> int:
        """Return how many families are told better of with it."""
        return sum(f.error_with < f.error_without for f in self.families)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "contribution": self.contribution,
            "runs": self.runs,
            "helped": self.helped,
            "scored": len(self.families),
            "mean_with": _plain(self.mean_with),
            "mean_without": _plain(self.mean_without),
            "families": [vars(one) for one in self.families],
        }

    def line(self) -> str:
        """Return one sentence."""
        if not self.families:
            return f"{self.contribution} ({self.runs} runs): no other family has transfer tasks"
        moved = max(self.families, key=lambda f: abs(f.error_with - f.error_without))
        return (
            f"{self.contribution} ({self.runs} runs): transfer error of {len(self.families)} other "
            f"families {self.mean_without:.4f} without it, {self.mean_with:.4f} with it; better in "
            f"{self.helped}; most in {moved.family}: {moved.error_without:.4f} to "
            f"{moved.error_with:.4f}"
        )


def _plain(value: float) -> float | None:
    return round(value, 6) if np.isfinite(value) else None


def influences(
    families: Sequence[FamilyRuns], contributions: Sequence[str], without: Without
) -> list[Influence]:
    """Return what each contribution, a source, did to the families of all others.

    `families` hold training runs only. Families whose kin the contribution is are not scored: it is
    left out of what they are told by in any case.
    """
    tasks = {f.name: tasks_of(f) for f in families if qualifies(f)}
    scored = [f for f in families if tasks.get(f.name)]
    whole: dict[str, TargetErrors] = {}
    generator = np.random.default_rng(0)
    found = []
    for name in contributions:
        own = [f for f in families if name in f.sources]
        kin = frozenset({name}).union(*(f.sources for f in own))
        changes = []
        for family in scored:
            if family.sources & kin:
                continue
            if family.name not in whole:
                whole[family.name] = TargetErrors.of(
                    family, tasks[family.name], without(family.sources)
                )
            own_with = whole[family.name]
            left_out = without(family.sources | {name})
            own_without = TargetErrors.of(family, tasks[family.name], left_out)
            rise = own_with.error - own_without.error
            low, _ = bootstrap(rise, np.array(own_with.run_ids), generator)
            changes.append(
                FamilyInfluence(
                    family.name, KNOWN, own_with.mean, own_without.mean,
                    len(set(own_with.run_ids)), low,
                )
            )  # fmt: skip
        n_runs = sum(run_id.split("/", 1)[0] == name for f in own for run_id in f.run_ids)
        found.append(Influence(name, n_runs, changes))
    return found


def tasks_of(family: FamilyRuns) -> list[TransferTask]:
    """Return the tasks of KNOWN runs of a family."""
    return [task for task in draw_tasks(family) if task.count == KNOWN]


@dataclass(frozen=True)
class TargetErrors:
    """What is missed of the runs that tasks ask for, nats; a run may be asked for by several."""

    run_ids: list[str]
    error: Array
    """(targets,) absolute."""
    mean: float
    """Over tasks, of means over their targets."""

    @classmethod
    def of(
        cls, family: FamilyRuns, tasks: Sequence[TransferTask], population: Population
    ) -> TargetErrors:
        """Return the errors of a family's tasks under a population."""
        run_ids: list[str] = []
        errors = []
        for task in tasks:
            known, asked = parts_of(family, task)
            answers = Adapted.of(population, known.rows, known.loss).predict(asked.rows)
            errors.append(np.abs(answers.loss - asked.loss))
            run_ids += asked.run_ids
        mean = float(np.mean([error.mean() for error in errors]))
        return cls(run_ids, np.concatenate(errors), mean)
