"""Columns of rows: one field of every run, scaled, and what is usual of it by optimizer.

Legend: B runs. A row is a configuration after `features.derive`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ncpl.data.fields import FIELDS, Config, InputField


def column(rows: Sequence[Config], name: str) -> npt.NDArray[np.float64]:
    """Return a number of every row (B); NaN where it is absent."""
    return np.array([row.get(name) for row in rows], dtype=np.float64)


def scaled_by(entry: InputField, values_B: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return scaled values; zero on a log scale counts as the smallest positive step."""
    if entry.transform == "linear":
        return (values_B - entry.centre) / entry.scale
    return (np.log(np.maximum(values_B, 1e-12)) - math.log(entry.centre)) / entry.scale


def centres_of(name: str, rows: Sequence[Config]) -> dict[str, float]:
    """Return the median scaled value by optimizer; of all runs under "" (see `Encoder.centres`)."""
    scaled = scaled_by(FIELDS[name], column(rows, name))
    optimizers = np.array([str(row.get("optimizer") or "") for row in rows])
    known = np.isfinite(scaled)
    found = {"": float(np.median(scaled[known]))}
    for optimizer in sorted(set(optimizers[known].tolist()) - {""}):
        found[optimizer] = float(np.median(scaled[known & (optimizers == optimizer)]))
    return found


def lr_shift_of(rows: Sequence[Config]) -> dict[str, float]:
    """Return logs of median learning rates over the commonest optimizer's (`Encoder.lr_shift`)."""
    rates: dict[str, list[float]] = {}
    for row in rows:
        if row.get("optimizer") and row.get("learning_rate"):
            rates.setdefault(row["optimizer"], []).append(math.log(row["learning_rate"]))
    if not rates:
        return {}
    medians = {name: float(np.median(values)) for name, values in rates.items()}
    common = max(sorted(rates), key=lambda name: len(rates[name]))
    return {name: median - medians[common] for name, median in sorted(medians.items())}
