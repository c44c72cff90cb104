"""What starts of runs say of their ends, learned from a bundle's own training runs.

Every number comes from predictions of fits that left a run's group out (`out_of_fold`), and every
width from corrections that left it out too. Held-out parts of the split are never used.

Legend: B runs, P points, F shares of a grid, U places of the rest, C cuts.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ncpl.data.fields import Config, derive
from ncpl.data.schedules import FIRST, Array
from ncpl.data.snapshot import Runs, Snapshot
from ncpl.errors import SnapshotError
from ncpl.evaluate.card import render
from ncpl.model.bundle import CARD, Bundle, read_card
from ncpl.model.curve_process import CurveProcess, fit_curve_process
from ncpl.model.prefix import CUTS, ENTRY, FLAT, AnyPrefix, FamilyPrefix, PrefixModel
from ncpl.model.prefix_features import Prefixes, features, is_spiky
from ncpl.model.seal import seal
from ncpl.model.window_process import PLACES, fit_window_process
from ncpl.train.calibrate import weighted_quantile
from ncpl.train.families import trainable
from ncpl.train.out_of_fold import out_of_fold

log = logging.getLogger(__name__)
GRID = np.linspace(FIRST, 1.0, 99)
"""Shares of the run at which left-out curves are kept; between them they are straight."""
POINTS = 60
"""Points of a curve that count."""
LEVEL = 0.9
BINS = 3
"""Bins of the last residual's size."""
MIN_SPIKY = 20
GAIN = 0.02
"""Share by which a correction must lower left-out errors to be trusted at all: less is chance."""
NUMBERS = ((3.0, 3.0, 0.1), (6.0, 6.0, 0.1), (6.0, 6.0, 1.0))
"""Lengths of context and of both, and level, of which the one with least left-out error is kept."""
NOISES = (0.3, 1.0, 3.0)
CHOSEN_ON, CURVES_ON = 500, 400
"""Runs, evenly picked, on which numbers are chosen and distributions of curves are fitted: more
take minutes and change little."""


@dataclass(frozen=True)
class MeasuredCurves:
    """B training runs as left-out predictions see them."""

    rows: list[Config]
    frac: Array
    """(B, P)"""
    loss: Array
    """(B, P) measured, nats."""
    curve: Array
    """(B, F) predicted at GRID, nats."""
    final: Array
    """(B,) measured final loss, nats."""
    fold: Array
    """(B,)"""
    weight: Array
    """(B,) one over the runs of its group."""

    def at(self, cut: float) -> Array:
        """Return the predicted losses at a cut (B,)."""
        return np.array([np.interp(cut, GRID, one) for one in self.curve])

    def predicted(self) -> Array:
        """Return the predicted losses at the measured points (B, P)."""
        return np.stack(
            [np.interp(f, GRID, one) for f, one in zip(self.frac, self.curve, strict=True)]
        )

    def prefixes(self) -> Prefixes:
        """Return whole runs as prefixes; a cut says how much of them counts."""
        return Prefixes(
            self.frac, self.loss, self.predicted(), self.curve[:, -1], self.curve[:, -1]
        )

    def targets(self, cut: float) -> Array:
        """Return what losses lie off the predicted curve at PLACES of the rest (B, U), nats."""
        residual_BP = self.loss - self.predicted()
        found = np.empty((len(self.rows), len(PLACES)))
        at = cut + (1 - cut) * np.array(PLACES)
        for i, (frac, residual) in enumerate(zip(self.frac, residual_BP, strict=True)):
            own = np.isfinite(residual) & (frac < 1)
            end = self.final[i] - self.curve[i, -1]
            found[i] = np.interp(at, np.append(frac[own], 1.0), np.append(residual[own], end))
        return found

    def take(self, keep: Any) -> MeasuredCurves:
        """Return the runs where `keep` is true."""
        at = np.flatnonzero(keep)
        return MeasuredCurves(
            [self.rows[i] for i in at], self.frac[at], self.loss[at], self.curve[at],
            self.final[at], self.fold[at], self.weight[at],
        )  # fmt: skip


