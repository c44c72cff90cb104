"""Training runs as a fit that has not seen them predicts them, curves included.

What a run in progress tells beside its configuration is learned from how far losses lie from a
predicted curve: of a fit that knows the run that distance is far too small.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ncpl.data.fields import derive
from ncpl.data.schedules import Array
from ncpl.data.snapshot import Points, Runs
from ncpl.model.bundle import Bundle
from ncpl.model.config import FitConfig
from ncpl.model.ensemble import Fit
from ncpl.train.fit import fit_family, settled

log = logging.getLogger(__name__)
N_FOLDS = 4
MEMBERS = 1
"""Members of a fold's fit: the process weighs most, and four folds of them take minutes."""
CURVE_STEPS = 1200
"""Steps of its curve head, if a head has more."""


@dataclass(frozen=True)
class OutOfFold:
    """Predictions of B training runs at F shares of the run, by fits that left them out."""

    final: Array
    """(B,) predicted final loss, nats."""
    curve: Array
    """(B, F) predicted loss at the shares, nats."""
    fold: Array
    """(B,) the number of the fold that left a run out."""


def out_of_fold(
    fit: Fit,
    train: Runs,
    points: Points,
    config: FitConfig,
    frac_F: Array,
    *,
    seed: int,
    on_fold: Callable[[int], None] | None = None,
) -> OutOfFold:
    """Return what fits of the other folds say of each training run.

    Folds are whole groups (optimizer, N, D); each takes from `fit` what it chose and the numbers of
    its kernel. Raises ConfigError where a fold has too few curves to learn from.
    """
    names = sorted({group or "" for group in train.group})
    groups = np.array([group or "" for group in train.group])
    kernel = fit.process.logs if fit.process is not None else None
    settings = dataclasses.replace(
        settled(config, fit), members=min(MEMBERS, config.members),
        curve_steps=min(CURVE_STEPS, config.curve_steps),
    )  # fmt: skip
    final_B, fold_B = np.full(len(train), np.nan), np.zeros(len(train))
    curve_BF = np.full((len(train), len(frac_F)), np.nan)
    for i in range(min(N_FOLDS, len(names))):
        if on_fold is not None:
            on_fold(i)
        out = np.isin(groups, names[i::N_FOLDS])
        fold = fit_family(
            train.take(~out), settings, seed=seed + 200 + i, kernel=kernel,
            points=points.take(~out),
        )  # fmt: skip
        rows = [derive(run) for run in train.take(out).configs]
        bundle = Bundle(settings, [fold], "")
        curve_BF[out] = bundle.curves_of(fold, rows, np.tile(frac_F, (len(rows), 1)))
        final_B[out] = bundle.curves_of(fold, rows, np.ones((len(rows), 1)))[:, 0]
        fold_B[out] = i
    return OutOfFold(final_B, curve_BF, fold_B)
