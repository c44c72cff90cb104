"""The laws a catalog keeps, checked file by file and row by row."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ncpl_data.catalog.errors import NcplDataError
from ncpl_data.catalog.manifest import DataFile, Manifest, manifest_name, render, versions
from ncpl_data.catalog.merge import engine, scan
from ncpl_data.catalog.parquet import file_sha256
from ncpl_data.catalog.snapshots.read import list_folders
from ncpl_data.catalog.snapshots.verify import snapshot_problems
from ncpl_data.catalog.store import Catalog
from ncpl_data.catalog.stored import stored_runs
from ncpl_data.catalog.tables import table_schemas

MAX_NAMED = 5
"""Runs a problem names before it only counts."""


@dataclass(frozen=True)
class Problem:
    """One law that is broken, and where."""

    law: str
    where: str
    """File, run or manifest."""
    detail: str

    def __str__(self) -> str:
        """Return the problem in one line."""
        return f"{self.where}: {self.detail} [{self.law}]"

    def as_dict(self) -> dict[str, Any]:
        """Return the problem as a JSON object."""
        return asdict(self)


def check_catalog(
    catalog: Catalog,
    *,
    deep: bool = False,
    snapshots: bool = True,
    progress: Callable[[int], object] = lambda _: None,
) -> list[Problem]:
    """Return every broken law; an empty list is a catalog that can be trusted.

    `deep` also builds each run again from its rows and compares its content hash. `progress` is
    told the bytes of each live file that was checked.
    """
    states, problems = read_states(catalog)
    try:
        manifest = catalog.manifest()
    except NcplDataError as error:
        return [*problems, Problem("manifest", catalog.folder.place, str(error))]
    damaged = []
    for table, files in manifest.tables.items():
        for file in files:
            found = list(file_problems(catalog, table, file))
            problems += found
            damaged += [file.path] if found else []
            progress(file.bytes)
    problems += old_file_problems(catalog, manifest, states)
    if not damaged:  # rows of damaged files say nothing
        problems += row_problems(catalog, manifest)
        if deep and not problems:
            problems += content_problems(catalog, manifest)
    if snapshots:
        for path in list_folders(catalog.root / "snapshots"):
            problems += [
                Problem("snapshot", f"snapshots/{path.name}/{where}".rstrip("/"), detail)
                for where, detail in snapshot_problems(path)
            ]
    return problems


def read_states(catalog: Catalog) -> tuple[list[Manifest], list[Problem]]:
    """Return the manifests that can be read, oldest first, and what is wrong with them all."""
    states, problems = [], []
    known = versions(catalog.folder)
    for version in sorted({n + 1 for n in known[:-1]} - set(known)):
        detail = "is missing, although a later one is there; that state can not be read"
        problems.append(Problem("manifest", manifest_name(version), detail))
    for version in known:
        name = manifest_name(version)
        try:
            content = catalog.folder.read(name)
            manifest = Manifest.from_json(content, name)
        except NcplDataError as error:
            problems.append(Problem("manifest", name, str(error)))
            continue
        states.append(manifest)
        if manifest.version != version:
            problems.append(Problem("manifest", name, f"calls itself version {manifest.version}"))
        elif content != render(json.loads(content)):
            detail = "is not written the way this program writes"
            problems.append(Problem("manifest", name, detail))
    return states, problems


def old_file_problems(
    catalog: Catalog, manifest: Manifest, states: Iterable[Manifest]
) -> Iterator[Problem]:
    """Yield the files of other states only that are missing or altered."""
    seen = {f.path for files in manifest.tables.values() for f in files}
    for state in states:
        for file in (f for files in state.tables.values() for f in files):
            if file.path not in seen:
                seen.add(file.path)
                for problem in byte_problems(catalog, file):
                    detail = f"{problem.detail}; it is of state {state.version}"
                    yield Problem(problem.law, problem.where, detail)


def byte_problems(catalog: Catalog, file: DataFile) -> Iterator[Problem]:
    """Yield that a data file is missing or is not what its manifest says."""
    try:
        path = catalog.folder.path(file.path)
    except NcplDataError as error:
        yield Problem("file", file.path, str(error))
        return
    if not path.is_file():
        yield Problem("file", file.path, "is missing, although the manifest lists it")
    elif (digest := file_sha256(path)) != file.sha256:
        yield Problem(
            "file",
            file.path,
            f"is altered: sha256 {digest[:16]}..., the manifest says {file.sha256[:16]}...",
        )


def file_problems(catalog: Catalog, table: str, file: DataFile) -> Iterator[Problem]:
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
            yield Problem(law, file.path, f"has {n:,} rows, the manifest says {file.rows:,}")
        unknown = sorted(set(parquet.schema_arrow.names) - set(schema.names))
        if unknown:
            yield Problem(law, file.path, f"has columns the schema does not know: {unknown}")
        if "run_id" in schema.names:
            yield from order_problems(parquet, file, has_steps=table == "curves")


def order_problems(
    parquet: pq.ParquetFile, file: DataFile, *, has_steps: bool
) -> Iterator[Problem]:
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
            yield Problem("finite values", file.path, "holds a value that is not finite")
    if (low, high) != (file.min_run_id, file.max_run_id):
        yield Problem(
            "file",
            file.path,
            f"holds runs {low} to {high}, the manifest says {file.min_run_id} to {file.max_run_id}",
        )


def neighbour_problems(rows: pa.Table, file: DataFile) -> Iterator[Problem]:
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
            yield Problem(
                "steps increase",
                run[at].as_py(),
                f"{metric[at].as_py()}: step {step[at + 1]} follows step {step[at]} ({file.path})",
            )
    at = pc.index(descends, value=True).as_py()
    if at >= 0:
        yield Problem(law, file.path, f"{following[at].as_py()} follows {run[at].as_py()}")


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


def row_problems(catalog: Catalog, manifest: Manifest) -> Iterator[Problem]:
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
                yield Problem(law, run_id, detail)
            if len(found) > MAX_NAMED:
                yield Problem(law, "and", f"{len(found) - MAX_NAMED:,} more")


def create_view(con: duckdb.DuckDBPyConnection, table: str, paths: list[Path]) -> None:
    """Create a view of a table with the column `filename`."""
    schema = table_schemas()[table].append(pa.field("filename", pa.string()))
    con.execute(f"create view {table} as select * from {scan(con, paths, schema)}")


def content_problems(catalog: Catalog, manifest: Manifest) -> Iterator[Problem]:
    """Yield the runs that, built again from their rows, are not what was written."""
    for source in sorted({f.source for f in manifest.tables["runs"]}):
        for run, written in stored_runs(catalog, manifest, source):
            digest = run.content_hash()
            if digest != written:
                yield Problem(
                    "content hash",
                    run.run_id,
                    f"its rows hash to {digest[:16]}..., written was {written[:16]}...",
                )
