"""Widths of the 90% intervals, from training runs that a fit has not seen.

One member is fitted without a share of the groups, for each share, and one without the largest
size. The half width of an interval is the raw scale times a factor plus a slope times the distance
from what training has seen (`Encoder.distance`). The factor is the 90% quantile of |error| / raw
scale on left-out groups; the slope that of what is missing then, by distance, on the left-out size;
where no left-out run lies, the width grows by the square of the distance. A configuration that
leaves the learning rate or the batch size open reaches further up: by the 90% quantile of what
training runs lie above the best of their group. The ID and OOD parts are never used.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ncpl.config import FitConfig
from ncpl.data import Runs
from ncpl.features import derive
from ncpl.fit import Fit, sizes
from ncpl.train import fit_family

log = logging.getLogger(__name__)
Array = npt.NDArray[np.float64]
LEVEL = 0.9
FACTORS = {"inside": 6.0, "outside": 0.1}
"""Factor, and slope in nats a unit of distance, when calibration is switched off or the runs are
too few: openly wide."""
MEASURED_DISTANCE, UNMEASURED = 1.0, 0.05
"""Beyond this distance, a factor of e in size, no left-out run lies: the half width grows by the
square of what is more, times UNMEASURED nats, so that nothing far away is said with confidence."""
MIN_SLOPE = 0.01
"""Least slope, nats a unit of distance: a lucky fold may not stop the widening."""
FALLBACK = FACTORS | {"open_learning_rate": 0.3, "open_batch": 0.3, "open_both": 0.3}
"""The same, with nats above the best for what is left open, for a bundle that measured none: openly
wide. In the widest of StepLaw's 24 training groups 90% of the runs are within 0.193 nats of the
best."""
MIN_LEFT_OUT = 20


def calibrate(
    train: Runs,
    config: FitConfig,
    *,
    seed: int,
    floor: float | None = None,
    on_fold: Callable[[int], None] | None = None,
) -> dict[str, float]:
    """Return factor ("inside"), slope ("outside", nats a unit of distance) and left-out MAEs.

    `floor` as for `fit_family`.
    """
    if config.calibration_folds == 0:
        return dict(FACTORS)
    small = dataclasses.replace(config, members=1, curve_steps=0)
    missed: dict[str, list[Missed]] = {"inside": [], "outside": []}
    for i, (where, left_out) in enumerate(folds(train, config.calibration_folds)):
        if on_fold is not None:
            on_fold(i)
        fit = fit_family(train.take(~left_out), small, seed=seed + 100 + i, floor=floor)
        missed[where].append(left_out_errors(fit, train.take(left_out)))
    found = dict(FACTORS)
    for where, parts in missed.items():
        if sum(len(part.error) for part in parts) < MIN_LEFT_OUT:
            continue
        error, scale, distance = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        found[f"{where}_left_out_mae"] = float(error.mean())
        if where == "inside":
            found[where] = float(np.quantile(error / scale, LEVEL))
        else:
            far = distance > 0
            lacking = (error - found["inside"] * scale)[far] / distance[far]
            found[where] = max(MIN_SLOPE, float(np.quantile(lacking, LEVEL)))
    return found


def excess_of_open(train: Runs) -> dict[str, float]:
    """Return the nats that 90% of runs stay within above the best, by what was left open.

    The best of the runs of one group of the split (optimizer, N, D) that agree in what was not left
    open. A name is missing when fewer than MIN_LEFT_OUT runs have another one to compare with.
    """
    rows = [derive(config) for config in train.configs]
    shared = {
        "open_learning_rate": ("batch_tokens",),
        "open_batch": ("learning_rate",),
        "open_both": (),
    }
    found: dict[str, float] = {}
    for name, fields in shared.items():
        cells: dict[tuple[Any, ...], list[float]] = {}
        for row, group, loss in zip(rows, train.group, train.loss.tolist(), strict=True):
            cells.setdefault((group, *(row.get(field) for field in fields)), []).append(loss)
        above = [loss - min(cell) for cell in cells.values() if len(cell) > 1 for loss in cell]
        if len(above) >= MIN_LEFT_OUT:
            found[name] = float(np.quantile(above, LEVEL))
    return found


def folds(train: Runs, n_folds: int) -> list[tuple[str, npt.NDArray[np.bool_]]]:
    """Return (inside or outside, left-out rows): whole groups in turn, then the largest size."""
    names = sorted({group or "" for group in train.group})
    found = []
    for i in range(min(n_folds, len(names))):
        left_out = np.isin([group or "" for group in train.group], names[i::n_folds])
        found.append(("inside", left_out))
    params, _ = sizes(train)
    if len(np.unique(params[np.isfinite(params)])) > 1:
        found.append(("outside", params == np.nanmax(params)))
    return found


class Missed(NamedTuple):
    """How a fit missed B runs it has not seen."""

    error: Array
    """(B,) absolute, nats."""
    scale: Array
    """(B,) raw scale, nats."""
    distance: Array
    """(B,) from what it has seen, `Encoder.distance`."""


def left_out_errors(fit: Fit, left_out: Runs) -> Missed:
    """Return how a fit misses runs it has not seen."""
    rows = [derive(config) for config in left_out.configs]
    losses_MB, scales_MB = fit.predict(fit.encoder.encode_rows(rows))
    error = np.abs(losses_MB.mean(0).numpy() - left_out.loss)
    scale = total_scale(losses_MB.numpy(), scales_MB.numpy())
    return Missed(error, scale, fit.encoder.distance(rows))


def total_scale(losses_MB: Array, scales_MB: Array) -> Array:
    """Return the members' own scales and their spread as one scale (B,), nats."""
    return np.asarray(np.sqrt((scales_MB**2).mean(0) + losses_MB.var(0)))


def half_width(
    losses_MB: Array, scales_MB: Array, distance_B: Array, factors: Mapping[str, float]
) -> tuple[Array, Array]:
    """Return the members' mean losses and the half widths of their 90% intervals (B,), nats."""
    wide = factors["inside"] * total_scale(losses_MB, scales_MB)
    unmeasured = UNMEASURED * np.maximum(distance_B - MEASURED_DISTANCE, 0.0) ** 2
    return losses_MB.mean(0), wide + factors["outside"] * distance_B + unmeasured
