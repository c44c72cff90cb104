"""Measured curves of training runs beside those of fits that left them out.

Legend: B runs, P points, F shares of a grid, U places of the rest.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ncpl.data.fields import Config, derive
from ncpl.data.schedules import FIRST, Array
from ncpl.data.snapshot import Runs, Snapshot
from ncpl.model.prefix_features import Prefixes
from ncpl.model.window_process import PLACES
from ncpl.train.out_of_fold import OutOfFold

GRID = np.linspace(FIRST, 1.0, 99)
"""Shares of the run at which left-out curves are kept; between them they are straight."""
POINTS = 60
"""Points of a curve that count."""


@dataclass(frozen=True)
class MeasuredCurves:
    """B training runs as left-out predictions see them."""

    rows: list[Config]
    frac: Array
    """(B, P)"""
    loss: Array
    """(B, P) measured, nats."""
    curve: Array
    """(B, F) predicted at GRID, nats."""
    final: Array
    """(B,) measured final loss, nats."""
    half: Array
    """(B,) half width of the 90% interval of a left-out fit, nats."""
    fold: Array
    """(B,)"""
    weight: Array
    """(B,) one over the runs of its group."""

    def at(self, cut: float) -> Array:
        """Return the predicted losses at a cut (B,)."""
        return np.array([np.interp(cut, GRID, one) for one in self.curve])

    def predicted(self) -> Array:
        """Return the predicted losses at the measured points (B, P)."""
        return np.stack(
            [np.interp(f, GRID, one) for f, one in zip(self.frac, self.curve, strict=True)]
        )

    def known(self, cut: float) -> npt.NDArray[np.bool_]:
        """Return which points (B, P) lie before a cut."""
        return np.asarray((self.frac > FIRST) & (self.frac <= cut))

    def count(self, cut: float) -> npt.NDArray[np.int64]:
        """Return how many points of each run (B,) lie before a cut."""
        return np.asarray(self.known(cut).sum(1))

    def prefixes(self) -> Prefixes:
        """Return whole runs as prefixes; a cut says how much of them counts."""
        return Prefixes(
            self.frac, self.loss, self.predicted(), self.curve[:, -1], self.curve[:, -1]
        )

    def targets(self, cut: float) -> Array:
        """Return what losses lie off the predicted curve at PLACES of the rest (B, U), nats."""
        residual_BP = self.loss - self.predicted()
        found = np.empty((len(self.rows), len(PLACES)))
        at = cut + (1 - cut) * np.array(PLACES)
        for i, (frac, residual) in enumerate(zip(self.frac, residual_BP, strict=True)):
            own = np.isfinite(residual) & (frac < 1)
            end = self.final[i] - self.curve[i, -1]
            found[i] = np.interp(at, np.append(frac[own], 1.0), np.append(residual[own], end))
        return found

    def take(self, keep: Any) -> MeasuredCurves:
        """Return the runs where `keep` is true."""
        at = np.flatnonzero(keep)
        return MeasuredCurves(
            [self.rows[i] for i in at], self.frac[at], self.loss[at], self.curve[at],
            self.final[at], self.half[at], self.fold[at], self.weight[at],
        )  # fmt: skip


def measured_of(train: Runs, snapshot: Snapshot, told: OutOfFold) -> MeasuredCurves:
    """Return training runs that have a curve, with what left-out fits said of them."""
    points = snapshot.points(train, count=POINTS)
    has = np.isfinite(points.frac).any(1)
    counts = Counter(train.group)
    weight = np.array([1 / counts[group] for group in train.group])
    whole = MeasuredCurves(
        [derive(c) for c in train.configs], points.frac, points.loss, told.curve, train.loss,
        told.half, told.fold, weight,
    )  # fmt: skip
    return whole.take(has)


def every_nth(own: MeasuredCurves, most: int) -> npt.NDArray[np.bool_]:
    """Return which runs (B,) are picked, evenly, so that there are at most about `most`."""
    return np.asarray(np.arange(len(own.rows)) % max(1, round(len(own.rows) / most)) == 0)


def with_end(own: MeasuredCurves, value_BP: Array, end_B: Array) -> tuple[Array, Array]:
    """Return shares and values with the end of the run as one point more."""
    before = np.where(own.frac < 1, own.frac, np.nan)
    end = np.ones((len(end_B), 1))
    return (
        np.concatenate([before, end], axis=1),
        np.concatenate([np.where(own.frac < 1, value_BP, np.nan), end_B[:, None]], axis=1),
    )
