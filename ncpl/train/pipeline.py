"""From a snapshot to a scored bundle in a folder."""

from __future__ import annotations

import json
import logging
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from ncpl.data.snapshot import Runs, Snapshot
from ncpl.errors import SnapshotError
from ncpl.evaluate.card import render
from ncpl.evaluate.scores import coverage_table, curve_table, plain, risk_table, score_table
from ncpl.model.bundle import Bundle
from ncpl.model.config import FitConfig
from ncpl.train.calibrate import calibrate, excess_of_open
from ncpl.train.fit import fit_family
from ncpl.version import __version__

log = logging.getLogger(__name__)


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
) -> Bundle:
    """Train, calibrate and score a bundle and write it to `folder` with scores.json and README.md.

    With `warm_start`, networks begin with those an older bundle has for the same losses. With
    `resume`, members continue from the checkpoints an earlier call left in the folder.
    Raises SnapshotError when no family has enough training runs.
    """
    begun = time.monotonic()
    deadline = begun + 60 * max_minutes if max_minutes else None
    checkpoints = folder / "checkpoints"
    if not resume and checkpoints.is_dir():
        shutil.rmtree(checkpoints)
    fits, counts = [], {}
    started = {fit.family: fit for fit in warm_start.fits} if warm_start is not None else {}
    for family in runs.families():
        train = runs.where(family=family, split="train").finished()
        if len(train) < config.min_family_runs:
            log.info("%s: %d training runs are too few for a model", family[0], len(train))
            continue
        log.info("%s: %d training runs", family[0], len(train))
        bar = _bar(config, family[0]) if progress else None

        def on_step(member: int, step: int, loss: float, bar: Any = bar) -> None:
            if bar is not None:
                bar.update(1)
            if step % 20 == 0:
                if bar is not None:
                    bar.set_postfix_str(f"member {member + 1}, error {loss:.4f}")
                log.debug("member %d step %d: mean error %.4f nats", member + 1, step, loss)

        fit = fit_family(
            train,
            config,
            seed=seed,
            start=started.get(family),
            points=snapshot.points(train) if config.curve_steps else None,
            diverged=runs.diverged_beside(train),
            deadline=deadline,
            checkpoints=checkpoints,
            on_step=on_step,
        )
        if bar is not None:
            bar.close()
        fit.calibration = excess_of_open(train)
        in_time = deadline is None or time.monotonic() < deadline
        if config.calibration_folds and in_time:
            log.info("%s: measuring interval widths on left-out training groups", family[0])
            fit.calibration |= calibrate(fit, train, config, seed=seed)
        fits.append(fit)
        counts[family[0]] = len(train)
    if not fits:
        raise SnapshotError(
            f"{snapshot.path}: no family of comparable losses has {config.min_family_runs} runs "
            "in the train split; take a snapshot with the ncpl split: ncpl-data snapshot"
        )
    bundle = Bundle(config, fits, snapshot.id)
    bundle.about = {
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "train_seconds": round(time.monotonic() - begun),
        "train_runs": counts,
        "seed": seed,
        "warm_start": warm_start and warm_start.snapshot_id,
        "sources": snapshot.manifest.get("sources", []),
        "versions": {"ncpl": __version__, "torch": torch.__version__},
    }
    rescore(bundle, snapshot, runs)
    bundle.save(folder)
    (folder / "README.md").write_text(render(bundle.card()), encoding="utf-8")
    scores = {"snapshot_id": snapshot.id, "scores": bundle.about["scores"]}
    (folder / "scores.json").write_text(json.dumps(scores, indent=1) + "\n", encoding="utf-8")
    if checkpoints.is_dir():
        shutil.rmtree(checkpoints)
    return bundle


def rescore(bundle: Bundle, snapshot: Snapshot, runs: Runs) -> None:
    """Put the scores on this snapshot's held-out runs on the bundle's card."""
    bundle.about["scored_on"] = snapshot.id
    bundle.about["scores"] = plain(score_table(bundle, runs))
    bundle.about["curve_scores"] = plain(curve_table(bundle, snapshot, runs))
    bundle.about["coverage"] = plain(coverage_table(bundle, runs))
    bundle.about["divergence"] = plain(risk_table(bundle, runs))


def _bar(config: FitConfig, name: str) -> Any:
    from tqdm import tqdm

    return tqdm(total=config.members * config.steps, desc=name, unit="step", leave=False)
