"""The content hash of stored runs, taken anew from their rows: streamed, in bounded memory.

`Run.content_hash` says what is hashed. Here the same bytes are fed from columns, without a `Run`
in between, because a snapshot does so for every run it freezes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ncpl_data.catalog.canonical import canonical_json, canonical_row
from ncpl_data.catalog.curve import FLOAT64, INT64
from ncpl_data.catalog.errors import IntegrityError
from ncpl_data.catalog.manifest import DataFile, Manifest
from ncpl_data.catalog.merge import clusters, engine, merged, reading_files
from ncpl_data.catalog.parquet import fit_schema
from ncpl_data.catalog.store import Catalog
from ncpl_data.catalog.tables import table_schemas

BATCH_RUNS = 2_000
BATCH_ROWS = 131_072
NO_EVALS = b"[]"
EVALUATION = ("task", "kind", "value", "step", "n_shots", "stderr")

Array = npt.NDArray[Any]


def content_hashes(
    con: duckdb.DuckDBPyConnection,
    catalog: Catalog,
    tables: Mapping[str, Sequence[DataFile]],
) -> Iterator[tuple[str, str, str]]:
    """Yield (run, hash that stands in its row, hash of what its rows say) for runs of one source.

    `tables` are the source's files of `runs`, `curves` and `evals`. Raises IntegrityError if one
    can not be read.
    """
    curves = ByRun(sorted_rows(con, catalog, "curves", tables["curves"]), ("metric",))
    evals = ByRun(sorted_rows(con, catalog, "evals", tables["evals"]), ())
    for rows in sorted_rows(con, catalog, "runs", tables["runs"]):
        for start in range(0, rows.num_rows, BATCH_RUNS):
            for row in stated_rows(rows.slice(start, BATCH_RUNS)):
                written = row.pop("run_hash", "")
                digest = hashlib.sha256(canonical_row(row))
                for segment in curves.take(row["run_id"]):
                    feed_curve(digest, segment)
                digest.update(evals_text(evals.take(row["run_id"])))
                yield row["run_id"], written, digest.hexdigest()


def refuse_false_hashes(catalog: Catalog, manifest: Manifest) -> None:
    """Raise IntegrityError if a run's rows are not those that its hash was taken from.

    Looked at are the sources with a file whose writer does not vouch for its hashes: those of
    older releases, which read files without holding them against their SHA-256. The others' bytes
    are what their writer hashed.
    """
    names = ("runs", "curves", "evals")
    own = [f for table in names for f in manifest.tables[table]]
    for source in sorted({f.source for f in own if not f.hashed}):
        tables = {t: [f for f in manifest.tables[t] if f.source == source] for t in names}
        with engine(None) as con:
            for run_id, written, found in content_hashes(con, catalog, tables):
                if written != found:
                    raise IntegrityError(
                        f"{run_id}: its rows hash to {found[:16]}..., written was "
                        f"{written[:16]}...: they were damaged before this release, which checks "
                        "each read. See all such runs: ncpl-data check --deep; then ingest or "
                        "submit them again"
                    )


def sorted_rows(
    con: duckdb.DuckDBPyConnection, catalog: Catalog, table: str, files: Sequence[DataFile]
) -> Iterator[pa.Table]:
    """Yield the rows of one source's files of a table in the table's order."""
    schema = table_schemas()[table]
    for group in clusters(files):
        files_of = catalog.sources_of(group)
        if len(files_of) > 1:
            yield from merged(con, table, files_of)
            continue
        with reading_files(), pq.ParquetFile(files_of[0][0]) as file:
            for batch in file.iter_batches(BATCH_ROWS):
                yield fit_schema(pa.Table.from_batches([batch]), schema)


def stated_rows(rows: pa.Table) -> Iterator[dict[str, Any]]:
    """Yield each row as a dictionary without its nulls."""
    names = [n for n in rows.column_names if rows[n].null_count < rows.num_rows]
    columns = [rows[n].to_pylist() for n in names]
    for cells in zip(*columns, strict=True):
        yield {n: c for n, c in zip(names, cells, strict=True) if c is not None}


class ByRun:
    """Rows sorted by run, handed out run by run."""

    def __init__(self, stream: Iterator[pa.Table], keys: tuple[str, ...]) -> None:
        """Take the rows; those of one run that agree in `keys` stay together."""
        self.stream = stream
        self.keys = ("run_id", *keys)
        self.held: dict[str, list[pa.Table]] = {}
        self.last = ""
        """The last run of the rows read so far, whose rest may follow; empty at the end."""
        self.is_done = False

    def take(self, run_id: str) -> list[pa.Table]:
        """Return the rows of a run in their order, one table for each value of the keys.

        Runs are to be asked for in ascending order.
        """
        while not self.is_done and self.last <= run_id:
            self.read()
        return joined(self.held.pop(run_id, []), self.keys)

    def read(self) -> None:
        """Read the next batch."""
        rows = next(self.stream, None)
        if rows is None:
            self.is_done = True
            return
        if not rows.num_rows:
            return
        edges = edges_of(rows, self.keys)
        ids = rows["run_id"].take(pa.array(edges[:-1])).to_pylist()
        if ids[0] > self.last:  # what was held is of runs that nobody asked for
            self.held = {k: v for k, v in self.held.items() if k >= self.last}
        for run_id, start, end in zip(ids, edges[:-1], edges[1:], strict=True):
            self.held.setdefault(run_id, []).append(rows.slice(start, end - start))
        self.last = ids[-1]


def edges_of(rows: pa.Table, keys: Sequence[str]) -> list[int]:
    """Return where the values of some columns change, with both ends."""
    n = rows.num_rows
    changes: Array = np.zeros(max(n - 1, 0), dtype=bool)
    for key in keys:
        column = rows[key].combine_chunks()
        differs = pc.not_equal(column.slice(0, n - 1), column.slice(1))
        changes |= differs.to_numpy(zero_copy_only=False)
    return [0, *(np.flatnonzero(changes) + 1).tolist(), n]


def joined(parts: list[pa.Table], keys: tuple[str, ...]) -> list[pa.Table]:
    """Return parts of one run, those joined that a batch's end had cut."""
    if len(keys) == 1:
        return [pa.concat_tables(parts)] if parts else []
    found: list[pa.Table] = []
    for part in parts:
        if found and found[-1][keys[1]][-1].as_py() == part[keys[1]][0].as_py():
            found[-1] = pa.concat_tables([found[-1], part])
        else:
            found.append(part)
    return found


def feed_curve(digest: hashlib._Hash, rows: pa.Table) -> None:
    """Feed the points of one metric into a hash, as `Curve.update` does."""
    digest.update(rows["metric"][0].as_py().encode() + b"\0")
    for name, kind in (("step", INT64), ("tokens", INT64), ("value", FLOAT64)):
        column = rows[name]
        if column.null_count:
            digest.update(b"-")
        else:
            digest.update(len(column).to_bytes(8, "little"))
            digest.update(np.ascontiguousarray(column.to_numpy(), dtype=kind).data)


def evals_text(parts: list[pa.Table]) -> bytes:
    """Return the evaluations of a run as the bytes that its hash covers."""
    if not parts:
        return NO_EVALS
    rows = parts[0].select(list(EVALUATION)).to_pylist()
    texts = sorted(canonical_json({k: v for k, v in e.items() if v is not None}) for e in rows)
    return canonical_json(texts).encode()
