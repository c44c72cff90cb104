"""What a log says by itself: how far the run is, where its loss rose, whether it diverged."""

from __future__ import annotations

import numpy as np

from ncpl.data.fields import Config
from ncpl.data.progress import RunProgress
from ncpl.data.schedules import Array
from ncpl.errors import ConfigError
from ncpl.model.prefix_features import least_rise

DIVERGED = 0.3
"""Nats above its lowest loss at which a run that does not come back counts as diverged."""
STAYS = 3
"""Last points that must all lie there."""


def shares(progress: RunProgress, row: Config) -> tuple[Array, Array]:
    """Return shares of the run and steps (or tokens) of the points of a log.

    Raises ConfigError where the plan's length is not known, or the log goes beyond it.
    """
    if len(progress.steps):
        at, whole, unit = progress.steps + 1, row.get("train_steps"), "steps"
        shown = progress.steps
    else:
        at, whole, unit = progress.tokens, row.get("data_tokens"), "tokens"
        shown = progress.tokens
    if not whole:
        raise ConfigError(
            f"{progress.name}: the log counts {unit}; give train_{unit} of the whole run"
        )
    if len(at) and at[-1] > 1.01 * whole + 1:
        raise ConfigError(
            f"{progress.name}: the log reaches {at[-1]:,.0f} {unit}, the configuration plans "
            f"{whole:,.0f}; give the plan of this run"
        )
    return np.minimum(at / whole, 1.0), shown


def spikes(step_P: Array, loss_P: Array) -> list[dict[str, float]]:
    """Return where the loss rose by more than noise explains: the highest point of each spike."""
    if len(loss_P) < 2:
        return []
    lowest = np.minimum.accumulate(loss_P)
    above = loss_P - lowest
    high = above > least_rise(loss_P)
    found: list[dict[str, float]] = []
    for begin in np.flatnonzero(high & ~np.append(False, high[:-1])):
        end = begin + int(np.argmin(np.append(high[begin:], False)))
        top = begin + int(above[begin:end].argmax())
        found.append({"step": float(step_P[top]), "rise": float(above[top])})
    return found


def has_diverged(loss_P: Array) -> bool:
    """Return whether the last points all lie far above the lowest loss, and do not come back."""
    if len(loss_P) <= STAYS:
        return False
    last = loss_P[-STAYS:]
    return bool((last > loss_P.min() + DIVERGED).all() and last[-1] >= last[0] - DIVERGED / 10)
