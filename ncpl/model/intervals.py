"""90% intervals: how wide they are, from what the members say and how far a run lies outside.

    half width = inside * (spread / typical)^power * exp(growth * (loss above the best)^BEND)
                 + outside * distance + UNMEASURED * max(0, distance - MEASURED_DISTANCE)^2

How the factors are measured: `train.calibrate`.

Legend: M members, B runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ncpl.model.ensemble import Readings

Array = npt.NDArray[np.float64]
FACTORS = {"typical": 1.0, "power": 1.0, "growth": 0.0, "inside": 6.0, "outside": 0.1}
"""Typical spread, power, growth and factor of the scale, and slope in nats a unit of distance, when
calibration is switched off or the runs are too few: wider than any measured."""
BEND = 0.75
"""Power of the loss above the best in the scale: a half is too narrow next to the best and far from
it, one too wide far from it (LOG.md)."""
MEASURED_DISTANCE, UNMEASURED = 1.0, 0.05
"""Beyond this distance, a factor of e in size, no left-out run lies: the half width grows by the
square of what is more, times UNMEASURED nats, so that nothing far away is said with confidence."""
FALLBACK = FACTORS | {"open_learning_rate": 0.3, "open_batch": 0.3, "open_both": 0.3}
"""The same, with nats above the best for what is left open, for a bundle that measured none: openly
wide. In the widest of StepLaw's 24 training groups 90% of the runs are within 0.193 nats of the
best."""


@dataclass(frozen=True)
class Intervals:
    """Predictions of B runs with 90% intervals, nats per token."""

    loss: Array
    low: Array
    high: Array
    outside: npt.NDArray[np.bool_]
    """Which runs (B) lie outside what training has seen."""


def told(read: Readings) -> tuple[Array, Array, Array]:
    """Return mean losses, the members' scale and spread as one, and the loss above the best.

    Each (B,), nats.
    """
    losses_MB = read.loss
    loss_B = losses_MB.mean(0)
    spread_B = np.sqrt((read.scale**2).mean(0) + losses_MB.var(0))
    return loss_B, spread_B, np.maximum(loss_B - read.best, 0.0)


def error_scale(spread_B: Array, above_B: Array, factors: Mapping[str, float]) -> Array:
    """Return the scale of an error (B,), without unit: the factor brings it to nats."""
    grown = np.exp(factors["growth"] * above_B**BEND)
    return np.asarray((spread_B / factors["typical"]) ** factors["power"] * grown)


def half_width(
    read: Readings, distance_B: Array, factors: Mapping[str, float]
) -> tuple[Array, Array]:
    """Return the members' mean losses and the half widths of their 90% intervals (B,), nats."""
    loss_B, spread_B, above_B = told(read)
    wide = factors["inside"] * error_scale(spread_B, above_B, factors)
    return loss_B, wide + factors["outside"] * distance_B + unmeasured(distance_B)


def unmeasured(distance_B: Array) -> Array:
    """Return what a half width grows by (B,), nats, where no left-out run lies."""
    return np.asarray(UNMEASURED * np.maximum(distance_B - MEASURED_DISTANCE, 0.0) ** 2)
