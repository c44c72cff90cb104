"""The laws a catalog keeps, checked file by file and row by row."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ncpl_data.catalog.chain import (
    HISTORY,
    CatalogProblem,
    data_files,
    history_problems,
    manifest_problems,
    read_chain,
)
from ncpl_data.catalog.errors import NcplDataError
from ncpl_data.catalog.history import states
from ncpl_data.catalog.manifest import DataFile, Manifest
from ncpl_data.catalog.merge import engine, scan
from ncpl_data.catalog.parquet import file_sha256
from ncpl_data.catalog.snapshots.read import list_folders
from ncpl_data.catalog.snapshots.verify import snapshot_problems
from ncpl_data.catalog.store import Catalog
from ncpl_data.catalog.stored import stored_runs
from ncpl_data.catalog.tables import table_schemas

MAX_NAMED = 5
"""Runs a problem names before it only counts."""


def check_catalog(
    catalog: Catalog,
    *,
    deep: bool = False,
    snapshots: bool = True,
    progress: Callable[[int], object] = lambda _: None,
) -> list[CatalogProblem]:
    """Return every broken law; an empty list is a catalog that can be trusted.

    `deep` also builds each run again from its rows and compares its content hash. `progress` is
    told the bytes of each live file that was checked.
    """
    older = OldFiles(catalog)
    chain = read_chain(catalog.folder, older.passing())
    problems = history_problems(catalog.folder, chain)
    problems += manifest_problems(catalog.folder)
    try:
        manifest = catalog.manifest()
    except NcplDataError as error:
        told = any(str(error) == p.detail or p.law == HISTORY for p in problems)
        return (
            problems if told else [*problems, CatalogProblem("manifest", "manifests", str(error))]
        )
    damaged = []
    for table, files in manifest.tables.items():
        for file in files:
            found = list(file_problems(catalog, table, file))
            problems += found
            damaged += [file.path] if found else []
            progress(file.bytes)
    live = {f.path for files in manifest.tables.values() for f in files}
    problems += (p for p in older.problems(live) if p.where not in chain.acknowledged)
    if not damaged:  # rows of damaged files say nothing
        problems += row_problems(catalog, manifest)
        if deep and not problems:
            problems += content_problems(catalog, manifest)
    if snapshots:
        for path in list_folders(catalog.root / "snapshots"):
            problems += [
                CatalogProblem("snapshot", f"snapshots/{path.name}/{where}".rstrip("/"), detail)
                for where, detail in snapshot_problems(path)
            ]
    return problems


class OldFiles:
    """The files of all states, with one state that lists each."""

    def __init__(self, catalog: Catalog) -> None:
        """Begin with none."""
        self.catalog = catalog
        self.listed: dict[str, tuple[int, DataFile]] = {}

    def passing(self) -> Iterator[tuple[int, Manifest | NcplDataError]]:
        """Yield each state, newest first, and remember its files."""
        for version, state in states(self.catalog.folder):
            if isinstance(state, Manifest):
                for file in (f for files in state.tables.values() for f in files):
                    self.listed[file.path] = (version, file)
            yield version, state

    def problems(self, live: Collection[str]) -> Iterator[CatalogProblem]:
        """Yield the files of other states only that are missing or altered."""
        for path, (version, file) in self.listed.items():
            if path not in live:
                for problem in byte_problems(self.catalog, file):
                    detail = f"{problem.detail}; it is of state {version}"
                    yield CatalogProblem(problem.law, problem.where, detail)


def n_unlisted(catalog: Catalog) -> int:
    """Return how many data files no state that can be read lists."""
    older = OldFiles(catalog)
    for _ in older.passing():
        pass
    return sum(name not in older.listed for name in data_files(catalog.folder))


def byte_problems(catalog: Catalog, file: DataFile) -> Iterator[CatalogProblem]:
    """Yield that a data file is missing or is not what its manifest says."""
    try:
        path = catalog.folder.path(file.path)
    except NcplDataError as error:
        yield CatalogProblem("file", file.path, str(error))
        return
    if not path.is_file():
        yield CatalogProblem("file", file.path, "is missing, although the manifest lists it")
    elif (digest := file_sha256(path)) != file.sha256:
        yield CatalogProblem(
            "file",
            file.path,
            f"is altered: sha256 {digest[:16]}..., the manifest says {file.sha256[:16]}...",
        )


def file_problems(catalog: Catalog, table: str, file: DataFile) -> Iterator[CatalogProblem]:
    """Yield what is wrong with one live data file: its bytes, or what they hold."""
    found = list(byte_problems(catalog, file))
    yield from found
    if found:
        return
    law, path = "file", catalog.folder.path(file.path)
    schema = table_schemas()[table]
    with pq.ParquetFile(path) as parquet:
        if parquet.metadata.num_rows != file.rows:
            n = parquet.metadata.num_rows
            yield CatalogProblem(law, file.path, f"has {n:,} rows, the manifest says {file.rows:,}")
        unknown = sorted(set(parquet.schema_arrow.names) - set(schema.names))
        if unknown:
            yield CatalogProblem(law, file.path, f"has columns the schema does not know: {unknown}")
        if "run_id" in schema.names:
            yield from order_problems(parquet, file, has_steps=table == "curves")


def order_problems(
    parquet: pq.ParquetFile, file: DataFile, *, has_steps: bool
) -> Iterator[CatalogProblem]:
    """Yield where rows are out of order, outside the key range, or steps do not increase."""
    columns = ["run_id", "metric", "step", "value"] if has_steps else ["run_id"]
    last: pa.Table | None = None
    low = high = None
    for batch in parquet.iter_batches(columns=columns):
        rows = pa.Table.from_batches([batch])
        keys = pc.min_max(rows["run_id"]).as_py()
        low = keys["min"] if low is None else min(low, keys["min"])
        high = keys["max"] if high is None else max(high, keys["max"])
        both = rows if last is None else pa.concat_tables([last, rows])
        last = rows.slice(rows.num_rows - 1)
        yield from neighbour_problems(both.combine_chunks(), file)
        if has_steps and not pc.all(pc.is_finite(rows["value"])).as_py():
            yield CatalogProblem("finite values", file.path, "holds a value that is not finite")
    if (low, high) != (file.min_run_id, file.max_run_id):
        yield CatalogProblem(
            "file",
            file.path,
            f"holds runs {low} to {high}, the manifest says {file.min_run_id} to {file.max_run_id}",
        )


def neighbour_problems(rows: pa.Table, file: DataFile) -> Iterator[CatalogProblem]:
    """Yield the first pair of rows that is out of order."""
    n = rows.num_rows - 1
    if n < 1:
        return
    run, following = rows["run_id"].slice(0, n), rows["run_id"].slice(1)
    descends = pc.greater(run, following)
    law, same = "sorted rows", pc.equal(run, following)
    if "metric" in rows.column_names:
        metric, next_metric = rows["metric"].slice(0, n), rows["metric"].slice(1)
        descends = pc.or_(descends, pc.and_(same, pc.greater(metric, next_metric)))
        same = pc.and_(same, pc.equal(metric, next_metric))
        step = rows["step"].to_numpy()
        stalls = same.to_numpy() & (np.diff(step) <= 0)
        if stalls.any():
            at = int(np.argmax(stalls))
            yield CatalogProblem(
                "steps increase",
                run[at].as_py(),
                f"{metric[at].as_py()}: step {step[at + 1]} follows step {step[at]} ({file.path})",
            )
    at = pc.index(descends, value=True).as_py()
    if at >= 0:
        yield CatalogProblem(law, file.path, f"{following[at].as_py()} follows {run[at].as_py()}")


ROW_LAWS = {
    "one row a run": (
        ("runs",),
        "select run_id, 'has ' || count(*) || ' rows in runs' from runs "
        "group by 1 having count(*) > 1",
    ),
    "no curve without its run": (
        ("runs", "curves"),
        "select run_id, 'has curve points but no row in runs' from "
        "(select distinct run_id from curves) anti join runs using (run_id)",
    ),
    "no evaluation without its run": (
        ("runs", "evals"),
        "select run_id, 'has evaluations but no row in runs' from "
        "(select distinct run_id from evals) anti join runs using (run_id)",
    ),
    "one curve a metric": (
        ("curves",),
        "select run_id, metric || ' lies in ' || count(*) || ' files' from "
        "(select distinct filename, run_id, metric from curves) "
        "group by run_id, metric having count(*) > 1",
    ),
    "a run belongs to its source": (
        ("runs",),
        "select run_id, 'is of source ' || source from runs "
        "where not starts_with(run_id, source || '/')",
    ),
    # A source may count the tokens before or after the step, hence one batch of slack.
    "tokens = batch x sequence x step": (
        ("runs",),
        "select run_id, 'train_tokens is ' || train_tokens || ', batch x sequence x steps is ' "
        "|| batch_size_sequences * sequence_length * train_steps from runs "
        "where batch_ramp is null and abs(train_tokens - "
        "batch_size_sequences * sequence_length * train_steps) "
        "> batch_size_sequences * sequence_length",
    ),
    "curve tokens = batch x sequence x step": (
        ("runs", "curves"),
        "select run_id, metric || ': ' || count(*) || ' points, the first at step ' || "
        "min(step) || ' with ' || arg_min(c.tokens, step) || ' tokens' from curves c "
        "join runs r using (run_id) where batch_ramp is null and branch_step is null and "
        "abs(c.tokens - batch_size_sequences * sequence_length * step) "
        "> batch_size_sequences * sequence_length group by run_id, metric",
    ),
}


def row_problems(catalog: Catalog, manifest: Manifest) -> Iterator[CatalogProblem]:
    """Yield the laws that rows of several files or tables break together."""
    with engine(None) as con:
        present = set()
        for table in ("runs", "curves", "evals"):
            paths = catalog.paths(table, manifest)
            if paths:
                create_view(con, table, paths)
                present.add(table)
        for law, (tables, sql) in ROW_LAWS.items():
            if not set(tables) <= present:
                continue
            found = con.execute(f"select * from ({sql}) order by 1, 2").fetchall()
            for run_id, detail in found[:MAX_NAMED]:
                yield CatalogProblem(law, run_id, detail)
            if len(found) > MAX_NAMED:
                yield CatalogProblem(law, "and", f"{len(found) - MAX_NAMED:,} more")


def create_view(con: duckdb.DuckDBPyConnection, table: str, paths: list[Path]) -> None:
    """Create a view of a table with the column `filename`."""
    schema = table_schemas()[table].append(pa.field("filename", pa.string()))
    con.execute(f"create view {table} as select * from {scan(con, paths, schema)}")


def content_problems(catalog: Catalog, manifest: Manifest) -> Iterator[CatalogProblem]:
    """Yield the runs that, built again from their rows, are not what was written."""
    for source in sorted({f.source for f in manifest.tables["runs"]}):
        for run, written in stored_runs(catalog, manifest, source):
            digest = run.content_hash()
            if digest != written:
                yield CatalogProblem(
                    "content hash",
                    run.run_id,
                    f"its rows hash to {digest[:16]}..., written was {written[:16]}...",
                )
