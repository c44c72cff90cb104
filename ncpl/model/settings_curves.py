"""Curves of a set-up that no bundle knows, learned from its own finished runs.

An annealing law whose coefficients follow the settings:

    loss(f) = sum_j b_j phi_j(f) + level(group) [f < 1],   b ~ Normal(settings . W, cov)

The phi are those of `curve_process`; the level is what a group's curve lies off its final loss,
where the two are measured differently, as on a part of the validation set and on all of it.

Legend: B runs, P points, S settings, K coefficients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ncpl.data.columns import column
from ncpl.data.fields import Config
from ncpl.data.schedules import Array
from ncpl.model.curve_process import (
    AlongRun,
    CurveProcess,
    design,
    fit_curve_process,
    posteriors,
)
from ncpl.model.intervals import Z90

SETTINGS = ("params_non_embedding", "data_tokens", "learning_rate", "batch_tokens")
KINDS = ("cosine", "constant")
WIDE, NARROW = 0.5, 0.1
"""Standard deviations at which coefficients begin, nats: of whole losses, and of what settings
leave."""
STEPS = 6
"""Times that coefficients are read off runs, and regressed on the settings."""
RIDGE = 0.5
LAST = 0.97
"""Share of a run from which its last point tells the level of its group."""
FOLDS, CUTS = 4, (0.1, 0.3, 0.5, 0.8)
"""Of the runs, left out in turn, and of a run, at which widths are measured."""


@dataclass(frozen=True)
class FinishedRuns:
    """B finished runs of one set-up, with curves."""

    rows: Sequence[Config]
    group: Sequence[str]
    """What is measured alike: data set and tokenizer, say."""
    frac: Array
    """(B, P) shares of the run, NaN fills."""
    loss: Array
    """(B, P) nats."""
    final: Array
    """(B,) nats."""
    cell: Sequence[Any]
    """What is left out together when widths are measured."""

    def take(self, keep: Any) -> FinishedRuns:
        """Return the runs where `keep` is true."""
        at = [int(i) for i in np.flatnonzero(keep)]
        return FinishedRuns(
            [self.rows[i] for i in at], [self.group[i] for i in at], self.frac[at], self.loss[at],
            self.final[at], [self.cell[i] for i in at],
        )  # fmt: skip


@dataclass(frozen=True)
class SettingsCurves:
    """The fitted law."""

    middle: Array
    """(4,) mean logarithms of SETTINGS."""
    groups: tuple[str, ...]
    level: Mapping[str, float]
    """What curves lie off final losses by group, nats."""
    weights: Array
    """(S, K)"""
    process: CurveProcess
    wide: float = 1.0
    """What standard deviations are multiplied by: left-out runs were missed by so much more."""

    def settings(self, rows: Sequence[Config], group: Sequence[str]) -> Array:
        """Return what coefficients are regressed on (B, S)."""
        return settings_of(rows, group, self.middle, self.groups)

    def tell(self, row: Config, group: str, frac_P: Array, loss_P: Array, at_Q: Array) -> AlongRun:
        """Return losses at shares of the run and their standard deviations, given points of it.

        On the scale of final losses at the end, of the curve's before it.
        """
        level = self.level.get(group, float(np.median(list(self.level.values()))))
        base = self.settings([row], [group])[0] @ self.weights
        off_P = loss_P - level - design([row], frac_P[None])[0] @ base
        told = self.process.tell(row, frac_P, off_P, at_Q)
        mean = told.mean + design([row], at_Q[None])[0] @ base + level * (at_Q < 1)
        return AlongRun(mean, told.spread * self.wide)


def settings_of(
    rows: Sequence[Config], group: Sequence[str], middle: Array, groups: Sequence[str]
) -> Array:
    """Return 1, logarithms of settings, squares, a product, kinds of schedule and groups (B, S)."""
    logs = np.nan_to_num(np.stack([np.log(column(rows, n)) for n in SETTINGS], 1) - middle)
    kinds = np.array([[row.get("schedule") == kind for kind in KINDS] for row in rows], dtype=float)
    own = np.array([[g == name for name in groups[1:]] for g in group], dtype=float)
    one = np.ones((len(rows), 1))
    product = logs[:, :1] * logs[:, 2:3]
    return np.concatenate(
        [one, logs, logs[:, :3] ** 2, product, kinds, own.reshape(len(rows), -1)], axis=1
    )


def fit_settings_curves(runs: FinishedRuns, *, measure: bool = True) -> SettingsCurves:
    """Return the law of finished runs; without `measure` its widths are as the fit states them."""
    level = levels(runs)
    before = np.where(runs.frac < 1, runs.frac, np.nan)
    off_B = np.array([level[g] for g in runs.group])
    frac = np.column_stack([before, np.ones(len(runs.final))])
    loss = np.column_stack([runs.loss - off_B[:, None], runs.final])
    given = np.isfinite(frac) & np.isfinite(loss)
    design_BPK = design(runs.rows, np.where(given, frac, 1.0))
    logs = np.stack([np.log(column(runs.rows, name)) for name in SETTINGS], axis=1)
    middle = np.nan_to_num(np.nanmean(logs, axis=0))
    groups = tuple(sorted(set(runs.group)))
    settings_BS = settings_of(runs.rows, runs.group, middle, groups)
    gram = settings_BS.T @ settings_BS + RIDGE * np.eye(settings_BS.shape[1])
    process = fit_curve_process(runs.rows, frac, loss, start=WIDE, rounds=15)
    told = coefficients(process, design_BPK, loss, given)
    weights: Array = np.asarray(np.linalg.solve(gram, settings_BS.T @ told))
    for _ in range(STEPS):
        left = loss - np.einsum("bpk,bk->bp", design_BPK, settings_BS @ weights)
        process = fit_curve_process(runs.rows, frac, left, start=NARROW, rounds=15)
        told = coefficients(process, design_BPK, left, given)
        weights = np.asarray(weights + np.linalg.solve(gram, settings_BS.T @ told))
    left = loss - np.einsum("bpk,bk->bp", design_BPK, settings_BS @ weights)
    process = fit_curve_process(runs.rows, frac, left, start=NARROW, rounds=30)
    wide = widening(runs) if measure else 1.0
    return SettingsCurves(middle, groups, level, weights, process, wide)


def coefficients(process: CurveProcess, design_BPK: Array, loss_BP: Array, given: Any) -> Array:
    """Return each run's coefficients (B, K)."""
    return posteriors(process, design_BPK, np.where(given, loss_BP, 0.0), given)[0]


