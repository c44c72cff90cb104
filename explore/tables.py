"""What the explorer shows: the tables of a catalog, or of a snapshot, sorted by source and run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from ncpl_data.catalog.tables import table_schemas


@dataclass(frozen=True)
class Tables:
    """Runs with their curves and evaluations, and the data sheets of their sources."""

    runs: pa.Table
    curves: pa.Table
    evals: pa.Table
    splits: Mapping[str, str]
    """Run id -> train, id, ood of the published split, or of the snapshot's own."""
    sources: Mapping[str, Mapping[str, Any]]
    told: str
    """Which state of what this is, for people."""

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """Return the runs as objects, in the order of the table."""
        found: list[dict[str, Any]] = self.runs.to_pylist()
        return found


def read_catalog(folder: Path) -> Tables:
    """Return the newest state of a catalog. Raises InputError if there is none."""
    from ncpl_data.catalog.door import open_catalog
    from ncpl_data.catalog.query import published_splits

    opened = open_catalog(folder)
    splits = published_splits(opened.catalog, opened.manifest).to_pylist()
    return Tables(
        in_order(opened.runs("arrow")),
        in_order(opened.curves("arrow")),
        in_order(opened.evals("arrow")),
        {row["run_id"]: row["split"] for row in splits},
        opened.manifest.sources,
        f"catalog, state {opened.manifest.version}",
    )


def read_snapshot(name: str, catalog: Path) -> Tables:
    """Return a snapshot by path, id, name or "latest", its files held against their hashes.

    Raises SnapshotError if there is none, or a file is damaged.
    """
    from ncpl.data.find import find_snapshot

    snapshot = find_snapshot(name, catalog)
    runs, curves, evals = (
        in_order(empty(name) if (table := snapshot.table(name)) is None else table)
        for name in ("runs", "curves", "evals")
    )
    splits = snapshot.table("splits", ["run_id", "split"])
    listed = snapshot.manifest.get("sources") or []
    sheets = listed if isinstance(listed, dict) else {one["name"]: one for one in listed}
    return Tables(
        runs,
        curves,
        evals,
        {row["run_id"]: row["split"] for row in (splits.to_pylist() if splits else ())},
        sheets,
        f"snapshot {snapshot.id[:12]}",
    )


def empty(name: str) -> pa.Table:
    """Return a table without rows."""
    return table_schemas()[name].empty_table()


def in_order(table: pa.Table) -> pa.Table:
    """Return a table sorted by run; a run's id begins with its source."""
    keys = [name for name in ("run_id", "metric", "task", "step") if name in table.column_names]
    return table.sort_by([(name, "ascending") for name in keys])
