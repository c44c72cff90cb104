"""90% intervals: how far a prediction may be off, and how what was filled in adds to that.

    half width = factor * scale + slopes * distances from what training has seen

What the numbers are, and how they are measured on training runs: calibrate.py. A configuration that
several completions stand for gets their weighted mean; its interval reaches from the 5% quantile of
their lower ends to the 95% quantile of their upper ends, each half width times what the form of
the configuration asks for (calibrated by hiding fields of left-out training runs). None ends below
the law's floor: no amount of size and data goes beneath it.

Legend: B runs, C completions, M members.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ncpl.model.completion import Completed, form_of
from ncpl.model.ensemble import Readings

Array = npt.NDArray[np.float64]
Z90 = 1.645
"""Standard deviations in the half width of a 90% interval of normal errors."""
FACTORS = {
    "typical": 1.0, "power": 1.0, "growth": 0.0, "inside": 6.0, "outside": 0.1, "apart": 0.05
}  # fmt: skip
"""Typical spread, power, growth and factor of the scale, and slopes in nats a unit of distance and
of distance in tokens per parameter, when calibration is switched off or the runs are too few:
openly wide."""
BEND = 0.75
"""Power of the loss above the best in the scale: a half is too narrow next to the best and far from
it, one too wide far from it (LOG.md)."""
MEASURED_DISTANCE, UNMEASURED = 1.0, 0.05
"""Beyond this distance, a factor of e in size, no left-out run lies: the half width grows by the
square of what is more, times UNMEASURED nats, so that nothing far away is said with confidence."""
TAIL = 0.05
"""Share of the completions left out at either end of an interval."""
FORM_FALLBACK = 1.5
"""Factor of a form that calibration did not measure."""


@dataclass(frozen=True)
class Intervals:
    """Predictions of B runs with 90% intervals, nats per token."""

    loss: Array
    low: Array
    high: Array
    outside: npt.NDArray[np.bool_]
    """Which runs (B) lie outside what training has seen."""
    is_floored: npt.NDArray[np.bool_] | None = None
    """Whose lower end (B) is the law's floor; None where the bundle has no law."""


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
    read: Readings, distance_B: Array, apart_B: Array, factors: Mapping[str, float]
) -> tuple[Array, Array]:
    """Return the members' mean losses and the half widths of their 90% intervals (B,), nats."""
    loss_B, spread_B, above_B = told(read)
    wide = factors["inside"] * error_scale(spread_B, above_B, factors)
    return loss_B, wide + widened(distance_B, apart_B, factors)


def widened(distance_B: Array, apart_B: Array, factors: Mapping[str, float]) -> Array:
    """Return what half widths grow by (B,), nats, outside what training has seen."""
    seen = factors["outside"] * distance_B + factors["apart"] * apart_B
    return np.asarray(seen + unmeasured(distance_B) + unmeasured(apart_B))


def unmeasured(distance_B: Array) -> Array:
    """Return what a half width grows by (B,), nats, where no left-out run lies."""
    return np.asarray(UNMEASURED * np.maximum(distance_B - MEASURED_DISTANCE, 0.0) ** 2)


def form_factors(completed: Completed, factors: Mapping[str, float]) -> Array:
    """Return what half widths are multiplied by (B,) for what each configuration left out."""
    found = []
    for missing in completed.missing:
        form = form_of(missing)
        known = 1.0 if form == "whole" else factors.get(f"form_{form}")
        if known is None:  # the widest of its parts, if they were measured
            parts = [factors.get(f"form_{part}", FORM_FALLBACK) for part in form.split("+")]
            known = max(parts)
        found.append(known)
    return np.array(found)


def joined(
    completed: Completed, loss_C: Array, half_C: Array, factor_B: Array
) -> tuple[Array, Array, Array]:
    """Return losses and both ends of intervals (B,) of configurations from their completions'."""
    half_C = half_C * factor_B[completed.of]
    if len(completed.rows) == len(factor_B):
        return loss_C, loss_C - half_C, loss_C + half_C
    low_B, high_B = np.empty_like(factor_B), np.empty_like(factor_B)
    first = completed.first
    count_B = np.diff(first, append=len(loss_C))
    for count in np.unique(count_B):
        own = np.flatnonzero(count_B == count)
        places = first[own][:, None] + np.arange(count)
        weight = completed.weight[places]
        low_B[own] = quantile(loss_C[places] - half_C[places], weight, TAIL)
        high_B[own] = -quantile(-(loss_C[places] + half_C[places]), weight, TAIL)
    return completed.mean(loss_C), low_B, high_B


def quantile(values_BC: Array, weight_BC: Array, level: float) -> Array:
    """Return the smallest value (B,) that at least `level` of a row's weight lies at or below."""
    order = np.argsort(values_BC, axis=1)
    share = np.take_along_axis(weight_BC, order, 1).cumsum(1)
    at = (share < level - 1e-12).sum(1)
    return np.take_along_axis(np.take_along_axis(values_BC, order, 1), at[:, None], 1)[:, 0]
