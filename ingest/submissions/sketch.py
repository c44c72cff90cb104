"""A run in a few numbers: enough to see that it is surely no copy of another.

A submission of a hundred thousand runs keeps a sketch of each, and reads a run again only where
its sketch could be that of a copy.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ncpl_data.catalog.alike import COLUMNS as ALIKE_COLUMNS
from ncpl_data.catalog.curve import Curve
from ncpl_data.catalog.record import Run
from ncpl_data.ingest.submissions.duplicates import KEY, OUTCOME, configuration
from ncpl_data.ingest.submissions.near_copies import (
    CURVE_TOLERANCE,
    LARGEST_ROUNDING,
    MIN_POINTS,
    agree_up_to_rounding,
    are_one_loss,
    have_other_seeds,
    loss_curves,
)

N_PLACES = 8
"""Points of a curve that a sketch keeps, evenly spread."""

N_SAMPLED = 16
"""Points it keeps beside these: those whose steps come first in an order that looks random, so
that two curves with other steps keep some they have in common."""

SPREAD = 2 * CURVE_TOLERANCE + 1e-12
"""Differences of one curve from its copy spread less."""


@dataclass(frozen=True, eq=False)
class Grid:
    """The steps of curves, and which of them a sketch keeps. Curves with equal steps share one."""

    n: int
    places: npt.NDArray[np.int64]
    sampled: npt.NDArray[np.int64]
    steps: npt.NDArray[np.int64]
    """Those of the sampled points, ascending."""


@dataclass(frozen=True, slots=True)
class CurveSketch:
    """A curve of losses at a few places."""

    grid: Grid
    at_places: array[float]
    at_sampled: array[float]


@dataclass(frozen=True, slots=True)
class Sketch:
    """What is kept of a run."""

    run_id: str
    same_as: tuple[str, ...]
    parent_run_id: str | None
    seed: int | None
    settings: tuple[Any, ...]
    """The columns of `configuration` but for the seed; equal ones are one object."""
    alike: tuple[Any, ...]
    """The columns of `alike.COLUMNS` without names; equal ones are one object."""
    outcome: tuple[Any, ...]
    key: tuple[Any, ...]
    curves: tuple[CurveSketch, ...]

    @property
    def final_loss(self) -> float | None:
        """The final loss of the run."""
        loss: float | None = self.key[0]
        return loss


ALIKE_SETTINGS = tuple(c for c in ALIKE_COLUMNS if c not in ("run_id", "source", "optimizer"))


class Sketcher:
    """Makes sketches; what many runs share is kept once."""

    def __init__(self) -> None:
        """Begin with none."""
        self.shared: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        self.grids: dict[bytes, Grid] = {}

    def sketch(self, run: Run) -> Sketch:
        """Return the sketch of a run."""
        said = vars(run).get
        return Sketch(
            run_id=run.run_id,
            same_as=tuple(run.same_as or ()),
            parent_run_id=run.parent_run_id,
            seed=said("seed"),
            settings=self.one(tuple(map(said, configuration()[1:]))),
            alike=self.one(tuple(map(said, ALIKE_SETTINGS))),
            outcome=self.one(tuple(said(c) for c in OUTCOME if c != "final_loss")),
            key=tuple(map(said, KEY)),
            curves=tuple(
                self.curve(curve) for curve in loss_curves(run) if len(curve.step) >= MIN_POINTS
            ),
        )

    def one(self, values: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the first of equal tuples."""
        return self.shared.setdefault(values, values)

    def curve(self, curve: Curve) -> CurveSketch:
        """Return the sketch of a curve."""
        key = curve.step.tobytes()
        grid = self.grids.get(key)
        if grid is None:
            grid = self.grids[key] = grid_of(curve.step)
        return CurveSketch(
            grid,
            array("d", curve.value[grid.places].tobytes()),
            array("d", curve.value[grid.sampled].tobytes()),
        )


def grid_of(step: npt.NDArray[np.int64]) -> Grid:
    """Return the grid of a curve's steps."""
    n = len(step)
    places = np.linspace(0, n - 1, N_PLACES).round().astype(np.int64)
    mixed = (step.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(16)
    sampled = np.sort(np.argsort(mixed, kind="stable")[:N_SAMPLED])
    return Grid(n, places, sampled, step[sampled])


@lru_cache(maxsize=4096)
def common(one: Grid, other: Grid) -> tuple[tuple[int, int], ...]:
    """Return which sampled points of two grids are of one step."""
    _, mine, theirs = np.intersect1d(one.steps, other.steps, return_indices=True)
    return tuple(zip(mine.tolist(), theirs.tolist(), strict=True))


def could_be_copy(one: Sketch, other: Sketch) -> bool:
    """Return False where one run is surely no near copy of another."""
    loss, its_loss = one.key[0], other.key[0]
    if (
        loss is not None
        and its_loss is not None
        and abs(loss - its_loss) <= LARGEST_ROUNDING
        and could_be_rounded(one, other)
    ):
        return True
    if one.parent_run_id is not None or other.parent_run_id is not None:
        return False
    for mine in one.curves:
        for theirs in other.curves:
            if could_be_one(mine, theirs):
                return True
    return False


def could_be_rounded(one: Sketch, other: Sketch) -> bool:
    """Return whether two runs say the same, curves aside, up to the digits one leaves out."""
    if have_other_seeds(one.seed, other.seed):
        return False
    return are_one_loss(one.key[0], other.key[0]) and agree_up_to_rounding(
        (one.seed, *one.settings), (other.seed, *other.settings), one.outcome, other.outcome
    )


def could_be_one(one: CurveSketch, other: CurveSketch) -> bool:
    """Return False where two curves surely differ by more than a constant."""
    a, b = one.at_places, other.at_places
    if one.grid.n == other.grid.n:
        # most pairs end here, at the two ends
        if abs(a[0] - b[0] - a[-1] + b[-1]) <= SPREAD and spread_is_small(a, b):
            return True
        if one.grid is other.grid:
            return False
    pairs = common(one.grid, other.grid)
    mine = [one.at_sampled[i] for i, _ in pairs]
    return spread_is_small(mine, [other.at_sampled[j] for _, j in pairs])


def spread_is_small(one: Sequence[float], other: Sequence[float]) -> bool:
    """Return whether the differences of values lie within those of a copy; True without any."""
    off = [a - b for a, b in zip(one, other, strict=True)]
    return not off or max(off) - min(off) <= SPREAD


def could_be_same(one: Sketch, other: Sketch) -> bool:
    """Return False where two runs of one key contradict each other in a setting or an outcome."""
    if have_other_seeds(one.seed, other.seed):
        return False
    pairs = [*zip(one.outcome, other.outcome, strict=True)]
    if one.settings is not other.settings:
        pairs += zip(one.settings, other.settings, strict=True)
    return all(a is None or b is None or a == b for a, b in pairs)
