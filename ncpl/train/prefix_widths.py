"""How far corrections may be trusted, and how wide their intervals are, by left-out training runs.

Legend: B runs, C cuts, R residual features, S bins of size, U places of the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ncpl.data.schedules import Array
from ncpl.model.prefix import NARROWEST
from ncpl.train.calibrate import weighted_quantile

LEVEL = 0.9
REACH = 0.99
"""Quantile of residuals' sizes beyond which what was measured tells nothing: a single run that left
its course lies farther off than a log of other data may."""
BINS = 3
"""Bins of the last residual's size."""
MIN_BIN = 20
"""Runs that a bin needs: a smaller one takes the quantile of all."""
GAIN = 0.05
"""Share by which a correction must lower errors to be trusted at all, of left-out groups and of the
largest size by what smaller ones taught: less is chance, or does not carry beyond the sizes."""
POWERS = (0.0, 0.5, 1.0)
"""Of the configuration's own width, of which the one with the best intervals is kept."""


@dataclass(frozen=True)
class LeftOut:
    """What corrections of one cut missed left-out runs by."""

    size: Array
    """(B,) of the last residual, nats."""
    spiky: npt.NDArray[np.bool_]
    """(B,) whether the run spiked before the cut."""
    error: Array
    """(B, U) absolute errors at places of the rest, nats."""

    def edges(self) -> Array:
        """Return sizes of the last residual between bins (S - 1,), nats."""
        return np.quantile(self.size, np.arange(1, BINS) / BINS)

    def reach(self) -> float:
        """Return the size of the last residual that hardly any run exceeds, nats."""
        return float(np.quantile(self.size, REACH))

    def widths(self, unit_B: Array, weight_B: Array) -> Array:
        """Return half widths of each bin, then of runs that spiked (S + 1, U), for a unit of 1."""
        place = np.searchsorted(self.edges(), self.size)
        bins = [(place == s) & ~self.spiky for s in range(BINS)]
        table = [self._quantiles(keep, unit_B, weight_B) for keep in bins]
        spiked = self._quantiles(self.spiky, unit_B, weight_B)
        return np.stack([*table, np.maximum(spiked, table[-1])])

    def _quantiles(self, keep: npt.NDArray[np.bool_], unit_B: Array, weight_B: Array) -> Array:
        keep = keep if keep.sum() >= MIN_BIN else np.ones_like(keep)
        own = self.error[keep] / unit_B[keep, None]
        return np.array([weighted_quantile(e, weight_B[keep], LEVEL) for e in own.T])

    def penalty(self, unit_B: Array, weight_B: Array) -> float:
        """Return the mean width of intervals of the end, and what errors beyond them cost, nats."""
        place = np.searchsorted(self.edges(), self.size)
        table = self.widths(unit_B, weight_B)[:, -1]
        half = np.where(self.spiky, table[-1], table[place]) * unit_B
        beyond = np.maximum(self.error[:, -1] - half, 0.0)
        return float(((half + beyond / (1 - LEVEL)) * weight_B).sum() / weight_B.sum())


def units_of(half_B: Array, typical: float, power: float) -> Array:
    """Return by what half widths of runs (B,) are multiplied for those of their configurations."""
    return np.asarray(np.maximum(half_B / typical, NARROWEST) ** power)


def best_power(every: Sequence[LeftOut], half_B: Array, typical: float, weight_B: Array) -> float:
    """Return the power of the configuration's width with the best intervals over all cuts."""
    costs = [
        sum(cut.penalty(units_of(half_B, typical, power), weight_B) for cut in every)
        for power in POWERS
    ]
    return POWERS[int(np.argmin(costs))]


def trusted(found_B: Array, target_B: Array, outside: tuple[Array, Array] | None) -> float:
    """Return the share of a correction that lowers left-out errors most; 0 where none does much.

    `outside` are corrections and targets of the largest size by what smaller ones taught.
    """
    shares = np.linspace(0, 1, 11)
    errors = np.array([np.abs(target_B - s * found_B).mean() for s in shares])
    best = float(shares[int(errors.argmin())])
    if errors.min() >= (1 - GAIN) * errors[0]:
        return 0.0
    if outside is not None:
        shift, target = outside
        if np.abs(target - best * shift).mean() >= (1 - GAIN) * np.abs(target).mean():
            return 0.0
    return best
