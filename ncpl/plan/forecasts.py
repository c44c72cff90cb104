"""Final losses of unfinished runs: the prediction, corrected by what the run showed so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from ncpl.data.schedules import FIRST
from ncpl.model.bundle import DEFAULT, read_card
from ncpl.model.intervals import Z90
from ncpl.model.prefix import FamilyPrefix, between, load_prefix, prefixes_of
from ncpl.model.window_process import REACH
from ncpl.plan.arms import Arms, Array, Prefix

KNOTS = np.array([0.0, 0.1, 0.3, 0.5, 0.8, 1.0])
KEPT = np.array([0.0, 0.1, 0.3, 0.4, 0.75, 1.0])
"""How much of the distance to the predicted curve is there at the end too, by share of the run: the
rate has yet to come down, and with it most of what differs."""
WIDTH = np.array([1.0, 1.0, 0.9, 0.8, 0.45, 0.1])
"""Error of the corrected forecast over that of the configuration alone, by share of the run."""
RECENT = 0.7
"""Points from this share of the prefix on count: the last one alone may lie on a spike."""


class Forecaster(Protocol):
    """What tells the final loss of runs from their configuration and their first part."""

    def __call__(
        self, arms: Arms, places: Sequence[int], prefixes: Sequence[Prefix]
    ) -> tuple[Array, Array]:
        """Return final losses and the standard deviations of their errors, nats, by place."""
        ...


def shrunken(arms: Arms, places: Sequence[int], prefixes: Sequence[Prefix]) -> tuple[Array, Array]:
    """Return forecasts: the prediction, and a part of the distance to the predicted curve.

    An arm without points or without a predicted curve is told by its configuration alone.
    """
    mean, sd = arms.loss[list(places)].copy(), arms.sd[list(places)].copy()
    for i, (place, prefix) in enumerate(zip(places, prefixes, strict=True)):
        if not len(prefix.share):
            continue
        at = float(prefix.share[-1])
        off = distance(arms, place, prefix)
        if off is None:
            continue
        mean[i] += float(np.interp(at, KNOTS, KEPT)) * off
        sd[i] *= float(np.interp(at, KNOTS, WIDTH))
    return mean, sd


def distance(arms: Arms, place: int, prefix: Prefix) -> float | None:
    """Return how far a run lies above its predicted curve of late, nats; None without a curve."""
    recent = prefix.share >= RECENT * prefix.share[-1]
    off = prefix.loss[recent] - arms.along(place, prefix.share[recent])
    off = off[np.isfinite(off)]
    return float(np.median(off)) if len(off) else None


@dataclass(frozen=True)
class LearnedForecaster:
    """Forecasts by what starts of runs say in a family (`ncpl plan extrapolate` tells the same)."""

    families: Mapping[str, FamilyPrefix]
    """By the source of an arm. An arm of another one is told by `shrunken`, and so is one that lies
    farther off its curve than these have seen: it has left its course, which they would not say."""

    def __call__(
        self, arms: Arms, places: Sequence[int], prefixes: Sequence[Prefix]
    ) -> tuple[Array, Array]:
        """Return final losses and the standard deviations of their errors, nats, by place."""
        mean, sd = shrunken(arms, places, prefixes)
        for i, (place, prefix) in enumerate(zip(places, prefixes, strict=True)):
            own = self.families.get(arms.source[place]) if len(arms.source) else None
            if own is None or not len(prefix.share) or np.isnan(arms.curve[place]).any():
                continue
            if not is_beyond(own, float(prefix.share[-1]), distance(arms, place, prefix)):
                mean[i], sd[i] = corrected(own, arms, place, prefix)
        return mean, sd


def is_beyond(own: FamilyPrefix, cut: float, off: float | None) -> bool:
    """Return whether a run lies farther off its curve than what starts of runs can say."""
    _, above, _ = between(cut)
    return off is None or abs(off) > REACH * float(own.windows[above].units[0])


def corrected(own: FamilyPrefix, arms: Arms, place: int, prefix: Prefix) -> tuple[float, float]:
    """Return the final loss of one arm and the standard deviation of its error, nats."""
    cut = max(float(prefix.share[-1]), FIRST)
    seen = prefixes_of(prefix.share, prefix.loss, lambda at: arms.along(place, at), cut)
    told = own.correct(arms.rows[place], seen, cut, np.ones(1), Z90 * float(arms.sd[place]))
    if told.weight == 0:
        return float(arms.loss[place]), float(arms.sd[place])
    return float(arms.loss[place] + told.shift[0]), float(told.half[0]) / Z90


def forecaster_of(folder: Path | None) -> Forecaster:
    """Return what tells the ends of runs by a bundle's folder, the shipped one if not given.

    A bundle that holds nothing of starts of runs is answered for by `shrunken`. Raises BundleError
    where its file is not that of its card.
    """
    where = folder or DEFAULT
    model = load_prefix(where, read_card(where))
    return shrunken if model is None else LearnedForecaster(model.families)