def learn_prefixes(
    bundle: Bundle,
    snapshot: Snapshot,
    runs: Runs,
    *,
    seed: int = 0,
    on_fold: Callable[[str, int], None] | None = None,
) -> PrefixModel:
    """Return what the starts of a bundle's training runs say, family by family.

    Families without curves are left out. Raises SnapshotError where none has any.
    """
    measured: dict[str, MeasuredCurves] = {}
    for fit in bundle.fits:
        train, _, _ = trainable(runs, fit.family, bundle.config.min_family_runs)
        if fit.heads is None or not len(train):
            continue
        source = fit.family[0]
        tell = (lambda i, s=source: on_fold(s, i)) if on_fold is not None else None
        found = out_of_fold(
            fit, train, snapshot.points(train), bundle.config, GRID, seed=seed, on_fold=tell
        )
        measured[source] = measured_of(train, snapshot, found.curve, found.fold)
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


def measured_of(train: Runs, snapshot: Snapshot, curve_BF: Array, fold_B: Array) -> MeasuredCurves:
    """Return training runs that have a curve, with what left-out fits said of them."""
    points = snapshot.points(train, count=POINTS)
    has = np.isfinite(points.frac).any(1)
    counts = Counter(train.group)
    weight = np.array([1 / counts[group] for group in train.group])
    whole = MeasuredCurves(
        [derive(c) for c in train.configs], points.frac, points.loss, curve_BF, train.loss,
        fold_B, weight,
    )  # fmt: skip
    return whole.take(has)


def family_prefix(own: MeasuredCurves) -> tuple[FamilyPrefix, dict[str, Any]]:
    """Return a family's corrections, and left-out errors by cut for the card, nats."""
    parts = {k: own.fold != k for k in np.unique(own.fold)}
    curves = of_residuals(own)
    by_fold = {k: of_residuals(own.take(keep)) for k, keep in parts.items()}
    windows, trust, edges, widths, said = [], [], [], [], []
    alone_B = np.abs(own.final - own.curve[:, -1])
    for cut in CUTS:
        target_BU = own.targets(cut)
        told = cut_features(own, cut)
        some = every_nth(own, CHOSEN_ON)
        numbers = choose_numbers(own.fold[some], (told[0][some], told[1][some]), target_BU[some])
        found_BU = np.zeros_like(target_BU)
        for k, keep in parts.items():
            window = fit_window_process(told[0][keep], told[1][keep], target_BU[keep], numbers)
            out = ~keep
            rest = window.shifts(told[0][out], told[1][out])
            shape = curve_shifts(by_fold[k], own.take(out), cut)
            found_BU[out] = (rest + shape) / 2
        n_B = ((own.frac > FIRST) & (own.frac <= cut)).sum(1)
        found_BU[n_B == 0] = 0
        share = trusted(found_BU[:, -1], target_BU[:, -1])
        error_BU = np.abs(target_BU - share * found_BU)
        bins, table = width_table(told[0], error_BU, own.weight)
        windows.append(fit_window_process(*told, target_BU, numbers))
        trust.append(share)
        edges.append(bins)
        widths.append(table)
        said.append(
            {
                "cut": cut, "trust": share, "configuration": float(alone_B.mean()),
                "mae": float(error_BU[:, -1].mean()), "numbers": numbers.tolist(),
            }
        )  # fmt: skip
    typical = weighted_quantile(alone_B, own.weight, LEVEL)
    found = FamilyPrefix(
        curves, windows, np.array(trust), np.array(edges), np.array(widths), typical
    )
    return found, {"runs": len(own.rows), "by_cut": said}


def cut_features(own: MeasuredCurves, cut: float) -> tuple[Array, Array]:
    """Return the features of all runs at a cut."""
    prefixes = dataclasses.replace(own.prefixes(), at_cut=own.at(cut))
    return features(prefixes, own.rows, cut)


def every_nth(own: MeasuredCurves, most: int) -> npt.NDArray[np.bool_]:
    """Return which runs (B,) are picked, evenly, so that there are at most about `most`."""
    return np.asarray(np.arange(len(own.rows)) % max(1, round(len(own.rows) / most)) == 0)


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


def trusted(found_B: Array, target_B: Array) -> float:
    """Return the share of a correction that lowers left-out errors most; 0 where none does much."""
    shares = np.linspace(0, 1, 11)
    errors = np.array([np.abs(target_B - s * found_B).mean() for s in shares])
    best = int(errors.argmin())
    return float(shares[best]) if errors[best] < (1 - GAIN) * errors[0] else 0.0


