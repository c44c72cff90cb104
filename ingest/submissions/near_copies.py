"""Near copies: a run that is there already, rounded, or with losses, steps or settings moved."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from math import floor, isclose
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ncpl_data.catalog.alike import COLUMNS as ALIKE_COLUMNS
from ncpl_data.catalog.alike import SAME_FRAC, Alike
from ncpl_data.catalog.curve import Curve
from ncpl_data.catalog.families import COMPARABLE_UNITS
from ncpl_data.catalog.manifest import Manifest
from ncpl_data.catalog.record import Run
from ncpl_data.catalog.store import Catalog
from ncpl_data.ingest.submissions.duplicates import (
    MIN_AGREEING,
    OUTCOME,
    are_linked,
    configuration,
    has_decimals,
)

ROUNDED_FRAC = 1e-3
"""Relative. Two values of one setting that differ by less are one, written in two ways."""

LARGEST_ROUNDING = 5e-5
"""Nats. Half of the last digit of a loss given with four decimals."""

MIN_POINTS = 8
"""Points of a curve that two runs can not share by chance."""

CURVE_TOLERANCE = 1e-3
"""Two seeds of one configuration lie further apart than this at one point in eight at least."""

MAX_CANDIDATES = 20
"""Runs one new run is compared with in full."""


@dataclass(frozen=True)
class Copy:
    """The run that a new one repeats, and how it was told."""

    run: Run
    words: str
    """Such as "with its values rounded"."""


class NearCopies:
    """Runs by loss and by settings, to find the one that a new run repeats."""

    def __init__(self) -> None:
        """Start empty."""
        self.by_loss: dict[int, list[Run]] = {}
        self.by_id: dict[str, Run] = {}
        self.alike = Alike(())

    def add(self, run: Run) -> None:
        """Remember a run."""
        self.by_id[run.run_id] = run
        self.alike.add(vars_of(run))
        if run.final_loss is not None:
            self.by_loss.setdefault(cell_of(run.final_loss), []).append(run)

    def find(self, run: Run) -> Copy | None:
        """Return the run of another name that a run repeats, if one is known."""
        compared = 0
        for other in self.candidates(run):
            if other.run_id == run.run_id or are_linked(run, other):
                continue
            compared += 1
            words = repeats(run, other)
            if words is not None:
                return Copy(other, words)
            if compared == MAX_CANDIDATES:
                break
        return None

    def candidates(self, run: Run) -> Iterator[Run]:
        """Yield the runs with nearly the loss of a run, then those with its settings."""
        if run.final_loss is not None:
            cell = cell_of(run.final_loss)
            for place in (cell, cell - 1, cell + 1):
                yield from self.by_loss.get(place, ())
        for row in self.alike.find(vars_of(run)):
            yield self.by_id[row["run_id"]]


def vars_of(run: Run) -> dict[str, Any]:
    """Return the settings of a run by column."""
    return {column: getattr(run, column) for column in ALIKE_COLUMNS}


def repeats(run: Run, other: Run) -> str | None:
    """Return in words how one run repeats another; None if it does not."""
    if is_rounded(run, other):
        return "with its values rounded"
    if run.parent_run_id is not None or other.parent_run_id is not None:
        return None  # a branch has the head of its parent's curve
    for mine in loss_curves(run):
        for theirs in loss_curves(other):
            moved = moved_by(mine, theirs)
            if moved is not None:
                change = "" if abs(moved) <= CURVE_TOLERANCE else f", moved by {moved:+.3g}"
                return f"by its curve {theirs.metric}{change}"
    return None


def loss_curves(run: Run) -> list[Curve]:
    """Return the curves of losses; a learning rate is the same in every run of one schedule."""
    losses = {m["name"] for m in run.metrics or () if m["unit"] in COMPARABLE_UNITS}
    losses.add(run.final_loss_metric or "")
    return [curve for curve in run.curves if curve.metric in losses]


def is_rounded(run: Run, other: Run) -> bool:
    """Return whether two runs say the same, up to the digits that one of them leaves out."""
    if run.final_loss is None or other.final_loss is None:
        return False
    if not has_decimals(run.final_loss) or not are_one_number(run.final_loss, other.final_loss):
        return False
    agreeing = 0
    for column in (*configuration(), *OUTCOME):
        if column == "final_loss":
            continue
        a, b = getattr(run, column), getattr(other, column)
        if a is None or b is None:
            continue
        if a != b and not (is_number(a) and is_number(b) and isclose(a, b, rel_tol=ROUNDED_FRAC)):
            return False
        agreeing += column not in OUTCOME
    return agreeing >= MIN_AGREEING and not have_other_curves(run, other)


def have_other_curves(run: Run, other: Run) -> bool:
    """Return whether a curve both runs log is another one at a step both have."""
    theirs = {curve.metric: curve for curve in other.curves}
    for curve in run.curves:
        twin = theirs.get(curve.metric)
        if twin is not None:
            _, mine, its = np.intersect1d(curve.step, twin.step, return_indices=True)
            off = np.abs(curve.value[mine] - twin.value[its])
            if len(off) and off.max() > CURVE_TOLERANCE:
                return True
    return False


def are_one_number(one: float, other: float) -> bool:
    """Return whether two losses are one, written with different numbers of decimals."""
    digits = min(decimals(one), decimals(other))
    return abs(one - other) <= min(0.51 * 10.0**-digits, LARGEST_ROUNDING)


def decimals(value: float) -> int:
    """Return how many decimals a number is written with."""
    exponent = Decimal(repr(value)).as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def is_number(value: Any) -> bool:
    """Return whether a value is a number, and no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def moved_by(curve: Curve, other: Curve) -> float | None:
    """Return by how much one curve lies above another that has its shape to the last wiggle.

    None if they are two curves. They are compared at the steps both have, or, where one has been
    stretched, point by point.
    """
    if np.array_equal(curve.step, other.step):
        return offset(curve.value, other.value)
    _, mine, theirs = np.intersect1d(curve.step, other.step, return_indices=True)
    pairs = [(curve.value[mine], other.value[theirs])]
    if len(curve.step) == len(other.step):
        pairs.append((curve.value, other.value))
    return next((moved for a, b in pairs if (moved := offset(a, b)) is not None), None)


