"""What changed between two snapshots, and which runs one of two bundles was trained on."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ncpl.data.snapshot import Runs
from ncpl.evaluate.scores import SPLITS


@dataclass(frozen=True)
class DataChange:
    """Runs of a new snapshot against those of an old one."""

    added: dict[str, int]
    """Runs only the new one has, by source."""
    removed: dict[str, int]
    changed: dict[str, int]
    """Runs of both whose configuration or final loss differs."""
    moved: list[str] = field(default_factory=list)
    """Sentences about runs that changed sides of the split."""


def data_change(new: Runs, old: Runs) -> DataChange:
    """Return what changed; by run id."""
    ours = {run: i for i, run in enumerate(new.run_ids)}
    theirs = {run: i for i, run in enumerate(old.run_ids)}
    both = [run for run in ours if run in theirs]
    changed = [run for run in both if not _same(new, ours[run], old, theirs[run])]
    moves = Counter(
        (_side(old.split[theirs[run]]), _side(new.split[ours[run]]))
        for run in both
        if old.split[theirs[run]] != new.split[ours[run]]
    )
    return DataChange(
        _by_source(run for run in ours if run not in theirs),
        _by_source(run for run in theirs if run not in ours),
        _by_source(changed),
        [f"{n:,} runs moved from {a} to {b}" for (a, b), n in sorted(moves.items())],
    )


def _same(new: Runs, i: int, old: Runs, j: int) -> bool:
    same_loss = np.array_equal(new.loss[i], old.loss[j], equal_nan=True)
    return same_loss and new.configs[i] == old.configs[j]


def _side(split: str | None) -> str:
    return split or "no side"


def _by_source(run_ids: Any) -> dict[str, int]:
    return dict(sorted(Counter(run.split("/")[0] for run in run_ids).items()))


def trained_on(held_out_in: Runs, trained: Runs) -> frozenset[str]:
    """Return the held-out runs of one snapshot that are training runs of another."""
    held = {
        run
        for run, split in zip(held_out_in.run_ids, held_out_in.split, strict=True)
        if split in SPLITS
    }
    return frozenset(
        run
        for run, split in zip(trained.run_ids, trained.split, strict=True)
        if split == "train" and run in held
    )
