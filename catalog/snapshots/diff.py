"""What changed between two snapshots: runs added, removed and changed, and which fields."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ncpl_data.catalog.parquet import read_parquet
from ncpl_data.catalog.snapshots.read import read_manifest

POINTS = "curves or evals"
"""The field that stands for rows of the other tables."""


@dataclass(frozen=True)
class Difference:
    """How the second of two snapshots differs from the first."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: dict[str, tuple[str, ...]]
    """Changed fields by run."""
    unchanged: int
    moved: dict[str, tuple[str | None, str | None]] = field(default_factory=dict)
    """Side of the split before and after, for runs in both whose side is another."""

    def as_dict(self) -> dict[str, Any]:
        """Return the difference as a JSON object."""
        by_field = Counter(name for names in self.changed.values() for name in names)
        return {
            "added": list(self.added),
            "removed": list(self.removed),
            "changed": {run_id: list(names) for run_id, names in self.changed.items()},
            "changed_by_field": dict(by_field.most_common()),
            "split_changed": {run_id: list(sides) for run_id, sides in self.moved.items()},
            "unchanged": self.unchanged,
        }


def read_table(path: Path, table: str, columns: list[str] | None = None) -> pa.Table:
    """Return one table of a snapshot."""
    parts = [read_parquet(path / f["path"], columns) for f in read_manifest(path)["tables"][table]]
    return pa.concat_tables(parts, promote_options="default")


def difference(first: Path, second: Path) -> Difference:
    """Return what changed from one snapshot folder to another."""
    hashes = [
        dict(zip(*(rows[c].to_pylist() for c in ("run_id", "run_hash")), strict=True))
        for rows in (read_table(p, "runs", ["run_id", "run_hash"]) for p in (first, second))
    ]
    before, after = hashes
    both = sorted(before.keys() & after.keys())
    changed = [run_id for run_id in both if before[run_id] != after[run_id]]
    sides = [
        dict(zip(*(rows[c].to_pylist() for c in ("run_id", "split")), strict=True))
        for rows in (read_table(p, "splits") for p in (first, second))
    ]
    return Difference(
        added=tuple(sorted(after.keys() - before.keys())),
        removed=tuple(sorted(before.keys() - after.keys())),
        changed=dict(changed_fields(first, second, changed)) if changed else {},
        unchanged=len(both) - len(changed),
        moved={
            run_id: (sides[0].get(run_id), sides[1].get(run_id))
            for run_id in both
            if sides[0].get(run_id) != sides[1].get(run_id)
        },
    )


def changed_fields(
    first: Path, second: Path, run_ids: list[str]
) -> list[tuple[str, tuple[str, ...]]]:
    """Return for each run the fields that differ; rows of curves and evaluations as one."""
    wanted = pa.array(run_ids, type=pa.string())
    rows = [
        {
            row.pop("run_id"): row
            for row in (table.filter(pc.is_in(table["run_id"], wanted))).to_pylist()
        }
        for table in (read_table(first, "runs"), read_table(second, "runs"))
    ]
    found = []
    for run_id in run_ids:
        before, after = rows[0][run_id], rows[1][run_id]
        names = sorted(
            name
            for name in {*before, *after} - {"run_hash"}
            if json.dumps(before.get(name)) != json.dumps(after.get(name))
        )
        found.append((run_id, tuple(names) or (POINTS,)))
    return found