def offset(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float | None:
    """Return the constant by which values differ; None if it is none, or tells nothing."""
    if len(one) < MIN_POINTS:
        return None
    off = one - other
    if off.max() - off.min() > 2 * CURVE_TOLERANCE:  # then no middle is near all; most end here
        return None
    if np.ptp(one) <= 10 * CURVE_TOLERANCE:
        return None
    middle = float(np.median(off))
    return middle if np.abs(off - middle).max() <= CURVE_TOLERANCE else None


def cell_of(loss: float) -> int:
    """Return the cell of a loss; losses within LARGEST_ROUNDING lie in one or in neighbours."""
    return floor(loss / LARGEST_ROUNDING)


def near_candidates(catalog: Catalog, manifest: Manifest, runs: Sequence[Run]) -> list[str]:
    """Return the ids of the stored runs with nearly the loss, or the settings, of an incoming one.

    The table is narrowed down by loss and learning rate first, so that a large one stays a table.
    """
    rows = catalog.read("runs", list(dict.fromkeys(("final_loss", *ALIKE_COLUMNS))),
                        manifest=manifest)  # fmt: skip
    if rows.num_rows == 0:
        return []
    losses = {cell_of(run.final_loss) for run in runs if run.final_loss is not None}
    rates = {rate_cell(run.learning_rate) for run in runs if run.learning_rate}
    is_near = pc.or_(
        in_cells(pc.divide(rows["final_loss"], LARGEST_ROUNDING), losses),
        in_cells(pc.divide(pc.ln(rows["learning_rate"]), SAME_FRAC), rates),
    )
    near = NearRows(rows.filter(is_near).to_pylist())
    return list(dict.fromkeys(run_id for run in runs for run_id in near.of(run)))


def rate_cell(rate: float) -> int:
    """Return the cell of a learning rate."""
    return floor(float(np.log(rate)) / SAME_FRAC)


def in_cells(values: pa.ChunkedArray, cells: Iterable[int]) -> pa.ChunkedArray:
    """Return which values, in units of a cell, lie in one of some cells or beside it; no nulls."""
    wanted = sorted({cell + off for cell in cells for off in (-1, 0, 1)})
    found = pc.is_in(pc.floor(values), pa.array(map(float, wanted), pa.float64()))
    return pc.fill_null(found, fill_value=False)


class NearRows:
    """Stored rows by loss and settings."""

    def __init__(self, rows: Sequence[dict[str, Any]]) -> None:
        """Index rows of the table `runs`."""
        self.alike = Alike(rows)
        self.by_loss: dict[int, list[str]] = {}
        for row in rows:
            if row["final_loss"] is not None:
                self.by_loss.setdefault(cell_of(row["final_loss"]), []).append(row["run_id"])

    def of(self, run: Run) -> Iterator[str]:
        """Yield the ids of the rows a run is to be compared with, a few at most of each kind."""
        found: list[str] = []
        if run.final_loss is not None:
            cell = cell_of(run.final_loss)
            for place in (cell, cell - 1, cell + 1):
                found += self.by_loss.get(place, ())
        yield from found[:MAX_CANDIDATES]
        # of a sweep all runs are alike: looking no further than needed keeps the time of each flat
        alike = islice(self.alike.find(vars_of(run)), MAX_CANDIDATES)
        yield from (row["run_id"] for row in alike)
