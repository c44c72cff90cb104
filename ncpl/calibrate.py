"""Widths of the 90% intervals, from training runs that a fit has not seen.

One member is fitted without a share of the groups, for each share, and one without the largest
size. The 90% quantile of |error| / raw scale on what was left out is the factor inside the hull and
beyond it. A configuration that leaves the learning rate or the batch size open reaches further up:
by the 90% quantile of what training runs lie above the best of their group. The ID and OOD parts
are never used.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ncpl.config import FitConfig
from ncpl.data import Runs
from ncpl.features import derive
from ncpl.train import Fit, fit_family, sizes

log = logging.getLogger(__name__)
LEVEL = 0.9
FACTORS = {"inside": 6.0, "outside": 12.0}
"""Factors when calibration is switched off or the runs are too few: openly wide."""
FALLBACK = FACTORS | {"open_learning_rate": 0.3, "open_batch": 0.3, "open_both": 0.3}
"""The same, with nats above the best for what is left open, for a bundle that measured none: openly
wide. In the widest of StepLaw's 24 training groups 90% of the runs are within 0.193 nats of the
best."""
MIN_LEFT_OUT = 20


def calibrate(
    train: Runs, config: FitConfig, *, seed: int, on_fold: Callable[[int], None] | None = None
) -> dict[str, float]:
    """Return the factors "inside" and "outside" the training sizes, and the left-out MAEs."""
    if config.calibration_folds == 0:
        return dict(FACTORS)
    small = dataclasses.replace(config, members=1)
    ratios: dict[str, list[npt.NDArray[np.float64]]] = {"inside": [], "outside": []}
    errors: dict[str, list[npt.NDArray[np.float64]]] = {"inside": [], "outside": []}
    for i, (where, left_out) in enumerate(folds(train, config.calibration_folds)):
        if on_fold is not None:
            on_fold(i)
        fit = fit_family(train.take(~left_out), small, seed=seed + 100 + i)
        error, scale = left_out_errors(fit, train.take(left_out))
        ratios[where].append(error / scale)
        errors[where].append(error)
    found = dict(FACTORS)
    for where, parts in ratios.items():
        if sum(len(part) for part in parts) >= MIN_LEFT_OUT:
            found[where] = float(np.quantile(np.concatenate(parts), LEVEL))
            found[f"{where}_left_out_mae"] = float(np.concatenate(errors[where]).mean())
    found["outside"] = max(found["outside"], found["inside"])
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
    if len(np.unique(params[np.isfinite(params)])) > 2:
        found.append(("outside", params == np.nanmax(params)))
    return found


def left_out_errors(
    fit: Fit, left_out: Runs
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return absolute errors and raw scales (B,) of runs the fit has not seen, nats."""
    losses_MB, scales_MB = fit.predict(fit.encoder.encode(left_out.configs))
    error = np.abs(losses_MB.mean(0).numpy() - left_out.loss)
    return error, total_scale(losses_MB.numpy(), scales_MB.numpy())


def total_scale(
    losses_MB: npt.NDArray[np.float64], scales_MB: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the members' own scales and their spread as one scale (B,), nats."""
    return np.asarray(np.sqrt((scales_MB**2).mean(0) + losses_MB.var(0)))
