"""What half of a family's runs, contributed, gives to whoever holds the other half.

Runs of one size and data stay together. Each half is contributed in turn; asked for are the runs of
the other half, by someone who knows none of them, FEW of them, or all but those asked for. The
population is learned without the family and without every family that shares a source with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ncpl.data.families import FamilyRuns
from ncpl.data.sizes import size_of, worth_of
from ncpl.evaluate.transfer_tasks import spread
from ncpl.evaluate.transfer_widths import Learn, without
from ncpl.model.adaptation import Adapted
from ncpl.model.law_inputs import Array
from ncpl.model.population import Population

Mask = npt.NDArray[np.bool_]
FEW = 5
N_FOLDS = 4
"""Parts of the own half that are left out in turn and asked for, where all others are known."""
LEAST_RUNS, LEAST_CELLS = 12, 6
MOST_RUNS = 300
"""Seeded runs of a family that are looked at; more hardly move its law."""
SAME = 0.02
"""Sizes, or data, closer than this in log are one cell's."""
ASKERS = ("none", "few", "half")
"""What is known of the own half: no run, FEW runs, all runs but those asked for."""


@dataclass(frozen=True)
class HalfGiven:
    """Errors on one half of a family without and with the other half, nats."""

    family: str
    given: int
    """Runs contributed."""
    own: int
    """Runs of the half that is asked for."""
    without: dict[str, float]
    """By what is known of the own half, one of ASKERS."""
    with_it: dict[str, float]


@dataclass
class ContributeBoard:
    """Both halves of every family that has enough runs."""

    snapshot_id: str
    halves: list[HalfGiven] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)
    """Family -> why it is not scored."""

    def families(self) -> list[dict[str, Any]]:
        """Return one row a family: means over its halves, nats."""
        rows = []
        for name in dict.fromkeys(half.family for half in self.halves):
            own = [half for half in self.halves if half.family == name]
            row: dict[str, Any] = {"family": name, "runs": own[0].given + own[0].own}
            for asker in ASKERS:
                row[f"{asker}_without"] = float(np.mean([half.without[asker] for half in own]))
                row[f"{asker}_with"] = float(np.mean([half.with_it[asker] for half in own]))
            rows.append(row)
        return rows

    def improved(self, asker: str) -> int:
        """Return in how many families the error is smaller with the contributed half."""
        return sum(row[f"{asker}_with"] < row[f"{asker}_without"] for row in self.families())

    def to_json(self) -> dict[str, Any]:
        """Return the board as plain values."""
        return {
            "format": "ncpl-contribute-board/1",
            "snapshot_id": self.snapshot_id,
            "families": self.families(),
            "improved": {asker: self.improved(asker) for asker in ASKERS},
            "absent": self.absent,
        }


def run_contribute(
    snapshot_id: str,
    families: Sequence[FamilyRuns],
    *,
    learn: Learn,
    learned: Sequence[FamilyRuns],
    names: Sequence[str] = (),
    tell: Callable[[str], None] = lambda _: None,
) -> ContributeBoard:
    """Return the board of families, each as `learned` without its sources and half its runs tell.

    With `names`, only families whose name holds one of these texts.
    """
    board = ContributeBoard(snapshot_id)
    populations: dict[frozenset[str], Population] = {}
    for family in families:
        if names and not any(name in family.name for name in names):
            continue
        some = fewer(family)
        cells = cells_of(some)
        count = len(set(cells))
        if len(family) < LEAST_RUNS or count < LEAST_CELLS:
            board.absent[family.name] = (
                f"{len(family)} runs in {count} cells of size and data; {LEAST_RUNS} runs in "
                f"{LEAST_CELLS} cells are needed"
            )
            continue
        tell(f"{family.name}: {len(some)} runs in {count} cells of size and data")
        if family.sources not in populations:
            populations[family.sources] = learn(without(learned, family.sources))
        first = half_of(cells, family.name)
        for given in (first, ~first):
            board.halves.append(scored(some, cells, given, populations[family.sources]))
    return board


