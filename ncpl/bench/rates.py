"""Learning rate along a run, from the schedule its configuration states."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ncpl.data.schedules import GRID, cosine, decay_done, risen, straight

Array = npt.NDArray[np.float64]


def rates(config: Mapping[str, Any], step: Array) -> Array | None:
    """Return the rate at these steps, or None where the configuration does not state it all.

    Warm-up is a straight line from 0, and so is the decay of `wsd`; neither is stated otherwise by
    any source of the split.
    """
    names = ("learning_rate", "train_steps", "warmup_steps", "schedule")
    peak, n_steps, warmup, shape = (config.get(name) for name in names)
    if peak is None or n_steps is None or warmup is None:
        return None
    lowest = config.get("min_learning_rate")
    decay = config.get("decay_steps")
    if shape == "constant":
        lowest = peak
    if lowest is None or shape not in ("constant", "cosine", "linear", "wsd"):
        return None
    if shape == "wsd" and decay is None:
        return None
    begin = n_steps - decay if shape == "wsd" else warmup
    done = decay_done(step, begin, max(n_steps - begin, 1))
    rate = (cosine if shape == "cosine" else straight)(done, lowest, peak)
    return np.asarray(rate * risen(step, warmup))


def schedule_columns(config: Mapping[str, Any], step: Array) -> Array:
    """Return rate / peak, area done and area left (shares of peak x steps) at each step, (n, 3).

    NaN where the configuration does not state the schedule.
    """
    n_steps = config.get("train_steps")
    grid = np.linspace(0, float(n_steps or 1), GRID + 1)
    along = rates(config, grid)
    if along is None:
        return np.full((len(step), 3), np.nan)
    along = along / config["learning_rate"]
    done = np.concatenate([[0.0], np.cumsum((along[1:] + along[:-1]) / 2)]) / GRID
    now, area = np.interp(step, grid, along), np.interp(step, grid, done)
    return np.stack([now, area, done[-1] - area], axis=1)
