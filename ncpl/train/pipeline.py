"""From a snapshot to a scored bundle in a folder."""

from __future__ import annotations

import dataclasses
import json
import logging
import multiprocessing
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ncpl.data.snapshot import Runs, Snapshot
from ncpl.errors import SnapshotError
from ncpl.evaluate.card import render
from ncpl.evaluate.rescore import rescore
from ncpl.model.bundle import Bundle
from ncpl.model.config import FitConfig
from ncpl.model.ensemble import Fit
from ncpl.model.seal import seal
from ncpl.train.calibrate import calibrate
from ncpl.train.community import train_community
from ncpl.train.families import FamilyOutcome, line, trainable
from ncpl.train.fit import fit_family
from ncpl.version import __version__

log = logging.getLogger(__name__)
FAILURES = (ValueError, torch.linalg.LinAlgError)  # type: ignore[attr-defined]  # torch has it
"""What a family whose runs do not carry a fit ends in."""


def train_bundle(
    snapshot: Snapshot,
    runs: Runs,
    config: FitConfig,
    *,
    seed: int,
    folder: Path,
    resume: bool = False,
    warm_start: Bundle | None = None,
    max_minutes: float | None = None,
    progress: bool = False,
    jobs: int = 1,
) -> Bundle:
    """Train, calibrate and score a bundle and write it to `folder` with scores.json and README.md.

    Families are trained one after the other, or, with `jobs`, so many at once, each in a process of
    its own: what they come to is the same.

    With `warm_start`, networks begin with those an older bundle has for the same losses. With
    `resume`, members continue from the checkpoints an earlier call left in the folder.
    What became of each family is `about["outcomes"]`; one that can not be trained on does not keep
    the others from being saved. Raises SnapshotError when none can.
    """
    begun = time.monotonic()
    deadline = begun + 60 * max_minutes if max_minutes else None
    checkpoints = folder / "checkpoints"
    if not resume and checkpoints.is_dir():
        shutil.rmtree(checkpoints)
    fits, counts, outcomes = [], {}, []
    started = {fit.family: fit for fit in warm_start.fits} if warm_start is not None else {}
    families = [
        (family, *trainable(runs, family, config.min_family_runs))
        for family in runs.families(with_unsplit=True)
    ]
    tasks = [
        partial(
            _fit, snapshot, runs, train, config,
            seed=seed, start=started.get(family), deadline=deadline,
            checkpoints=checkpoints, progress=progress and jobs == 1,
        )
        for family, train, reason, _ in families
        if reason is None
    ]  # fmt: skip
    made = iter(results_of(tasks, jobs))
    for family, train, reason, left_out in families:
        found = next(made) if reason is None else reason
        if isinstance(found, Fit):
            fits.append(found)
            counts[family[0]] = len(train)
        why = None if isinstance(found, Fit) else str(found)  # the others are not lost
        outcome = FamilyOutcome.of(family, len(train), reason=why, left_out=left_out)
        outcomes.append(outcome.to_json())
    if not fits:
        told = "; ".join(line(outcome) for outcome in outcomes) or "no run is in the split"
        raise SnapshotError(
            f"{snapshot.path}: no family of comparable losses can be trained on ({told}); take a "
            "snapshot with the ncpl split (ncpl-data snapshot), or lower min_family_runs"
        )
    bundle = Bundle(config, fits, snapshot.id)
    bundle.about = {
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "train_seconds": round(time.monotonic() - begun),
        "train_runs": counts,
        "outcomes": outcomes,
        "split": snapshot.policy,
        "seed": seed,
        "warm_start": warm_start and warm_start.snapshot_id,
        "sources": snapshot.manifest.get("sources", []),
        "versions": {"ncpl": __version__, "torch": torch.__version__},
    }
    rescore(bundle, snapshot, runs)
    bundle.save(folder)
    (folder / "README.md").write_text(render(bundle.card()), encoding="utf-8")
    train_community(snapshot, runs, folder / "community", seed=seed)
    scores = {"snapshot_id": snapshot.id, "scores": bundle.about["scores"]}
    (folder / "scores.json").write_text(json.dumps(scores, indent=1) + "\n", encoding="utf-8")
    seal(folder)
    if checkpoints.is_dir():
        shutil.rmtree(checkpoints)
    return bundle


def results_of(tasks: Sequence[Callable[[], Fit]], jobs: int) -> Iterator[Fit | Exception]:
    """Yield what each task returns, or what it failed with, in order; `jobs` at once."""
    if jobs == 1 or len(tasks) < 2:
        yield from map(outcome_of, tasks)
        return
    # A forked child of a process whose torch has threads may hang: children start anew.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=jobs, mp_context=context) as pool:
        yield from pool.map(outcome_of, tasks)


def outcome_of(task: Callable[[], Fit]) -> Fit | Exception:
    """Return what a task returns, or what its runs failed with."""
    try:
        return task()
    except FAILURES as error:
        return error


def _fit(
    snapshot: Snapshot,
    runs: Runs,
    train: Runs,
    config: FitConfig,
    *,
    seed: int,
    start: Fit | None,
    deadline: float | None,
    checkpoints: Path,
    progress: bool,
) -> Fit:
    """Return the calibrated fit of one family; ValueError where its runs do not carry one."""
    name = train.family[0][0]
    log.info("%s: %d training runs", name, len(train))
    bar = _bar(config, name) if progress else None

    def on_step(step: int, errors: list[float]) -> None:
        error = sum(errors) / len(errors)
        if bar is not None:
            bar.update(1)
        if step % 20 == 0:
            if bar is not None:
                bar.set_postfix_str(f"{len(errors)} members, error {error:.4f}")
            log.debug("step %d: mean error %.4f nats", step, error)

    try:
        fit = fit_family(
            train,
            config,
            seed=seed,
            start=start,
            points=snapshot.points(train) if config.curve_steps else None,
            diverged=runs.diverged_beside(train),
            deadline=deadline,
            checkpoints=checkpoints,
            on_step=on_step,
        )
    finally:
        if bar is not None:
            bar.close()
    calibration: dict[str, float] = {}
    in_time = deadline is None or time.monotonic() < deadline
    if config.calibration_folds and in_time:
        log.info("%s: measuring interval widths on left-out training groups", name)
        calibration = calibrate(fit, train, config, seed=seed)
    return dataclasses.replace(fit, calibration=calibration)


def _bar(config: FitConfig, name: str) -> Any:
    from tqdm import tqdm

    return tqdm(total=config.steps, desc=name, unit="step", leave=False)
