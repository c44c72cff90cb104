"""What starts of runs say of their ends, learned from a bundle's own training runs.

Every number comes from predictions of fits that left a run's group out (`out_of_fold`), and every
width from corrections that left it out too. Held-out parts of the split are never used.

Legend: B runs, P points, U places of the rest, C cuts.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ncpl.data.columns import column
from ncpl.data.schedules import FIRST, Array
from ncpl.data.snapshot import Runs, Snapshot
from ncpl.errors import SnapshotError
from ncpl.model.bundle import Bundle
from ncpl.model.curve_process import CurveProcess, fit_curve_process
from ncpl.model.prefix import CUTS, ENTRY, FamilyPrefix, PrefixModel
from ncpl.model.prefix_features import features, is_spiky
from ncpl.model.window_process import PLACES, fit_window_process
from ncpl.train.added_entry import put_on_card
from ncpl.train.calibrate import weighted_quantile
from ncpl.train.families import trainable
from ncpl.train.measured_curves import GRID, MeasuredCurves, every_nth, measured_of, with_end
from ncpl.train.out_of_fold import out_of_fold
from ncpl.train.prefix_anywhere import any_prefix
from ncpl.train.prefix_widths import LeftOut, best_power, trusted, units_of

log = logging.getLogger(__name__)
NUMBERS = ((6.0, 6.0, 0.1), (12.0, 12.0, 0.1), (12.0, 12.0, 0.01), (24.0, 24.0, 0.01))
"""Lengths of context and of both, and level, of which the one with least left-out error is kept."""
NOISES = (1.0, 3.0, 10.0, 30.0)
CHOSEN_ON, CURVES_ON = 500, 400
"""Runs, evenly picked, on which numbers are chosen and distributions of curves are fitted: more
take minutes and change little."""


def learn_prefixes(
    bundle: Bundle,
    snapshot: Snapshot,
    runs: Runs,
    *,
    seed: int = 0,
    keep: Path | None = None,
    on_fold: Callable[[str, int], None] | None = None,
) -> PrefixModel:
    """Return what the starts of a bundle's training runs say, family by family.

    Families without curves are left out. `keep` is where left-out predictions are kept, for an
    attempt that is cut off. Raises SnapshotError where no family has curves.
    """
    measured: dict[str, MeasuredCurves] = {}
    for fit in bundle.fits:
        train, _, _ = trainable(runs, fit.family, bundle.config.min_family_runs)
        if fit.heads is None or not len(train):
            continue
        source = fit.family[0]
        tell = (lambda i, s=source: on_fold(s, i)) if on_fold is not None else None
        found = out_of_fold(
            fit, train, snapshot.points(train), bundle.config, GRID,
            seed=seed, keep=keep, on_fold=tell,
        )  # fmt: skip
        measured[source] = measured_of(train, snapshot, found)
    if not measured:
        raise SnapshotError("no family of the bundle has curves to learn prefixes from")
    return prefix_model(measured)


def prefix_model(measured: dict[str, MeasuredCurves]) -> PrefixModel:
    """Return the corrections of each family, and the shape of any curve."""
    families, about = {}, {}
    for source, own in measured.items():
        families[source], about[source] = family_prefix(own)
        log.info("%s: %s", source, about[source])
    return PrefixModel(families, any_prefix(list(measured.values())), {"left_out": about})


def family_prefix(own: MeasuredCurves) -> tuple[FamilyPrefix, dict[str, Any]]:
    """Return a family's corrections, and left-out errors by cut for the card, nats."""
    parts = {k: own.fold != k for k in np.unique(own.fold)}
    by_fold = {k: of_residuals(own.take(keep)) for k, keep in parts.items()}
    small = is_small(own)
    below = of_residuals(own.take(small)) if small.any() else None
    windows, trust, missed, said = [], [], [], []
    alone_B = np.abs(own.final - own.curve[:, -1])
    for cut in CUTS:
        target_BU = own.targets(cut)
        told = cut_features(own, cut)
        some = every_nth(own, CHOSEN_ON)
        numbers = choose_numbers(own.fold[some], (told[0][some], told[1][some]), target_BU[some])
        found_BU = np.zeros_like(target_BU)
        for k, keep in parts.items():
            found_BU[~keep] = shifts_of(own, by_fold[k], keep, cut, told, numbers)
        outside = None
        if below is not None:
            shift_BU = shifts_of(own, below, small, cut, told, numbers)
            outside = shift_BU[:, -1], target_BU[~small, -1]
        share = trusted(found_BU[:, -1], target_BU[:, -1], outside)
        error_BU = np.abs(target_BU - share * found_BU)
        spiky_B = is_spiky(own.loss, own.known(cut))
        missed.append(LeftOut(np.abs(told[0][:, 1]), spiky_B, error_BU))
        windows.append(fit_window_process(*told, target_BU, numbers))
        trust.append(share)
        said.append(
            {
                "cut": cut, "trust": share, "configuration": float(alone_B.mean()),
                "mae": float(error_BU[:, -1].mean()), "numbers": numbers.tolist(),
            }
        )  # fmt: skip
    typical = weighted_quantile(own.half, own.weight, 0.5)
    power = best_power(missed, own.half, typical, own.weight)
    unit_B = units_of(own.half, typical, power)
    found = FamilyPrefix(
        of_residuals(own), windows, np.array(trust),
        np.array([cut.edges() for cut in missed]),
        np.array([cut.widths(unit_B, own.weight) for cut in missed]),
        np.array([cut.reach() for cut in missed]), typical, power,
    )  # fmt: skip
    return found, {"runs": len(own.rows), "power": power, "by_cut": said}


