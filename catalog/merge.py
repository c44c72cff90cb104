"""The rows of many sorted files as one sorted stream, in bounded memory."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from ncpl_data.catalog.errors import IntegrityError
from ncpl_data.catalog.folder import write_error
from ncpl_data.catalog.manifest import DataFile
from ncpl_data.catalog.parquet import fingerprint
from ncpl_data.catalog.tables import table_schemas

SORT_KEYS = {
    "runs": ("run_id",),
    "curves": ("run_id", "metric", "step"),
    "evals": ("run_id", "task", "kind", "step", "value"),
    "rejects": ("ref",),
    "ingests": ("at", "ingest_id"),
}
SQL_TYPES = {
    "string": "varchar",
    "int64": "bigint",
    "double": "double",
    "bool": "boolean",
    "timestamp[us, tz=UTC]": "timestamptz",
}
GLOB_LETTERS = re.compile(r"[*?[]")
GLOB_FREE = r"[\g<0>]"
MEMORY_LIMIT = "1500MB"
BATCH_ROWS = 131_072


@contextlib.contextmanager
def engine(spill_into: Path | None) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a connection of bounded memory.

    With a folder to spill into it sorts more than memory holds; without one it writes nothing.
    """
    spill = make_spill(spill_into) if spill_into is not None else ""
    con = duckdb.connect(":memory:")
    try:
        con.execute("set enable_progress_bar = false")  # stdout holds results only
        con.execute(f"set memory_limit = {literal(MEMORY_LIMIT)}")
        con.execute(f"set temp_directory = {literal(spill)}")
        with reading_files():
            yield con
    finally:
        con.close()
        if spill:
            shutil.rmtree(spill, ignore_errors=True)


@contextlib.contextmanager
def reading_files() -> Iterator[None]:
    """Turn a failure to read data files into IntegrityError, a full disk into OSError."""
    try:
        yield
    except (duckdb.Error, pa.ArrowException) as error:
        if "No space left" in str(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
        reason = str(error).partition("\n\n")[0][:500]
        raise IntegrityError(
            f"a data file can not be read: {reason}; see: ncpl-data check"
        ) from error


def make_spill(folder: Path) -> str:
    """Return a fresh folder for what a sort can not hold in memory."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return tempfile.mkdtemp(prefix=".tmp-spill-", dir=folder)
    except OSError as error:
        raise write_error(folder, error) from error


def literal(text: str) -> str:
    """Return a text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def scan(con: duckdb.DuckDBPyConnection, paths: Sequence[Path], schema: pa.Schema) -> str:
    """Return SQL that reads files with exactly the columns of a schema, as a subquery.

    A column that no file has is null. No path may be a glob, so their special letters are quoted.
    """
    if not paths:
        raise ValueError("no file to read")
    listed = ", ".join(map(literal, glob_free_all(paths)))
    named = ", filename = true" if "filename" in schema.names else ""
    source = f"read_parquet([{listed}], union_by_name = true{named})"
    with reading_files():
        known = {row[0] for row in con.execute(f"describe select * from {source}").fetchall()}
    columns = [
        f'"{f.name}"' if f.name in known else f'null::{sql_type(f.type)} as "{f.name}"'
        for f in schema
    ]
    return f"(select {', '.join(columns)} from {source})"


def scan_files(
    con: duckdb.DuckDBPyConnection, files: Sequence[tuple[Path, str | None]], schema: pa.Schema
) -> str:
    """Return SQL that reads files as `scan` does, each given with the fingerprint of its columns.

    Files with all columns, as every release writes them until it adds one, are read without a
    look at what columns each has: that look opens every file one time more.
    """
    whole = fingerprint(schema)
    groups = ([p for p, own in files if own == whole], [p for p, own in files if own != whole])
    parts = []
    if groups[0]:
        listed = ", ".join(map(literal, glob_free_all(groups[0])))
        columns = ", ".join(f'"{f.name}"' for f in schema)
        parts.append(f"(select {columns} from read_parquet([{listed}]))")
    if groups[1]:
        parts.append(scan(con, groups[1], schema))
    return parts[0] if len(parts) == 1 else f"(from {parts[0]} union all from {parts[1]})"


def sql_type(kind: pa.DataType) -> str:
    """Return DuckDB's name of an Arrow type."""
    if pa.types.is_list(kind):
        return f"{sql_type(kind.value_type)}[]"
    if pa.types.is_struct(kind):
        fields = (kind.field(i) for i in range(kind.num_fields))
        return f"struct({', '.join(f'{f.name} {sql_type(f.type)}' for f in fields)})"
    return SQL_TYPES[str(kind)]


def glob_free(path: Path) -> str:
    """Return a path with the letters that mean a pattern put in brackets."""
    return GLOB_LETTERS.sub(GLOB_FREE, str(path.resolve()))


def glob_free_all(paths: Sequence[Path]) -> list[str]:
    """Return many paths as `glob_free` does; a folder they share is looked up once."""
    found, folders = [], {}
    for path in paths:
        folder, _, name = str(path).rpartition(os.sep)
        if folder not in folders:
            folders[folder] = glob_free(Path(folder or os.sep))
        found.append(f"{folders[folder]}/{GLOB_LETTERS.sub(GLOB_FREE, name)}")
    return found


def rows_of(con: duckdb.DuckDBPyConnection, sql: str, schema: pa.Schema) -> Iterator[pa.Table]:
    """Yield the rows of a query in batches, with the types of a schema.

    Raises IntegrityError if a file can not be read.
    """
    with reading_files():
        reader = con.sql(sql).to_arrow_reader(BATCH_ROWS)
        for batch in reader:
            yield pa.Table.from_batches([batch]).cast(schema)


def order_by(table: str) -> str:
    """Return the ORDER BY clause of a table."""
    return "order by " + ", ".join(f'"{key}" nulls first' for key in SORT_KEYS[table])


def clusters(files: Iterable[DataFile]) -> list[list[DataFile]]:
    """Return files in groups: the key ranges of two groups never overlap, groups ascend."""
    groups: list[list[DataFile]] = []
    end = ""
    for file in sorted(files, key=lambda f: (f.min_run_id or "", f.max_run_id or "", f.path)):
        if groups and (file.min_run_id is None or file.min_run_id <= end):
            groups[-1].append(file)
            end = max(end, file.max_run_id or "")
        else:
            groups.append([file])
            end = file.max_run_id or ""
    return groups


def merged(
    con: duckdb.DuckDBPyConnection, table: str, files: Sequence[tuple[Path, str | None]]
) -> Iterator[pa.Table]:
    """Yield the rows of a table's files in the table's order."""
    schema = table_schemas()[table]
    yield from rows_of(con, f"from {scan_files(con, files, schema)} {order_by(table)}", schema)
