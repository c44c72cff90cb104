"""The release gate: is a new bundle worse than the one in use, on the same frozen runs?

Errors are compared run by run. What counts is the bootstrap over whole groups (optimizer, N, D):
runs of one group share their error, and another seed moves all of them together.

Legend: B runs, G groups.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ncpl.data.families import name_of
from ncpl.data.snapshot import Runs, sizes
from ncpl.errors import NcplError
from ncpl.evaluate.scores import SPLITS, score
from ncpl.model.predictor import FamilyModel, Predictor

Array = npt.NDArray[np.float64]
DRAWS = 2000
LEVEL = 0.9
MIN_GROUPS = 5
"""With fewer groups single runs are drawn."""
MAX_RISE = 0.10
"""Rise of an MAE that is refused whatever its interval says."""
TOLERANCE_NATS = 1e-4
"""Rise of an MAE that is rounding, not quality."""
GAP_POINTS = 0.05
"""Rise of the mean choice gap, in percent points, that is a coin toss among ties."""
COVERS = (0.85, 0.96)
MIN_RUNS = 20
"""Cells and splits with fewer runs are not judged."""
CELL_RISE = 0.25
"""Rise of a cell's MAE, where its interval is above zero too, that is refused."""
CELL_NATS = 0.002
"""Rise of a cell's MAE that is run noise (identical Marin runs differ by .001 to .002)."""


@dataclass(frozen=True)
class Change:
    """Scores of both bundles on one split of one source; losses in nats per token."""

    source: str
    split: str
    n: int
    old_mae: float
    new_mae: float
    low: float
    """Lower end of the 90% bootstrap interval of new MAE - old MAE."""
    high: float
    drawn: str
    """What the bootstrap draws: groups or runs."""
    old_coverage: float
    new_coverage: float
    old_gap_percent: float
    new_gap_percent: float
    gap_low: float
    """Lower end of the interval of the gaps' difference, in percent points; NaN without groups."""


@dataclass(frozen=True)
class WorseCell:
    """One held-out cell (optimizer/N/D) that became worse."""

    source: str
    split: str
    cell: str
    n: int
    old_mae: float
    new_mae: float
    low: float
    """Lower end of the 90% bootstrap interval of the difference, runs drawn."""
    chinchilla_mae: float
    """Of the new bundle's refitted law."""


@dataclass
class Verdict:
    """What the gate found."""

    changes: list[Change] = field(default_factory=list)
    worse_cells: list[WorseCell] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    """Why the new bundle is refused; empty when it passes."""
    remarks: list[str] = field(default_factory=list)
    cells_refuse: bool = True
    """Whether a cell that became worse is a reason."""

    @property
    def passes(self) -> bool:
        """Return whether nothing speaks against the new bundle."""
        return not self.reasons


def judge(
    new: Predictor,
    old: Predictor,
    runs: Runs,
    *,
    unfair: frozenset[str] = frozenset(),
    cells_refuse: bool = True,
    seed: int = 0,
) -> Verdict:
    """Return the verdict on a new bundle beside an old one, on the held-out parts of `runs`.

    `unfair` are run ids that one of the two was trained on: they are left out. With `cells_refuse`
    off, cells that became worse are listed, but do not refuse. Raises NcplError when there is
    nothing to compare on.
    """
    verdict = Verdict(cells_refuse=cells_refuse)
    pairs = pairs_of(new, old, verdict)
    judge_pairs(verdict, new, old, pairs, runs, unfair=unfair, seed=seed)
    if not verdict.changes:
        raise NcplError("the snapshot has no held-out runs that both bundles answer for")
    return verdict


