"""Training runs as a fit that has not seen them predicts them, curves included.

What a run in progress tells beside its configuration is learned from how far losses lie from a
predicted curve: of a fit that knows the run that distance is far too small.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from ncpl.data.fields import derive
from ncpl.data.schedules import Array
from ncpl.data.snapshot import Points, Runs
from ncpl.errors import SnapshotError
from ncpl.model.bundle import Bundle
from ncpl.model.config import FitConfig
from ncpl.model.ensemble import Fit
from ncpl.train.curves import MIN_CURVES
from ncpl.train.fit import fit_family, settled

log = logging.getLogger(__name__)
N_FOLDS = 4
MEMBERS = 3
"""Members of a fold's fit: one's curves are noisy enough to halve what a prefix tells (LOG.md)."""
CURVE_STEPS = 1200
"""Steps of its curve head, if a head has more."""


@dataclass(frozen=True)
class OutOfFold:
    """Predictions of B training runs at F shares of the run, by fits that left them out."""

    final: Array
    """(B,) predicted final loss, nats."""
    curve: Array
    """(B, F) predicted loss at the shares, nats."""
    half: Array
    """(B,) half width of the 90% interval of the final loss, as the whole fit's factors give it."""
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
    keep: Path | None = None,
    on_fold: Callable[[int], None] | None = None,
) -> OutOfFold:
    """Return what fits of the other folds say of each training run.

    Folds are whole groups (optimizer, N, D); each takes from `fit` what it chose and the numbers of
    its kernel. With `keep`, a folder, each fold's answers are kept there, and taken from there
    where they were made of the same runs with the same settings. Raises SnapshotError where a fold
    has too few curves to learn from.
    """
    names = sorted({group or "" for group in train.group})
    groups = np.array([group or "" for group in train.group])
    kernel = fit.process.logs if fit.process is not None else None
    settings = dataclasses.replace(
        settled(config, fit), members=min(MEMBERS, config.members),
        curve_steps=min(CURVE_STEPS, config.curve_steps),
    )  # fmt: skip
    final_B, half_B, fold_B = np.full(len(train), np.nan), np.ones(len(train)), np.zeros(len(train))
    curve_BF = np.full((len(train), len(frac_F)), np.nan)
    for i in range(min(N_FOLDS, len(names))):
        if on_fold is not None:
            on_fold(i)
        out = np.isin(groups, names[i::N_FOLDS])
        key = key_of(fit, train, out, settings, frac_F, seed)
        path = keep / f"{fit.family[0]}-fold{i}.npz" if keep is not None else None
        found = kept_fold(path, key) if path is not None else None
        if found is None:
            fold = fit_family(
                train.take(~out), settings, seed=seed + 200 + i, kernel=kernel,
                points=points.take(~out),
            )  # fmt: skip
            if fold.heads is None:
                raise SnapshotError(
                    f"{fit.family[0]}: without fold {i + 1} of {N_FOLDS} too few training runs "
                    f"have curves ({MIN_CURVES} are needed): starts of runs need more of them"
                )
            found = answers(dataclasses.replace(fold, calibration=fit.calibration), settings,
                            train.take(out), frac_F)  # fmt: skip
            if path is not None:
                arrays: dict[str, Any] = {**found, "key": np.array(key)}
                np.savez(path, **arrays)
        final_B[out], half_B[out], curve_BF[out] = found["final"], found["half"], found["curve"]
        fold_B[out] = i
    return OutOfFold(final_B, curve_BF, half_B, fold_B)


def answers(fold: Fit, settings: FitConfig, left_out: Runs, frac_F: Array) -> dict[str, Array]:
    """Return what a fold's fit says of the runs that it left out, as OutOfFold holds it."""
    bundle = Bundle(settings, [fold], "")
    rows = [derive(run) for run in left_out.configs]
    told = bundle.intervals(fold, left_out.configs)
    return {
        "final": bundle.curves_of(fold, rows, np.ones((len(rows), 1)))[:, 0],
        "half": (told.high - told.low) / 2,
        "curve": bundle.curves_of(fold, rows, np.tile(frac_F, (len(rows), 1))),
    }


def key_of(
    fit: Fit,
    train: Runs,
    out_B: npt.NDArray[np.bool_],
    settings: FitConfig,
    frac_F: Array,
    seed: int,
) -> str:
    """Return the hash of what a fold's answers are made of."""
    kernel = fit.process.logs.tolist() if fit.process is not None else []
    made_of = [
        train.run_ids, train.loss.tolist(), out_B.tolist(), dataclasses.asdict(settings),
        frac_F.tolist(), seed, kernel,
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(made_of, default=str).encode()).hexdigest()


def kept_fold(path: Path, key: str) -> dict[str, Array] | None:
    """Return the answers that an earlier attempt kept; None where it was another one's."""
    try:
        with np.load(path, allow_pickle=False) as held:
            if str(held["key"]) == key:
                return {name: held[name] for name in ("final", "half", "curve")}
            log.info("%s was made of other runs or settings: the fold is fitted again", path)
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        log.warning("%s can not be read: the fold is fitted again", path)
    return None
