"""Write the tables of a snapshot: streamed, sorted, one file or more for each source."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ncpl_data.catalog.complete import complete_rows
from ncpl_data.catalog.errors import IntegrityError
from ncpl_data.catalog.manifest import DataFile, Manifest
from ncpl_data.catalog.merge import clusters, engine, merged, order_by, rows_of, scan_files
from ncpl_data.catalog.parquet import (
    MAX_FILE_ROWS,
    PartWriter,
    file_sha256,
    has_schema,
    write_parquet,
)
from ncpl_data.catalog.store import Catalog
from ncpl_data.catalog.tables import table_schemas
from ncpl_data.catalog.twins import Merged

FILLS = {"curves": ("metric",), "evals": ("task", "kind")}
"""What a dropped twin may bring: rows of a key the kept run has none of."""
COPY_ROWS = 500_000
"""A file of at least so many rows is copied as it is; smaller ones are joined."""


@dataclass(frozen=True)
class Selection:
    """What a snapshot holds."""

    rows: pa.Table
    """The selected runs with the columns that splits and twins look at, sorted by run."""
    splits: pa.Table
    merged: tuple[Merged, ...]
    all_by_source: dict[str, int]
    """Runs the catalog has of each source, selected or not."""

    @cached_property
    def stands_for(self) -> dict[str, str]:
        """The kept run of each dropped twin."""
        return {twin: m.run_id for m in self.merged for twin in m.dropped}

    def kept_runs(self) -> pa.Table:
        """Return the rows that stand, each with the hash that stands for its twins too."""
        if not self.merged:
            return self.rows
        dropped = pa.array(list(self.stands_for), type=pa.string())
        rows = self.rows.filter(pc.invert(pc.is_in(self.rows["run_id"], dropped)))
        hashes = {m.run_id: m.run_hash for m in self.merged}
        pairs = zip(rows["run_id"].to_pylist(), rows["run_hash"].to_pylist(), strict=True)
        new = pa.array([hashes.get(run_id, own) for run_id, own in pairs], type=pa.string())
        return rows.set_column(rows.schema.get_field_index("run_hash"), "run_hash", new)

    def kept_splits(self) -> pa.Table:
        """Return the split of the rows that stand; a kept run inherits its twins' side."""
        if not self.merged:
            return self.splits
        sides = {row["run_id"]: row for row in self.splits.to_pylist()}
        for twin, kept in self.stands_for.items():
            side = sides.pop(twin, None)
            if side is not None:
                sides.setdefault(kept, side | {"run_id": kept})
        return pa.Table.from_pylist([sides[i] for i in sorted(sides)], schema=self.splits.schema)

    def run_ids(self, source: str) -> pa.Array:
        """Return the ids of the kept runs of one source."""
        rows = self.kept_runs()
        return rows.filter(pc.equal(rows["source"], source))["run_id"].combine_chunks()


def write_tables(
    catalog: Catalog,
    manifest: Manifest,
    selected: Selection,
    draft: Path,
    progress: Callable[[int], object],
) -> dict[str, list[dict[str, Any]]]:
    """Write every table of a snapshot into a folder and return the entries of its files."""
    with engine(draft) as con:
        tables = {"runs": write_runs(con, catalog, manifest, selected, draft)}
        for table in FILLS:
            fills = fills_of(con, catalog, manifest, selected, table)
            tables[table] = []
            for source in sorted({f.source for f in manifest.tables[table]}):
                files = [f for f in manifest.tables[table] if f.source == source]
                with PartWriter(
                    draft, f"{table}/{source}", table_schemas()[table], MAX_FILE_ROWS
                ) as writer:
                    for n_rows in write_source(
                        con, catalog, writer, table, source, files, selected, fills
                    ):
                        progress(n_rows)
                tables[table] += [entry(draft, path) for path in writer.paths]
    path = draft / "splits.parquet"
    write_parquet(selected.kept_splits(), path)
    tables["splits"] = [entry(draft, path)]
    return tables


def entry(draft: Path, path: Path) -> dict[str, Any]:
    """Return a file's entry in the manifest."""
    return {
        "path": path.relative_to(draft).as_posix(),
        "sha256": file_sha256(path),
        "bytes": path.stat().st_size,
        "rows": pq.read_metadata(path).num_rows,
    }


def write_runs(
    con: duckdb.DuckDBPyConnection,
    catalog: Catalog,
    manifest: Manifest,
    selected: Selection,
    draft: Path,
) -> list[dict[str, Any]]:
    """Write the rows that stand."""
    schema = table_schemas()["runs"]
    register(con, "kept", {"run_id": selected.kept_runs()["run_id"]})
    twins = pa.Table.from_pylist(
        [{"run_id": m.run_id, "hash": m.run_hash, "twins": m.same_as} for m in selected.merged],
        schema=pa.schema(
            [("run_id", pa.string()), ("hash", pa.string()), ("twins", pa.list_(pa.string()))]
        ),
    )
    con.register("twins", twins)
    source = scan_files(con, catalog.sources_of(manifest.tables["runs"]), schema)
    sql = (
        "select r.* replace (coalesce(t.hash, r.run_hash) as run_hash, "
        "coalesce(t.twins, r.same_as) as same_as) "
        f"from {source} r semi join kept using (run_id) left join twins t on r.run_id = t.run_id "
        "order by r.run_id"
    )
    with PartWriter(draft, "runs/part", schema, MAX_FILE_ROWS) as writer:
        for rows in rows_of(con, sql, schema):
            writer.add(complete_rows(rows, manifest.submitted))
    return [entry(draft, path) for path in writer.paths]


