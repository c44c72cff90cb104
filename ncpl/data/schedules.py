"""Learning rates along runs, and the functions of time that a loss curve is made of.

f is the share of the run. The phi_j, with phi_j(1) = 0, are functions of f, of the learning rate at
f, and of its area so far and still to come; hats over knots of that area carry what the smooth ones
leave over.

Legend: B runs, P points, J functions, G cells of the schedule's grid, S schedule inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ncpl.data.columns import column
from ncpl.data.fields import Config

Array = npt.NDArray[np.float64]
GRID = 256
"""Cells in which the learning rate is summed up."""
FIRST = 0.02
"""Share of the run before which a curve is not predicted: losses fall from over ten."""
KNOTS = (FIRST, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 1.0)
"""Shares of the learning rate's area between which hats are straight; each but the first and last
has one."""
N_FUNCTIONS = 12 + len(KNOTS) - 2


def risen(at: Array, warmup: Array | float) -> Array:
    """Return the share of the peak rate that a straight warm-up from zero has reached.

    `at` and `warmup` share a unit (steps, or shares of the run) and broadcast; without warm-up the
    share is 1.
    """
    length = np.asarray(warmup, dtype=np.float64)
    share = (at / np.maximum(length, 1e-9)).clip(0, 1)
    return np.asarray(np.where(length > 0, share, 1.0))


def decay_done(at: Array, begin: Array | float, length: Array | float) -> Array:
    """Return the share of a decay that is done, 0 before it and 1 after it; all in one unit."""
    return np.asarray(((at - begin) / length).clip(0, 1))


def cosine(done: Array, lowest: Array | float, peak: float = 1.0) -> Array:
    """Return the rate of half a cosine from peak to lowest, where this share of it is done."""
    return np.asarray(lowest + (peak - lowest) * (1 + np.cos(np.pi * done)) / 2)


def straight(done: Array, lowest: Array | float, peak: float = 1.0) -> Array:
    """Return the rate of a straight line from peak to lowest, where this share of it is done.

    A constant rate is one of which nothing is done, or whose lowest is its peak.
    """
    return np.asarray(peak - (peak - lowest) * done)


@dataclass(frozen=True)
class Schedules:
    """Learning-rate schedules of B runs, as shares of the run and of the peak rate."""

    warmup: Array
    decay: Array
    """Share of the run spent decaying at its end; 0 for a constant rate."""
    lowest: Array
    """Final rate / peak rate."""
    is_cosine: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, rows: Sequence[Config]) -> Schedules:
        """Return the schedules of derived configurations.

        What a configuration does not say counts as no warm-up and a cosine to zero, the schedule of
        nearly all public runs.
        """
        kinds = [row.get("schedule") or "cosine" for row in rows]
        warmup = np.nan_to_num(column(rows, "warmup_frac")).clip(0, 0.9)
        lowest = np.nan_to_num(column(rows, "min_learning_rate") / column(rows, "learning_rate"))
        decay = column(rows, "decay_frac")
        decay = np.where(np.isfinite(decay), decay, 1 - warmup).clip(1e-3, 1)
        constant = np.array([kind == "constant" for kind in kinds], dtype=bool)
        cosine = np.array([kind == "cosine" for kind in kinds], dtype=bool)
        return cls(warmup, np.where(constant, 0.0, decay), lowest.clip(0, 1), cosine)

    def rate(self, frac_BP: Array) -> Array:
        """Return learning rates at shares of the run (B, P), in units of the peak."""
        warmup, decay, lowest = (a[:, None] for a in (self.warmup, self.decay, self.lowest))
        turning = cosine(decay_done(frac_BP, warmup, 1 - warmup), lowest)
        done = decay_done(frac_BP, 1 - decay, np.maximum(decay, 1e-9))
        falling = straight(np.where(decay > 0, done, 0.0), lowest)
        shape = np.where(self.is_cosine[:, None], turning, falling)
        return np.asarray(risen(frac_BP, warmup) * shape)

    def inputs(self) -> Array:
        """Return the inputs of a curve head that describe the schedule (B, S)."""
        return np.stack([self.warmup, self.decay, self.lowest, ~self.is_cosine], axis=1)

    def functions(self, frac_BP: Array) -> Array:
        """Return phi (B, P, J) at shares of the run."""
        n_runs = len(frac_BP)
        cells = np.broadcast_to((np.arange(GRID) + 0.5) / GRID, (n_runs, GRID))
        area = np.concatenate([np.zeros((n_runs, 1)), self.rate(cells).cumsum(1)], axis=1)
        at = frac_BP * GRID
        cell = at.astype(np.int64).clip(0, GRID - 1)
        below, above = (np.take_along_axis(area, cell + i, 1) for i in (0, 1))
        so_far = ((below + (at - cell) * (above - below)) / area[:, -1:]).clip(1e-4)
        to_come = (1 - so_far).clip(0)
        rate, last = self.rate(frac_BP), self.rate(np.ones((n_runs, 1)))
        frac = frac_BP.clip(1e-4)
        powers = [base**-p - 1 for base in (so_far, frac) for p in (0.25, 0.5, 1.0)]
        rates = [rate**p - last**p for p in (1.0, 0.5, 2.0)]
        hats = [np.interp(so_far, KNOTS, one) for one in np.eye(len(KNOTS))[1:-1]]
        rest = [to_come, np.sqrt(to_come), 1 - frac_BP]
        return np.stack([*powers, *rates, *rest, *hats], axis=-1)
