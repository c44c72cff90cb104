"""Final losses of unfinished runs: the prediction, corrected by what the run showed so far."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

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
        recent = prefix.share >= RECENT * at
        off = prefix.loss[recent] - arms.along(place, prefix.share[recent])
        off = off[np.isfinite(off)]
        if not len(off):
            continue
        mean[i] += float(np.interp(at, KNOTS, KEPT)) * float(np.median(off))
        sd[i] *= float(np.interp(at, KNOTS, WIDTH))
    return mean, sd