def register(con: duckdb.DuckDBPyConnection, name: str, columns: dict[str, Any]) -> None:
    """Make columns a table of the connection, in place of one of that name."""
    con.unregister(name)
    con.register(name, pa.table(columns))


def fills_of(
    con: duckdb.DuckDBPyConnection,
    catalog: Catalog,
    manifest: Manifest,
    selected: Selection,
    table: str,
) -> pa.Table | None:
    """Return which keys of which dropped twins fill what their kept runs lack.

    The twins of a run take turns in their order. None where no rows come over.
    """
    if not selected.merged or not manifest.tables[table]:
        return None
    keys = FILLS[table]
    members = [i for m in selected.merged for i in (m.run_id, *m.dropped)]
    register(con, "members", {"run_id": pa.array(members, type=pa.string())})
    source = scan_files(con, catalog.sources_of(manifest.tables[table]), table_schemas()[table])
    columns = ", ".join(("run_id", *keys))
    sql = f"select distinct {columns} from {source} semi join members using (run_id)"
    held: dict[str, set[tuple[str, ...]]] = {}
    for run_id, *key in con.execute(sql).fetchall():
        held.setdefault(run_id, set()).add(tuple(key))
    rows = []
    for m in selected.merged:
        taken = set(held.get(m.run_id, ()))
        for twin in m.dropped:
            new = sorted(held.get(twin, set()) - taken)
            rows += [(twin, m.run_id, *own) for own in new]
            taken.update(new)
    if not rows:
        return None
    names = ("run_id", "kept_id", *keys)
    columns_of = zip(*rows, strict=True)
    return pa.table(
        {n: pa.array(v, type=pa.string()) for n, v in zip(names, columns_of, strict=True)}
    )


def write_source(
    con: duckdb.DuckDBPyConnection,
    catalog: Catalog,
    writer: PartWriter,
    table: str,
    source: str,
    files: Sequence[DataFile],
    selected: Selection,
    fills: pa.Table | None,
) -> Iterator[int]:
    """Write one source's rows of a table, in the table's order; yield how many, as it goes."""
    run_ids = selected.run_ids(source)
    is_whole = len(run_ids) == selected.all_by_source.get(source, 0)
    if is_whole:  # then no run of it is a dropped twin, which could fill another
        for group in clusters(files):
            if len(group) == 1 and can_copy(catalog, group[0], table, n_files=len(files)):
                copy_file(catalog.trusted(group[0]), group[0], writer.next_path())
                yield group[0].rows
                continue
            for rows in merged(con, table, catalog.sources_of(group)):
                writer.add(rows)
                yield rows.num_rows
            writer.end_file_if_large(COPY_ROWS)
        return
    for rows in picked(con, catalog, table, files, run_ids, fills):
        writer.add(rows)
        yield rows.num_rows


def can_copy(catalog: Catalog, file: DataFile, table: str, *, n_files: int) -> bool:
    """Return whether a file may stand in a snapshot as it is."""
    is_large = file.rows >= COPY_ROWS or n_files == 1
    return is_large and has_schema(catalog.trusted(file), table_schemas()[table])


def copy_file(path: Path, file: DataFile, target: Path) -> None:
    """Copy a data file. Raises IntegrityError if it is not what the manifest says."""
    shutil.copyfile(path, target)
    if file_sha256(target) != file.sha256:
        raise IntegrityError(
            f"{path} is altered: its sha256 is not what the manifest says; see: ncpl-data check"
        )


def picked(
    con: duckdb.DuckDBPyConnection,
    catalog: Catalog,
    table: str,
    files: Sequence[DataFile],
    run_ids: pa.Array,
    fills: pa.Table | None,
) -> Iterator[pa.Table]:
    """Yield the rows of some runs, and what dropped twins bring under the kept runs' ids."""
    schema = table_schemas()[table]
    source = scan_files(con, catalog.sources_of(files), schema)
    register(con, "picks", {"run_id": run_ids})
    sql = f"select * from {source} semi join picks using (run_id)"
    if fills is not None:
        con.unregister("fills")
        con.register("fills", fills)
        keys = ", ".join(("run_id", *FILLS[table]))
        sql += (
            f" union all by name select * exclude (kept_id) replace (kept_id as run_id) "
            f"from {source} join fills using ({keys})"
        )
    yield from rows_of(con, f"from ({sql}) {order_by(table)}", schema)