def judge_pairs(
    verdict: Verdict,
    new: Predictor,
    old: Predictor,
    pairs: Sequence[Pair],
    runs: Runs,
    *,
    unfair: frozenset[str],
    seed: int,
    are_whole: bool = False,
) -> None:
    """Add to a verdict what both bundles say of the held-out runs of families they share.

    With `are_whole`, families go by their whole names, and are not judged by cells. There are many
    of them, of few held-out runs each: a rise counts from run noise and a tenth on, or one of them
    would be worse by chance.
    """
    rng = np.random.default_rng(seed)
    for mine, theirs in pairs:
        label = name_of(mine.family) if are_whole else mine.family[0]
        for split in SPLITS:
            part = runs.where(family=mine.family, split=split)
            keep = np.array([run not in unfair for run in part.run_ids], dtype=bool)
            if len(part) and not keep.all():
                verdict.remarks.append(
                    f"{label} {split.upper()}: {int((~keep).sum())} runs are left out, "
                    "one of the bundles was trained on them"
                )
            part = part.take(keep) if len(part) else part
            if len(part):
                errors = _compare(
                    verdict, new, old, mine, theirs, label, split, part, rng, are_whole=are_whole
                )
                if not are_whole:
                    _cells(verdict, mine, label, split, part, errors, rng)


Pair = tuple[FamilyModel, FamilyModel]


def pairs_of(new: Predictor, old: Predictor, verdict: Verdict) -> list[Pair]:
    """Return the fits of both bundles for each family of comparable losses.

    What only one of them has is a reason, or a remark.
    """
    ours = {fit.family: fit for fit in new.fits}
    pairs = []
    for fit in old.fits:
        if fit.family in ours:
            pairs.append((ours[fit.family], fit))
        else:
            verdict.reasons.append(
                f"{fit.family[0]} ({fit.family[1]}): the new bundle has no model for it"
            )
    for family in ours.keys() - {fit.family for fit in old.fits}:
        verdict.remarks.append(f"{family[0]} ({family[1]}): new, nothing to compare with")
    return pairs


def _compare(
    verdict: Verdict, new: Predictor, old: Predictor, mine: FamilyModel, theirs: FamilyModel,
    label: str, split: str, part: Runs, rng: np.random.Generator, *, are_whole: bool = False,
) -> tuple[Array, Array]:  # fmt: skip
    """Add the change on one part to a verdict and return the errors of the new and the old (B)."""
    found = [bundle.intervals(fit, part.configs) for bundle, fit in ((new, mine), (old, theirs))]
    error_new, error_old = (np.abs(f.loss - part.loss) for f in found)
    scores = [score(f.loss, part.loss, part.group, (f.low, f.high)) for f in found]
    groups = groups_of(part)
    difference = error_new - error_old
    by_group = len(set(groups.tolist())) >= MIN_GROUPS
    low, high = bootstrap(difference, groups if by_group else np.arange(len(part)), rng)
    gaps = [_gaps(f.loss, part.loss, groups) for f in found]
    more = gaps[0] - gaps[1]
    gap_low = bootstrap(more, np.arange(len(more)), rng)[0] if len(more) else math.nan
    change = Change(
        label, split, len(part), float(error_old.mean()), float(error_new.mean()),
        low, high, "groups" if by_group else "runs",
        float(scores[1].coverage or 0), float(scores[0].coverage or 0),
        scores[1].choice_gap_percent, scores[0].choice_gap_percent, gap_low,
    )  # fmt: skip
    verdict.changes.append(change)
    least = max(CELL_NATS, MAX_RISE * change.old_mae) if are_whole else TOLERANCE_NATS
    verdict.reasons += reasons_against(change, least)
    return error_new, error_old


def groups_of(part: Runs) -> npt.NDArray[Any]:
    """Return the group of each run (B), its own id where it has none."""
    return np.array([group or run for group, run in zip(part.group, part.run_ids, strict=True)])


def _cells(
    verdict: Verdict, mine: FamilyModel, label: str, split: str, part: Runs,
    errors: tuple[Array, Array], rng: np.random.Generator,
) -> None:  # fmt: skip
    """Add the cells of one part that became worse to a verdict."""
    error_new, error_old = errors
    difference, groups = error_new - error_old, groups_of(part)
    params, tokens = sizes(part)
    law = np.abs(mine.baseline.predict(params, tokens) - part.loss)
    for name in sorted(set(groups.tolist())):
        own = groups == name
        if own.sum() < MIN_RUNS:
            continue
        cell_low, _ = bootstrap(difference[own], np.arange(own.sum()), rng)
        cell = WorseCell(
            label, split, name, int(own.sum()), float(error_old[own].mean()),
            float(error_new[own].mean()), cell_low, float(law[own].mean()),
        )  # fmt: skip
        told = reasons_against_cell(cell)
        if told:
            verdict.worse_cells.append(cell)
            (verdict.reasons if verdict.cells_refuse else verdict.remarks).extend(told)


