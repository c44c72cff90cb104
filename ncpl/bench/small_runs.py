"""The sweep board: what five small runs tell of the largest ones of a family never seen.

A family and all that share a source with it are left out of the population. Up to five of its runs
are followed one after the other, as `ncpl plan sweep` chooses, among those that together cost at
most 5% of its largest run; asked for are its largest runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ncpl.data.families import FamilyRuns
from ncpl.evaluate.transfer_tasks import compute_of, qualifies
from ncpl.evaluate.transfer_widths import Learn, without
from ncpl.model.family_law import Effects
from ncpl.model.intervals import Z90
from ncpl.model.law_process import LawProcess
from ncpl.plan.narrowing import explore

FORMAT = "ncpl-sweep-board/1"
NAMED = ("steplaw", "marin", "lr_scheduling")
"""Sources of the three families that count. All families were scored once before these were named,
so the choice is not blind; that is why the others are listed too."""
SHARE, FOLLOWED, MOST_ASKED = 0.05, 5, 30
LEAST_RUNS = 20
LARGE = 0.5
"""Share of the largest run's compute from which on a run is asked for."""
NARROWED, INSIDE = 0.5, 0.8
"""What five runs must leave of the width at most, and the share of targets inside at least."""


@dataclass(frozen=True)
class SweepRow:
    """One family left out; half widths of 90% intervals and errors in nats."""

    family: str
    is_named: bool
    cheap: int
    """Runs of at most 5% of the largest one's compute."""
    followed: int
    asked: int
    spent_share: float
    """Of the largest run's compute."""
    half_before: float
    half_after: float
    inside_before: float
    inside_after: float
    error_after: float

    @property
    def left(self) -> float:
        """Return what is left of the width."""
        return self.half_after / self.half_before

    @property
    def is_met(self) -> bool:
        """Return whether five runs narrow enough and the truth lies inside often enough."""
        narrow = self.followed == FOLLOWED and self.left <= NARROWED
        return narrow and self.inside_after >= INSIDE

    def to_json(self) -> dict[str, Any]:
        """Return the row as plain values."""
        return asdict(self) | {"left": self.left, "is_met": self.is_met}


def run_sweeps(
    families: Sequence[FamilyRuns], learn: Learn, *, tell: Callable[[str], None] = lambda _: None
) -> tuple[list[SweepRow], dict[str, str]]:
    """Return a row for each family with enough cheap runs, and why the others have none.

    `learn` makes a population of families; their held-out parts are not among what it is given.
    """
    learned = [family.training() for family in families if qualifies(family)]
    rows, absent = [], {}
    for family in families:
        if len(family) < LEAST_RUNS:
            absent[family.name] = f"{len(family)} runs; {LEAST_RUNS} are needed"
            continue
        cost = compute_of(family)
        cheap = np.flatnonzero(cost <= SHARE * cost.max())
        if len(cheap) < FOLLOWED:
            absent[family.name] = f"{len(cheap)} cheap runs; {FOLLOWED} are needed"
            continue
        others = without(learned, family.sources)
        if not others:
            absent[family.name] = "no other family to learn from"
            continue
        tell(family.name)
        rows.append(follow(family, cost, learn(others)))
    return sorted(rows, key=lambda row: not row.is_named), absent


def follow(family: FamilyRuns, cost: Any, population: Any) -> SweepRow:
    """Return what the small runs of a family tell of its largest, by a population without it."""
    largest = float(cost.max())
    cheap = np.flatnonzero(cost <= SHARE * largest)
    asked = np.flatnonzero(cost >= LARGE * largest)[:MOST_ASKED]
    rows, targets = ([family.rows[i] for i in at] for at in (cheap, asked))
    chosen = explore(
        population, rows, cost[cheap], targets, SHARE * largest,
        lambda at: family.loss[cheap[at]], most=FOLLOWED,
    )  # fmt: skip
    effects = Effects.of([*rows, *targets])
    truth = family.loss[asked]
    told = []
    for known in (chosen[:0], chosen):
        belief = LawProcess.of(
            population, effects, [rows[i] for i in known], family.loss[cheap[known]]
        )
        mean, sd = belief.predict(targets)
        error = np.abs(mean - truth)
        told.append((Z90 * float(sd.mean()), float((error <= Z90 * sd).mean()), error.mean()))
    (before, inside_before, _), (after, inside, error) = told
    named = any(name in family.sources for name in NAMED)
    spent = float(cost[cheap[chosen]].sum() / largest)
    return SweepRow(
        family.name, named, len(cheap), len(chosen), len(asked), spent, before, after,
        inside_before, inside, float(error),
    )  # fmt: skip


def sweeps_json(
    snapshot_id: str, rows: Sequence[SweepRow], absent: dict[str, str]
) -> dict[str, Any]:
    """Return the board as plain values."""
    return {
        "format": FORMAT, "snapshot_id": snapshot_id, "rows": [row.to_json() for row in rows],
        "absent": absent,
    }  # fmt: skip


def sweeps_markdown(rows: Sequence[SweepRow], absent: dict[str, str]) -> str:
    """Return the board as text."""
    lines = [
        f"Small runs before a large one: families left out; {FOLLOWED} runs of {100 * SHARE:.0f}% "
        "of the largest run's compute; half widths of 90% in nats",
        "",
        "| family | cheap runs | followed | asked | compute | half before | after | left | inside "
        "before | after | error | met |",
        "|---|" + "---|" * 11,
    ]
    lines += [_line(row) for row in rows]
    met = sum(r.is_met for r in rows)
    lines += ["", f"Met (at most {NARROWED:g} left, {100 * INSIDE:.0f}% inside): {met} of "
              f"{len(rows)}."]  # fmt: skip
    lines += [f"Not followed: {name} ({why})" for name, why in absent.items()]
    return "\n".join(lines) + "\n"


def _line(r: SweepRow) -> str:
    cells = (
        r.family + (" (named)" if r.is_named else ""), f"{r.cheap}", f"{r.followed}", f"{r.asked}",
        f"{100 * r.spent_share:.1f}%", f"{r.half_before:.3f}", f"{r.half_after:.3f}",
        f"{r.left:.2f}", f"{100 * r.inside_before:.0f}%", f"{100 * r.inside_after:.0f}%",
        f"{r.error_after:.3f}", "yes" if r.is_met else "no",
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"
