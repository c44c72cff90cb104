"""Near copies: a run that is there already, rounded, or with losses, steps or settings moved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import isclose
from typing import Any

import numpy as np
import numpy.typing as npt

from ncpl_data.catalog.curve import Curve
from ncpl_data.catalog.families import COMPARABLE_UNITS
from ncpl_data.catalog.record import Run
from ncpl_data.ingest.submissions.duplicates import (
    MIN_AGREEING,
    OUTCOME,
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


@dataclass(frozen=True)
class Copy:
    """The run that a new one repeats, and how it was told."""

    run: Run
    words: str
    """Such as "with its values rounded"."""


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
    if have_other_seeds(run.seed, other.seed):
        return False
    settings = ([getattr(r, column) for column in configuration()] for r in (run, other))
    outcomes = ([getattr(r, c) for c in OUTCOME if c != "final_loss"] for r in (run, other))
    return (
        are_one_loss(run.final_loss, other.final_loss)
        and agree_up_to_rounding(*settings, *outcomes)
        and not have_other_curves(run, other)
    )


def have_other_seeds(one: int | None, other: int | None) -> bool:
    """Return whether two runs state two seeds: a seed is a name, 2000 is not 2001 rounded."""
    return one is not None and other is not None and one != other


def are_one_loss(one: float | None, other: float | None) -> bool:
    """Return whether two final losses are known, telling, and one but for rounding."""
    if one is None or other is None or abs(one - other) > LARGEST_ROUNDING:
        return False
    return has_decimals(one) and are_one_number(one, other)


def agree_up_to_rounding(
    settings: Sequence[Any],
    their_settings: Sequence[Any],
    outcome: Sequence[Any],
    their_outcome: Sequence[Any],
) -> bool:
    """Return whether two runs agree wherever both speak, in enough settings."""
    agreeing = 0
    for a, b in zip(settings, their_settings, strict=True):
        if a is not None and b is not None:
            if not are_rounded(a, b):
                return False
            agreeing += 1
    if agreeing < MIN_AGREEING:
        return False
    pairs = zip(outcome, their_outcome, strict=True)
    return all(a is None or b is None or are_rounded(a, b) for a, b in pairs)


def are_rounded(one: Any, other: Any) -> bool:
    """Return whether two values are one, or numbers that differ by rounding."""
    return bool(one == other) or (
        is_number(one) and is_number(other) and isclose(one, other, rel_tol=ROUNDED_FRAC)
    )


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