def width_table(residual_BR: Array, error_BU: Array, weight_B: Array) -> tuple[Array, Array]:
    """Return edges between bins of the last residual's size, and half widths of each (S + 1, U)."""
    size = np.abs(residual_BR[:, 1])
    edges = np.quantile(size, np.arange(1, BINS) / BINS)
    spiky = is_spiky(residual_BR[:, 4], residual_BR[:, 5])
    place = np.searchsorted(edges, size)
    table = np.empty((BINS + 1, error_BU.shape[1]))
    for s in range(BINS):
        keep = (place == s) & (~spiky if (~spiky & (place == s)).any() else True)
        table[s] = [weighted_quantile(e, weight_B[keep], LEVEL) for e in error_BU[keep].T]
    table[BINS] = table[:BINS].max(0)
    if spiky.sum() >= MIN_SPIKY:
        own = [weighted_quantile(e, weight_B[spiky], LEVEL) for e in error_BU[spiky].T]
        table[BINS] = np.maximum(own, table[BINS - 1])
    return edges, table


def with_end(own: MeasuredCurves, value_BP: Array, end_B: Array) -> tuple[Array, Array]:
    """Return shares and values with the end of the run as one point more."""
    before = np.where(own.frac < 1, own.frac, np.nan)
    end = np.ones((len(end_B), 1))
    return (
        np.concatenate([before, end], axis=1),
        np.concatenate([np.where(own.frac < 1, value_BP, np.nan), end_B[:, None]], axis=1),
    )


def any_prefix(every: Sequence[MeasuredCurves], *, most: int = 250) -> AnyPrefix:
    """Return the shape of curves of all families, one vote each, and its widths in another one.

    Widths: 90% quantiles in a family that the shape was not learned from; where there is only one,
    twice those of its own runs.
    """
    some = [own.take(every_nth(own, most)) for own in every]
    shape = of_losses(some)
    errors: list[list[Array]] = [[] for _ in CUTS]
    for i, left_out in enumerate(some):
        others = [own for j, own in enumerate(some) if j != i]
        process = of_losses(others or some)
        for j, cut in enumerate(CUTS):
            errors[j].append(missed_anywhere(process, left_out, cut) * (1 if others else 2))
    widths = [
        np.max([np.quantile(e, LEVEL, axis=0) for e in errors[j] if len(e)], axis=0)
        for j in range(len(CUTS))
    ]
    return AnyPrefix(shape, np.array(widths))


def of_losses(parts: Sequence[MeasuredCurves]) -> CurveProcess:
    """Return the distribution of whole curves, base zero, of several families."""
    ends = [with_end(own, own.loss, own.final) for own in parts]
    width = max(frac.shape[1] for frac, _ in ends)
    pad = [
        [np.pad(a, ((0, 0), (0, width - a.shape[1])), constant_values=np.nan) for a in pair]
        for pair in ends
    ]
    frac, loss = (np.concatenate([pair[i] for pair in pad]) for i in (0, 1))
    weight = np.concatenate([np.full(len(own.rows), 1 / len(own.rows)) for own in parts])
    rows = [row for own in parts for row in own.rows]
    return fit_curve_process(rows, frac, loss, weight_B=weight, start=0.5, rounds=25)


def missed_anywhere(process: CurveProcess, own: MeasuredCurves, cut: float) -> Array:
    """Return absolute errors at PLACES of the rest (n, U) of runs with a point before the cut."""
    at = cut + (1 - cut) * np.array(PLACES)
    found = []
    for i, row in enumerate(own.rows):
        known = (own.frac[i] > FIRST) & (own.frac[i] <= cut)
        if not known.any():
            continue
        loss = own.loss[i, known]
        told = process.tell(row, own.frac[i, known], loss, at, final=(float(loss[-1]), FLAT)).mean
        later = (own.frac[i] > FIRST) & (own.frac[i] < 1)
        frac = np.append(own.frac[i, later], 1.0)
        truth = np.interp(at, frac, np.append(own.loss[i, later], own.final[i]))
        found.append(np.abs(told - truth))
    return np.array(found).reshape(-1, len(PLACES))


def add_to_bundle(model: PrefixModel, folder: Path) -> None:
    """Write what starts of runs say into a bundle's folder: the file, its card entry, the seal."""
    card = read_card(folder)
    digest = model.save(folder)
    card[ENTRY] = {"sha256": digest, "sources": list(model.families), **model.about}
    text = json.dumps(card, indent=1, allow_nan=False)
    (folder / CARD).write_text(text + "\n", encoding="utf-8")
    (folder / "README.md").write_text(render(card), encoding="utf-8")
    if (folder / "community").is_dir():
        seal(folder / "community")
    seal(folder)
