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
import numpy.typing as npt

from ncpl.data.families import HELD_OUT, FamilyRuns, families_in, name_of, unread_families
from ncpl.data.sizes import size_of, worth_of
from ncpl.data.snapshot import Runs, Snapshot
from ncpl.errors import SnapshotError
from ncpl.evaluate.community_card import COMPARISONS, render
from ncpl.evaluate.transfer_tasks import draw_tasks, qualifies
from ncpl.evaluate.transfer_widths import measured_tasks, widths_of
from ncpl.model.community import Community, Placed, place
from ncpl.model.law_inputs import Array
from ncpl.model.population import Population
from ncpl.model.seal import seal
from ncpl.train.population import fit_population
from ncpl.version import __version__

log = logging.getLogger(__name__)
LEAST_SOURCES = 3
"""Sources with a family to learn from without which there is no population."""
LEAST_GROUP = 3
"""Runs of one size and data that are told of as a group."""
MOST_PLACED = 300
"""Runs a family is placed by; more hardly move its law."""


def fit_community(snapshot: Snapshot, runs: Runs | None = None, *, seed: int = 0) -> Community:
    """Return the community bundle of a snapshot, learned from its training runs.

    A run in no part of the split counts as a training run. Interval factors come from families left
    out in turn with all that share a source. Raises SnapshotError when fewer than three sources
    have a family to learn from.
    """
    begun = time.monotonic()
    runs = snapshot.runs() if runs is None else runs
    families = families_in(snapshot, runs)
    train = [family.training() for family in families]
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
    fits = [
        placed(population, family, own, seed=seed)
        for family, own in zip(families, train, strict=True)
    ]
    names = {run_id.split("/", 1)[0] for family in families for run_id in family.run_ids}
    about = {
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "train_seconds": round(time.monotonic() - begun),
        "learned_from": [family.name for family in learned],
        "not_placed": {
            name_of(family): why for family, why in unread_families(snapshot, runs).items()
        },
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


def worst_group(
    part: FamilyRuns, error: Array, covered: npt.NDArray[np.bool_]
) -> dict[str, Any] | None:
    """Return the runs of one size and data of which most is missed; None without LEAST_GROUP."""
    groups: dict[str, list[int]] = {}
    for i, row in enumerate(part.rows):
        groups.setdefault(f"{size_of(row):.2g} on {worth_of(row):.2g} tokens", []).append(i)
    large = {name: at for name, at in groups.items() if len(at) >= LEAST_GROUP}
    if not large:
        return None
    name = max(large, key=lambda group: float(error[large[group]].mean()))
    return {
        "group": name,
        "runs": len(large[name]),
        "mae": round(float(error[large[name]].mean()), 5),
        "coverage": round(float(covered[large[name]].mean()), 4),
    }


def placed(population: Population, family: FamilyRuns, train: FamilyRuns, *, seed: int) -> Placed:
    """Return a family placed by its training runs, with its errors on every part."""
    known = train.some(MOST_PLACED, seed=seed)
    found = place(population, family.family, known.rows, known.loss, seed=seed)
    parts = {"train": train} | {part: family.where(part) for part in HELD_OUT}
    scores: dict[str, Any] = {}
    for name, part in parts.items():
        if not len(part):
            continue
        answers = found.adapted.predict(part.rows)
        covered = answers.covers(part.loss)
        error = np.abs(answers.loss - part.loss)
        scores[name] = {
            "runs": len(part),
            "mae": round(float(error.mean()), 5),
            "coverage": round(float(covered.mean()), 4),
            "worst_group": worst_group(part, error, covered),
        }
    about = {
        "sources": sorted(family.sources),
        "scores": scores,
        "train_runs": len(train),
        "n_sizes": len({round(size_of(row)) for row in train.rows}),
    }
    return Placed(found.family, found.adapted, found.sizes, found.data, about)