def levels(runs: FinishedRuns) -> dict[str, float]:
    """Return what curves of each group lie off final losses; the median of whole curves, nats."""
    last = np.array([np.nanmax(f, initial=0.0) for f in runs.frac])
    at = np.nan_to_num(runs.frac).argmax(1)
    off = runs.loss[np.arange(len(at)), at] - runs.final
    found = {}
    for name in sorted(set(runs.group)):
        own = np.array([g == name for g in runs.group]) & (last >= LAST)
        found[name] = float(np.median(off[own])) if own.any() else 0.0
    return found


def widening(runs: FinishedRuns) -> float:
    """Return by how much left-out cells are missed, over the standard deviations of their end."""
    cells = sorted(set(runs.cell))
    folds = min(FOLDS, len(cells))
    missed = []
    for k in range(folds):
        out = np.isin([cells.index(c) for c in runs.cell], np.arange(k, len(cells), folds))
        law = fit_settings_curves(runs.take(~out), measure=False)
        left = runs.take(out)
        for i, row in enumerate(left.rows):
            for cut in CUTS:
                known = left.frac[i] <= cut
                if known.any():
                    told = law.tell(
                        row, left.group[i], left.frac[i, known], left.loss[i, known], np.ones(1)
                    )
                    missed.append(abs(told.mean[0] - left.final[i]) / max(told.spread[0], 1e-9))
    return max(1.0, float(np.quantile(missed, 0.9)) / Z90) if missed else 1.0
