"""The release gate for families that a community bundle answers for.

Each family is scored on its own held-out runs by both bundles, as `gate` does, and by the transfer
tasks: a few of its small runs known, larger ones asked for, its own sources left out of what was
learned. Which contribution moved what: `influence`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from ncpl.data.families import FamilyRuns, as_read, name_of
from ncpl.data.snapshot import Family, Runs
from ncpl.evaluate.gate import Verdict, judge_pairs, pairs_of
from ncpl.evaluate.influence import Influence
from ncpl.evaluate.scores import SPLITS
from ncpl.model.community import Community
from ncpl.model.predictor import Predictor

MOST_OUTSIDE = 0.5
"""Share of a family's held-out runs outside their 90% intervals above which it fails: then it
misses a usual one of them by more than the interval."""
LEAST_HELD_OUT = 5
TRANSFER_RISE, TRANSFER_NATS = 0.25, 0.005
"""Rise of a family's transfer error, as a share and in nats, that refuses a contribution."""
LEAST_TARGETS = 10
"""Different runs that must be asked for: of hundreds of pairs of contribution and family some rise
by chance, and a rise on three runs tells of these three."""


def judge_community(
    verdict: Verdict,
    new: Community | None,
    old: Community | None,
    runs: Runs,
    families: Sequence[FamilyRuns],
    *,
    answered: frozenset[Family],
    unfair: frozenset[str],
    seed: int = 0,
) -> None:
    """Add to a verdict what speaks for and against a community bundle.

    `families` are those of the snapshot, without runs that no law here reads; `answered` are
    families that dedicated models answer for, which are not judged here.
    """
    if new is None:
        if old is not None:
            told = "there is no community bundle beside the new one: too few sources to learn from"
            verdict.reasons.append(told)
        return
    some = as_read(runs, families)
    mine = without_answered(new, answered)
    if old is not None:
        theirs = without_answered(old, answered)
        pairs = pairs_of(mine, theirs, verdict)
        judge_pairs(verdict, mine, theirs, pairs, some, unfair=unfair, seed=seed, are_whole=True)
    check_own(verdict, mine, some)


def without_answered(bundle: Community, answered: frozenset[Family]) -> Community:
    """Return a bundle without the families that dedicated models answer for."""
    return dataclasses.replace(
        bundle, fits=[fit for fit in bundle.fits if fit.family not in answered]
    )


def check_own(verdict: Verdict, bundle: Predictor, runs: Runs) -> None:
    """Refuse every fit of a bundle that misses its own held-out runs by more than its interval."""
    for fit in bundle.fits:
        for split in SPLITS:
            part = runs.where(family=fit.family, split=split)
            if len(part) < LEAST_HELD_OUT:
                continue
            found = bundle.intervals(fit, part.configs)
            outside = (part.loss < found.low) | (part.loss > found.high)
            if outside.mean() > MOST_OUTSIDE:
                error = np.abs(found.loss - part.loss).mean()
                half = (found.high - found.low).mean() / 2
                verdict.reasons.append(
                    f"{name_of(fit.family)} {split.upper()}: {int(outside.sum())} of its own "
                    f"{len(part)} held-out runs lie outside the 90% interval (MAE {error:.4f}, "
                    f"half width {half:.4f})"
                )


def judge_influence(verdict: Verdict, found: Sequence[Influence]) -> None:
    """Refuse contributions with which other families are told worse of, and surely so.

    A rise that a bootstrap over the runs asked for does not confirm is a remark.
    """
    for one in found:
        for change in one.families:
            rise = change.error_with - change.error_without
            if rise <= max(TRANSFER_NATS, TRANSFER_RISE * change.error_without):
                continue
            told = (
                f"{change.family}: with {one.contribution}, its {change.targets} larger runs are "
                f"told from {change.known} smaller ones to {change.error_with:.4f}; without it to "
                f"{change.error_without:.4f}"
            )
            if change.targets >= LEAST_TARGETS and change.low > 0:
                verdict.reasons.append(f"{told}; worse by {change.low:.4f} at least (95%)")
            else:
                verdict.remarks.append(f"{told}; too few, or not all of them, to refuse it")