def bootstrap(values_B: Array, groups_B: npt.NDArray[Any], rng: Any) -> tuple[float, float]:
    """Return the 90% interval of the mean of values, whole groups drawn with replacement."""
    _, place = np.unique(groups_B, return_inverse=True)
    sums_G = np.bincount(place, weights=values_B)
    counts_G = np.bincount(place)
    draws = rng.integers(0, len(sums_G), size=(DRAWS, len(sums_G)))
    means = sums_G[draws].sum(1) / counts_G[draws].sum(1)
    ends = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(ends[0]), float(ends[1])


def _gaps(predicted_B: Array, measured_B: Array, groups_B: npt.NDArray[Any]) -> Array:
    """Return percent above the best run at the run chosen, of each group of enough runs."""
    found = []
    for name in sorted(set(groups_B.tolist())):
        own = groups_B == name
        if own.sum() >= MIN_GROUPS:
            chosen = measured_B[own][predicted_B[own].argmin()]
            found.append(100 * (chosen / measured_B[own].min() - 1))
    return np.array(found)


def reasons_against(c: Change, least: float = TOLERANCE_NATS) -> list[str]:
    """Return why a change of scores is refused, in sentences; `least` is a rise that counts."""
    where, found = f"{c.source} {c.split.upper()}", []
    rise = c.new_mae - c.old_mae
    told = f"{where}: MAE rose from {c.old_mae:.4f} to {c.new_mae:.4f}"
    if rise > least and c.low > 0:
        found.append(f"{told}, by {c.low:.4f} to {c.high:.4f} (90%, {c.drawn} drawn)")
    elif c.n >= MIN_RUNS and rise > max(least, MAX_RISE * c.old_mae):
        found.append(f"{told}, by more than {100 * MAX_RISE:.0f}%")
    away = _away(c.new_coverage)
    if c.n >= MIN_RUNS and away > max(_away(c.old_coverage), 1e-9):
        found.append(
            f"{where}: 90% intervals cover {100 * c.new_coverage:.1f}%, before "
            f"{100 * c.old_coverage:.1f}%; {100 * COVERS[0]:.0f} to {100 * COVERS[1]:.0f}% expected"
        )
    more = c.new_gap_percent - c.old_gap_percent
    if more > GAP_POINTS and c.gap_low > 0:
        found.append(
            f"{where}: the choice gap rose from {c.old_gap_percent:.3f}% to "
            f"{c.new_gap_percent:.3f}%"
        )
    return found


def _away(coverage: float) -> float:
    return max(COVERS[0] - coverage, coverage - COVERS[1], 0.0)


def reasons_against_cell(c: WorseCell) -> list[str]:
    """Return why a cell's change is refused, in sentences."""
    where = f"{c.source} {c.split.upper()} {c.cell} ({c.n} runs)"
    rise = c.new_mae - c.old_mae
    if c.low > 0 and rise > max(CELL_NATS, CELL_RISE * c.old_mae):
        return [f"{where}: MAE rose from {c.old_mae:.4f} to {c.new_mae:.4f}"]
    if c.new_mae > c.chinchilla_mae >= c.old_mae:
        return [
            f"{where}: MAE {c.new_mae:.4f} is above that of the refitted Chinchilla, "
            f"{c.chinchilla_mae:.4f}; before it was {c.old_mae:.4f}"
        ]
    return []


def sentences(values: Sequence[str], limit: int = 12) -> list[str]:
    """Return at most `limit` sentences and how many more there are."""
    more = len(values) - limit
    return [*values[:limit], *([f"... and {more} more"] if more > 0 else [])]