def scored(
    family: FamilyRuns, cells: Sequence[int], given_B: Mask, population: Population
) -> HalfGiven:
    """Return errors on the half of a family that is not given, without and with the given one."""
    given = np.flatnonzero(given_B).tolist()
    own = np.flatnonzero(~given_B).tolist()
    few = spread(places_of(family)[own], min(FEW, len(own) - 1), seeded(family.name, len(own)))
    known_few = [own[i] for i in few]
    parts: dict[str, list[tuple[list[int], list[int]]]] = {
        "none": [([], own)],
        "few": [(known_few, sorted(set(own) - set(known_few)))],
    }
    own_cells = sorted({cells[i] for i in own})
    parts["half"] = [
        ([i for i in own if cells[i] not in left_out], [i for i in own if cells[i] in left_out])
        for left_out in (set(own_cells[k::N_FOLDS]) for k in range(N_FOLDS))
        if left_out
    ]
    errors: tuple[dict[str, float], dict[str, float]] = ({}, {})
    for asker, pairs in parts.items():
        for found, more in zip(errors, ([], given), strict=True):
            missed = [
                missed_by(family, [*known, *more], asked, population) for known, asked in pairs
            ]
            found[asker] = float(np.abs(np.concatenate(missed)).mean())
    return HalfGiven(family.name, len(given), len(own), *errors)


def missed_by(
    family: FamilyRuns, known: Sequence[int], asked: Sequence[int], population: Population
) -> Array:
    """Return predicted less measured losses of the runs asked for, nats."""
    told, wanted = family.take(known), family.take(asked)
    found = Adapted.of(population, told.rows, told.loss).predict(wanted.rows)
    return np.asarray(found.loss - wanted.loss)


def fewer(family: FamilyRuns) -> FamilyRuns:
    """Return a family, of one with many runs some, in order."""
    if len(family) <= MOST_RUNS:
        return family
    chosen = seeded(family.name, MOST_RUNS).permutation(len(family))[:MOST_RUNS]
    return family.take(np.sort(chosen).tolist())


def places_of(family: FamilyRuns) -> Array:
    """Return log size and data of every run, (B, 2)."""
    return np.log([[size_of(row), worth_of(row)] for row in family.rows])


def cells_of(family: FamilyRuns) -> list[int]:
    """Return a number for the size and data of every run; those of one cell share it."""
    found: list[int] = []
    places = places_of(family)
    centres: list[Array] = []
    for place in places:
        near = [i for i, centre in enumerate(centres) if np.abs(place - centre).max() < SAME]
        if not near:
            centres.append(place)
        found.append(near[0] if near else len(centres) - 1)
    return found


def half_of(cells: Sequence[int], name: str) -> Mask:
    """Return which runs (B) are of the first half: whole cells, the largest dealt first."""
    counts = np.bincount(cells)
    order = seeded(name, len(counts)).permutation(len(counts))
    halves: tuple[list[int], list[int]] = ([], [])
    for cell in order[np.argsort(-counts[order], kind="stable")].tolist():
        min(halves, key=lambda half: int(counts[half].sum()) if half else 0).append(cell)
    return np.isin(cells, halves[0])


def seeded(name: str, count: int) -> np.random.Generator:
    """Return draws that depend on a family's name and a count only."""
    digest = hashlib.sha256(f"{name}/{count}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))


def markdown(board: ContributeBoard) -> str:
    """Return the board as text."""
    rows = board.families()
    lines = [
        f"Half of a family's runs contributed, snapshot {board.snapshot_id[:12]}: error on the "
        "other half without it -> with it, nats",
        "",
        f"| family | runs | no own run | {FEW} own runs | own half, left out in turn |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [f"{row[f'{a}_without']:.4f} -> {row[f'{a}_with']:.4f}" for a in ASKERS]
        lines.append(f"| {row['family']} | {row['runs']} | {' | '.join(cells)} |")
    told = [f"{board.improved(asker)} of {len(rows)}" for asker in ASKERS]
    lines.append(f"| improved | | {' | '.join(told)} |")
    lines += [f"Not scored: {name} ({why})" for name, why in board.absent.items()]
    return "\n".join(lines) + "\n"
