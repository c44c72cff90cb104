"""The community bundle: a population learned from a snapshot, and every family placed in it."""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from ncpl.data.families import FamilyRuns, families_in
from ncpl.data.snapshot import Runs, Snapshot
from ncpl.errors import SnapshotError
from ncpl.evaluate.community_card import COMPARISONS, render
from ncpl.evaluate.transfer_tasks import draw_tasks, qualifies
from ncpl.evaluate.transfer_widths import measured_tasks, widths_of
from ncpl.model.community import Community, Placed, place
from ncpl.model.population import Population
from ncpl.model.seal import seal
from ncpl.train.population import fit_population
from ncpl.version import __version__

log = logging.getLogger(__name__)
HELD_OUT = ("id", "ood")
LEAST_PLACED = 3
"""Training runs from which a family is placed; with fewer its level says nothing."""
LEAST_SOURCES = 3
"""Sources with a family to learn from without which there is no population."""
MOST_PLACED = 300
"""Runs a family is placed by; more hardly move its law."""


def fit_community(snapshot: Snapshot, runs: Runs | None = None, *, seed: int = 0) -> Community:
    """Return the community bundle of a snapshot, learned from its training runs.

    A run in no part of the split counts as a training run. Interval factors come from families left
    out in turn with all that share a source. Raises SnapshotError when fewer than three sources
    have a family to learn from.
    """
    begun = time.monotonic()
    families = families_in(snapshot, runs)
    train = [training(family) for family in families]
    learned = learned_from(train)
    if len({family.sources for family in learned}) < LEAST_SOURCES:
        raise SnapshotError(
            f"{snapshot.path}: a population needs families of {LEAST_SOURCES} sources or more with "
            "12 runs and 3 sizes; ingest more, then: ncpl-data snapshot --split community"
        )
    log.info("community: %d of %d families to learn from", len(learned), len(families))
    population = fit_population(learned)
    tasks = [task for family in learned for task in draw_tasks(family)]
    widths = widths_of(measured_tasks(learned, tasks, fit_population))
    population = replace(population, widths=widths)
    fits = []
    for family, own in zip(families, train, strict=True):
        if len(own) < LEAST_PLACED:
            log.info("%s: %d training runs are too few to place it", family.name, len(own))
            continue
        fits.append(placed(population, family, own, seed=seed))
    names = {run_id.split("/", 1)[0] for family in families for run_id in family.run_ids}
    about = {
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "train_seconds": round(time.monotonic() - begun),
        "learned_from": [family.name for family in learned],
        "sources": [s for s in snapshot.manifest.get("sources", []) if _name(s) in names],
        "versions": {"ncpl": __version__},
    }
    if COMPARISONS.is_file():
        about["comparisons"] = json.loads(COMPARISONS.read_text(encoding="utf-8"))
    return Community(population, fits, snapshot.id, about)


def _name(source: Any) -> str:
    return (
        str(source.get("name") or source.get("source")) if isinstance(source, dict) else str(source)
    )


def train_community(snapshot: Snapshot, runs: Runs, folder: Path, *, seed: int) -> None:
    """Write the community bundle of a snapshot beside its bundle; none where sources are too few.

    An older one in the folder is removed.
    """
    if folder.is_dir():
        shutil.rmtree(folder)
    try:
        found = fit_community(snapshot, runs, seed=seed)
    except SnapshotError as error:
        log.info("no community bundle: %s", error)
        return
    found.save(folder)
    (folder / "README.md").write_text(render(found.card()), encoding="utf-8")
    seal(folder)


def learned_from(train: Sequence[FamilyRuns]) -> list[FamilyRuns]:
    """Return the families whose training runs a population is learned from."""
    return [family for family in train if qualifies(family)]


def training(family: FamilyRuns) -> FamilyRuns:
    """Return the runs of a family that are in no held-out part."""
    return family.take([i for i, part in enumerate(family.split) if part not in HELD_OUT])


def placed(population: Population, family: FamilyRuns, train: FamilyRuns, *, seed: int) -> Placed:
    """Return a family placed by its training runs, with its errors on every part."""
    chosen: Sequence[int] = range(len(train))
    if len(train) > MOST_PLACED:
        order = np.random.default_rng(seed).permutation(len(train))
        chosen = np.sort(order[:MOST_PLACED]).tolist()
    known = train.take(chosen)
    found = place(population, family.family, known.rows, known.loss, seed=seed)
    parts = {"train": train} | {part: family.where(part) for part in HELD_OUT}
    scores: dict[str, Any] = {}
    for name, part in parts.items():
        if not len(part):
            continue
        answers = found.adapted.predict(part.rows)
        covered = (answers.low <= part.loss) & (part.loss <= answers.high)
        scores[name] = {
            "runs": len(part),
            "mae": round(float(np.abs(answers.loss - part.loss).mean()), 5),
            "coverage": round(float(covered.mean()), 4),
        }
    about = {"sources": sorted(family.sources), "scores": scores, "train_runs": len(train)}
    return Placed(found.family, found.adapted, found.sizes, found.data, about)
