"""One physical run seen through several sources: which runs are twins, and which row stands.

The rule of a snapshot: of several selected rows of one physical run one is kept. A row with a
final loss stands before one without, a whole log before one that stops early, what an adapter read
before what somebody submitted, the owner's record before a copy, a run that a published split names
before one it does not, then the run most others point to, then the smaller id. What the dropped
rows know and the kept one does not is not lost: a curve of a metric the kept run lacks, and an
evaluation of a task it lacks, come over under the kept run's id; their column `source` still says
where they are from. The kept row's `same_as` names every dropped row.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]

COLUMNS = ("run_id", "run_hash", "same_as", "is_copy", "status", "final_loss")
"""Columns of `runs` that `merge_twins` reads."""


@dataclass(frozen=True)
class Merged:
    """Twins that became one row."""

    run_id: str
    """The row that stands."""
    run_hash: str
    """Hash of the contents of all twins: it takes the place of the kept row's own."""
    same_as: tuple[str, ...]
    dropped: tuple[str, ...]
    """In the order in which they may fill what the kept run lacks."""


def physical_runs(rows: Iterable[Row]) -> dict[str, str]:
    """Return for each run the smallest id of its physical run, by union over `same_as`.

    Two runs that point to the same third are twins, even if the third is not among the rows.
    """
    parent: dict[str, str] = {}

    def root(run_id: str) -> str:
        parent.setdefault(run_id, run_id)
        while parent[run_id] != run_id:
            parent[run_id] = parent[parent[run_id]]
            run_id = parent[run_id]
        return run_id

    run_ids = []
    for row in rows:
        run_ids.append(row["run_id"])
        for twin in row["same_as"] or ():
            one, other = sorted((root(row["run_id"]), root(twin)))
            parent[other] = one
    return {run_id: root(run_id) for run_id in run_ids}


def lineages(rows: Iterable[Row]) -> dict[str, str]:
    """Return for each run the smallest id of its lineage: its twins and all that branch off.

    By union over `same_as` and `parent_run_id`, parents that are not among the rows included. A
    branch shares its parent's weights and the head of its curve, so no split may part the two.
    """
    return physical_runs(
        {"run_id": row["run_id"], "same_as": (*(row["same_as"] or ()), row["parent_run_id"])}
        if row.get("parent_run_id")
        else row
        for row in rows
    )


def merge_twins(
    rows: Sequence[Row], assigned: Collection[str], submitted: Collection[str] = ()
) -> list[Merged]:
    """Return the twins among rows with the columns `COLUMNS`, each with the row that stands.

    `assigned` holds the ids of runs that a split names, `submitted` the sources of submissions.
    """
    physical = physical_runs(rows)
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(physical[row["run_id"]], []).append(row)
    found = []
    for _, twins in sorted(groups.items()):
        if len(twins) == 1:
            continue
        links = Counter(twin for row in twins for twin in row["same_as"] or ())
        first, *others = sorted(twins, key=lambda row: rank(row, assigned, submitted, links))
        names = {twin for row in twins for twin in (row["run_id"], *(row["same_as"] or ()))}
        found.append(
            Merged(
                run_id=first["run_id"],
                run_hash=hash_of([first, *others]),
                same_as=tuple(sorted(names - {first["run_id"]})),
                dropped=tuple(row["run_id"] for row in others),
            )
        )
    return found


def rank(
    row: Row, assigned: Collection[str], submitted: Collection[str], links: Mapping[str, int]
) -> tuple[Any, ...]:
    """Return the key by which twins are ordered; the least stands.

    Anybody may submit a run and say that it is a published one.
    """
    return (
        row["final_loss"] is None,
        row.get("status") == "truncated",
        row["run_id"].partition("/")[0] in submitted,
        row["is_copy"] is True,
        row["run_id"] not in assigned,
        -links.get(row["run_id"], 0),
        row["run_id"],
    )


def hash_of(twins: Iterable[Row]) -> str:
    """Return the hash of the contents of twins, in their order."""
    digest = hashlib.sha256(b"twins\0")
    for row in twins:
        digest.update(f"{row['run_id']}\0{row['run_hash']}\0".encode())
    return digest.hexdigest()