def is_small(own: MeasuredCurves) -> npt.NDArray[np.bool_]:
    """Return which runs (B,) are of less than the largest size; none where there is but one."""
    size = column(own.rows, "params_non_embedding")
    return np.asarray(size < np.nanmax(size))


def shifts_of(
    own: MeasuredCurves,
    curves: CurveProcess,
    keep: npt.NDArray[np.bool_],
    cut: float,
    told: tuple[Array, Array],
    numbers: Array,
) -> Array:
    """Return corrections at PLACES of the rest of the runs that are not kept, by those that are.

    (n, U), nats; zero for a run without a point before the cut.
    """
    out = ~keep
    window = fit_window_process(told[0][keep], told[1][keep], own.targets(cut)[keep], numbers)
    rest = window.shifts(told[0][out], told[1][out])
    shift = (rest + curve_shifts(curves, own.take(out), cut)) / 2
    shift[own.count(cut)[out] == 0] = 0
    return shift


def cut_features(own: MeasuredCurves, cut: float) -> tuple[Array, Array]:
    """Return the features of all runs at a cut."""
    prefixes = dataclasses.replace(own.prefixes(), at_cut=own.at(cut))
    return features(prefixes, own.rows, cut)


def of_residuals(own: MeasuredCurves) -> CurveProcess:
    """Return the distribution of what losses along runs lie off the predicted ones."""
    some = own.take(every_nth(own, CURVES_ON))
    frac, value = with_end(some, some.loss - some.predicted(), some.final - some.curve[:, -1])
    return fit_curve_process(some.rows, frac, value, rounds=20)


def choose_numbers(fold_B: Array, told: tuple[Array, Array], target_BU: Array) -> Array:
    """Return the numbers of the kernel with the least error on folds left out in turn."""
    best, least = np.zeros(4), np.inf
    for length, both, level in NUMBERS:
        for noise in NOISES:
            numbers = np.array([length, both, level, noise])
            error = 0.0
            for k in np.unique(fold_B):
                keep = fold_B != k
                window = fit_window_process(
                    told[0][keep], told[1][keep], target_BU[keep], numbers, rounds=2
                )
                left = window.shifts(told[0][~keep], told[1][~keep]) - target_BU[~keep]
                error += float(np.abs(left[:, -1]).sum())
            if error < least:
                best, least = numbers, error
    return best


def curve_shifts(process: CurveProcess, own: MeasuredCurves, cut: float) -> Array:
    """Return what a distribution of curves says of the rest of each run (B, U), nats."""
    at = cut + (1 - cut) * np.array(PLACES)
    residual_BP = own.loss - own.predicted()
    found = np.zeros((len(own.rows), len(PLACES)))
    for i, row in enumerate(own.rows):
        known = (own.frac[i] > FIRST) & (own.frac[i] <= cut)
        if known.any():
            told = process.tell(row, own.frac[i, known], residual_BP[i, known], at)
            found[i] = told.mean
    return found


def add_to_bundle(model: PrefixModel, folder: Path) -> None:
    """Write what starts of runs say into a bundle's folder: the file, its card entry, the seal."""
    entry = {"sha256": model.save(folder), "sources": list(model.families), **model.about}
    put_on_card(folder, ENTRY, entry)
