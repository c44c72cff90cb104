"""Compaction: few large sorted files in place of many small ones, the same rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from ncpl_data.catalog.folder import TEMPORARY_PREFIX, discard, write_error
from ncpl_data.catalog.manifest import DataFile, Manifest
from ncpl_data.catalog.merge import clusters, engine, merged
from ncpl_data.catalog.outcome import Outcome
from ncpl_data.catalog.parquet import MAX_FILE_ROWS, PartWriter, fingerprint
from ncpl_data.catalog.store import Catalog, Files
from ncpl_data.catalog.tables import table_schemas

SMALL_FILE_ROWS = MAX_FILE_ROWS // 4


@dataclass(frozen=True)
class Compacted:
    """What a compaction did."""

    files_before: int
    files_after: int
    rewritten: int
    """Files that were replaced."""
    version: int | None
    """The manifest that holds the result; None where nothing was worth doing."""


def compact(catalog: Catalog, *, progress: Callable[[int], object] = lambda _: None) -> Compacted:
    """Merge small and overlapping files of each source and table, and commit.

    Rows, runs and snapshot ids stay as they are. Old files stay until `gc`, so that readers of
    older manifests go on. `progress` is told the rows that were written.
    """
    done: dict[frozenset[str], tuple[DataFile, ...]] = {}
    before: list[DataFile] = []
    after: list[DataFile] = []

    def prepare(manifest: Manifest) -> tuple[Files | None, Outcome]:
        before[:] = [f for files in manifest.tables.values() for f in files]
        tables = dict(manifest.tables)
        with engine(catalog.root) as con:
            for table, files in manifest.tables.items():
                tables[table] = tuple(compact_table(catalog, con, table, files, done, progress))
        after[:] = [f for files in tables.values() for f in files]
        changed = {f.path for f in before} != {f.path for f in after}
        return (tables if changed else None), Outcome()

    if not catalog.manifest().tables["ingests"]:
        return Compacted(0, 0, 0, None)
    outcome = catalog.commit(prepare, "compact")
    kept = {f.path for f in after}
    return Compacted(
        files_before=len(before),
        files_after=len(after),
        rewritten=sum(f.path not in kept for f in before),
        version=outcome.version,
    )


def compact_table(
    catalog: Catalog,
    con: duckdb.DuckDBPyConnection,
    table: str,
    files: Sequence[DataFile],
    done: dict[frozenset[str], tuple[DataFile, ...]],
    progress: Callable[[int], object],
) -> list[DataFile]:
    """Return the files of one table, merged where that helps. `done` remembers over retries."""
    found = []
    for source in sorted({f.source for f in files}):
        for group in worthwhile([f for f in files if f.source == source]):
            if len(group) == 1:
                found += group
                continue
            key = frozenset(f.path for f in group)
            if key not in done:
                done[key] = tuple(rewrite(catalog, con, table, source, group, progress))
            found += done[key]
    return found


def worthwhile(files: Iterable[DataFile]) -> list[list[DataFile]]:
    """Return files in groups to merge; a group of one stays as it is.

    Files with overlapping keys belong together; small neighbours join up to the size of a file.
    """
    groups: list[list[DataFile]] = []
    for cluster in clusters(files):
        rows = sum(f.rows for f in cluster)
        last = sum(f.rows for f in groups[-1]) if groups else 0
        is_small = rows < SMALL_FILE_ROWS or last < SMALL_FILE_ROWS
        if groups and is_small and last + rows <= MAX_FILE_ROWS:
            groups[-1] += cluster
        else:
            groups.append(list(cluster))
    return groups


def rewrite(
    catalog: Catalog,
    con: duckdb.DuckDBPyConnection,
    table: str,
    source: str,
    files: Sequence[DataFile],
    progress: Callable[[int], object],
) -> list[DataFile]:
    """Write the rows of some files again, sorted, and return the new files."""
    draft = catalog.folder.temporary(f"data/{table}/new").name
    folder = catalog.root / "data" / table
    assert draft.startswith(TEMPORARY_PREFIX)  # what a killed compaction leaves is for gc
    trusted = catalog.sources_of(files)
    try:
        with PartWriter(folder, draft, table_schemas()[table], MAX_FILE_ROWS) as writer:
            for rows in merged(con, table, trusted):
                writer.add(rows)
                progress(rows.num_rows)
        hashed = all(f.hashed for f in files)
        columns = fingerprint(table_schemas()[table])
        return [
            replace(finish(catalog, table, source, path), columns=columns, hashed=hashed)
            for path in writer.paths
        ]
    except OSError as error:
        for path in folder.glob(f"{draft}-*"):
            discard(path)
        raise write_error(folder, error) from error


def finish(catalog: Catalog, table: str, source: str, path: Path) -> DataFile:
    """Move one written file to its name by content and return its entry."""
    with pq.ParquetFile(path) as file:
        n_rows = file.metadata.num_rows
        keys = {}
        if "run_id" in file.schema_arrow.names:
            first = file.read_row_group(0, ["run_id"])["run_id"][0].as_py()
            last = file.read_row_group(file.num_row_groups - 1, ["run_id"])["run_id"][-1].as_py()
            keys = {"min": first, "max": last}
    return catalog.put_file(table, source, path, n_rows, keys)
