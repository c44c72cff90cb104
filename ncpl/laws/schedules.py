"""Learning-rate schedules along curves: the areas and drops that curve laws are made of."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ncpl.laws.base import Array

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Drops:
    """Every (row, earlier drop) pair of all curves, sorted by row."""

    row: Rows
    """Distinct rows that have a drop behind them."""
    offset: Rows
    """Where each such row's pairs begin, for `numpy.add.reduceat`."""
    size: Array
    """Learning rate lost at the drop; negative where it rose."""
    rate_after: Array
    """Learning rate after the drop."""
    area: Array
    """Sum of learning rates between the drop and the row."""
    age: Array
    """Steps between the drop and the row."""

    def total(self, value_Kp: Array, n_rows: int) -> Array:
        """Return the sum over pairs of each row, shape (K, n_rows)."""
        out = np.zeros((*value_Kp.shape[:-1], n_rows))
        if len(self.row):
            out[..., self.row] = np.add.reduceat(value_Kp, self.offset, axis=-1)
        return out


@dataclass(frozen=True)
class Curves:
    """Rows of one or more curves: which curve, which step, the learning rate there.

    Rows of a curve stand together in step order. Between rows the rate is taken as a straight
    line, and a drop as sitting in the middle. Before the first row the rate is taken to rise
    linearly from zero: a warm-up that ends at the first row.
    """

    curve: npt.NDArray[np.int64]
    step: Array
    learning_rate: Array
    warmup_steps: Array | None = None
    """Steps of warm-up of each row's curve, where rows lie inside it."""

    def __post_init__(self) -> None:
        """Raise ValueError if rows are out of order or a rate is negative."""
        same = np.diff(self.curve) == 0
        if (np.diff(self.step)[same] <= 0).any():
            raise ValueError("steps of a curve must strictly increase")
        if len(np.unique(self.curve)) != 1 + int((~same).sum()):
            raise ValueError("rows of a curve must stand together")
        if not (self.learning_rate >= 0).all():
            raise ValueError("learning rates must be numbers of at least 0")

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.step)

    @property
    def rows(self) -> dict[str, Array]:
        """Return the input column that every curve law takes: the row's own number."""
        return {"row": np.arange(len(self), dtype=np.float64)}

    @cached_property
    def area(self) -> Array:
        """Return the sum of learning rates up to each row, warm-up included."""
        out = np.empty(len(self))
        for rows in self.pieces:
            step, rate = self.step[rows], self.learning_rate[rows]
            between = np.diff(step) * (rate[1:] + rate[:-1]) / 2
            out[rows] = rate[0] * step[0] / 2 + np.concatenate([[0.0], np.cumsum(between)])
        return out

    @property
    def pieces(self) -> list[slice]:
        """Return one slice a curve."""
        cuts = np.flatnonzero(np.diff(self.curve)) + 1
        return [slice(a, b) for a, b in itertools.pairwise([0, *cuts.tolist(), len(self)])]

    def drops(self, warmup_knots: int = 0) -> Drops:
        """Return every pair of a row and a change of rate before it in the same curve.

        With `warmup_knots` the rise of the warm-up counts too: before the first row as that many
        equal negative drops, after it as it was run. Without, rows inside it hold no drop.
        """
        parts = [self.drops_of(rows, warmup_knots) for rows in self.pieces]
        row, size, after, between, age = (
            np.concatenate(column) for column in zip(*parts, strict=True)
        )
        distinct, offset = np.unique(row, return_index=True)
        return Drops(distinct, offset, size, after, between, age)

    def drops_of(self, rows: slice, warmup_knots: int) -> tuple[Rows, Array, Array, Array, Array]:
        """Return the pairs of one curve: row, size, rate after, area and steps in between."""
        rate, step, area = self.learning_rate[rows], self.step[rows], self.area[rows]
        size = rate[:-1] - rate[1:]
        has_changed = np.abs(size) > 1e-12 * rate.max()
        if self.warmup_steps is not None and not warmup_knots:
            has_changed &= step[1:] > self.warmup_steps[rows][1:]
        changed = np.flatnonzero(has_changed)
        share = (np.arange(warmup_knots) + 0.5) / max(warmup_knots, 1)
        sizes = np.concatenate(
            [np.full(warmup_knots, -rate[0] / max(warmup_knots, 1)), size[changed]]
        )
        after = np.concatenate([share * rate[0], rate[1:][changed]])
        when = np.concatenate([share * step[0], (step[1:] + step[:-1])[changed] / 2])
        # a drop between two rows sits in the middle of the area, as of the steps
        at_area = np.concatenate([share**2 * area[0], (area[1:] + area[:-1])[changed] / 2])
        # a lone jump between two constant stretches happens at the row that shows the new rate
        moves = np.concatenate([[0.0], np.abs(size), [0.0]])
        jump = (moves[changed] == 0) & (moves[changed + 2] == 0)
        when[warmup_knots:][jump] = step[1:][changed][jump]
        at_area[warmup_knots:][jump] = area[1:][changed][jump]
        index = np.concatenate([np.full(warmup_knots, -1), changed])
        later, which = np.nonzero(np.arange(len(step))[:, None] > index[None, :])
        return (
            later + rows.start,
            sizes[which],
            after[which],
            area[later] - at_area[which],
            step[later] - when[which],
        )
