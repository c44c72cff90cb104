"""DuckDB over a catalog: typed views, read-only, closed to everything outside the folder."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from ncpl_data.catalog.comments import VIEWS as VIEW_COMMENTS
from ncpl_data.catalog.comments import column_comments
from ncpl_data.catalog.errors import InputError
from ncpl_data.catalog.manifest import TABLES, Manifest
from ncpl_data.catalog.merge import glob_free, literal, scan_files
from ncpl_data.catalog.splits import (
    COLUMNS,
    COPYING_SOURCES,
    PUBLISHED_SOURCES,
    assign_splits,
)
from ncpl_data.catalog.store import Catalog
from ncpl_data.catalog.tables import table_schemas
from ncpl_data.catalog.twins import COLUMNS as TWIN_COLUMNS
from ncpl_data.catalog.twins import merge_twins

VIEWS = (*TABLES, "runs_double", "sources", "splits")
COUNTS = ("params_", "train_tokens", "nominal_train_tokens", "unique_tokens")
"""How columns start whose counts overflow 64 bits when they are multiplied."""
MEMORY_LIMIT = "2GB"


def connect(
    catalog: Catalog, sql: str | None = None, *, memory_limit: str = MEMORY_LIMIT
) -> duckdb.DuckDBPyConnection:
    """Return a connection with the views of one catalog state.

    Other people's SQL may run on it: it reads data files of the catalog and nothing else, its
    memory is bounded, and its settings are locked. With `sql` only the views it names are made.
    """
    manifest = catalog.manifest()
    con = duckdb.connect(":memory:")
    con.execute("set enable_progress_bar = false")  # stdout holds results only
    try:
        if memory_limit.strip().startswith("-"):  # which would mean: no limit
            raise duckdb.Error
        con.execute(f"set memory_limit = {literal(memory_limit)}")
    except duckdb.Error as error:
        raise InputError(
            f'"{memory_limit}" is no amount of memory; expected a number and a unit, such as 4GB'
        ) from error
    # A text that names no view, such as "show tables", may ask about all of them.
    named = [view for view in VIEWS if view in (sql or "").lower()] or VIEWS
    for view in named:
        if view == "sources":
            create_table(con, "sources", sources_table(manifest))
        elif view == "runs_double":
            create_double_view(con)
        elif view == "splits":
            create_table(con, "splits", published_splits(catalog, manifest))
        else:
            create_view(con, catalog, manifest, view)
    if sql is None or "comment" in sql.lower():
        write_comments(con)
    # Files are named with their special letters in brackets, and so they are looked up.
    folders = sorted({str(catalog.root.resolve()), glob_free(catalog.root)})
    con.execute(f"set allowed_directories = [{', '.join(map(literal, folders))}]")
    for setting in (
        "temp_directory = ''",  # nothing is written, not even to sort
        "autoinstall_known_extensions = false",
        "autoload_known_extensions = false",
        "python_enable_replacements = false",  # variables of this program are no tables
        "enable_external_access = false",
        "lock_configuration = true",
    ):
        con.execute(f"set {setting}")
    return con


def published_splits(catalog: Catalog, manifest: Manifest) -> pa.Table:
    """Return the published split: one row a physical run, as a snapshot chooses it."""
    columns = list(dict.fromkeys([*COLUMNS, *TWIN_COLUMNS]))
    parts = [
        catalog.read("runs", columns, source=source, manifest=manifest)
        for source in (*PUBLISHED_SOURCES, *COPYING_SOURCES)
    ]
    rows = pa.concat_tables(parts)
    splits = assign_splits(rows, "ncpl")
    assigned = set(splits["run_id"].to_pylist())
    merged = merge_twins(rows.select(TWIN_COLUMNS).to_pylist(), assigned)
    dropped = [run_id for one in merged for run_id in one.dropped]
    return splits.filter(pc.invert(pc.is_in(splits["run_id"], pa.array(dropped, pa.string()))))


def create_view(
    con: duckdb.DuckDBPyConnection, catalog: Catalog, manifest: Manifest, table: str
) -> None:
    """Create the view of one table over its live files; an empty table has no file."""
    files = catalog.sources_of(manifest.tables[table])
    schema = table_schemas()[table]
    if not files:
        create_table(con, table, schema.empty_table())
        return
    columns = ", ".join(
        # A time with a zone can not be fetched without one more package; ours are all UTC.
        f'make_timestamp(epoch_us("{f.name}")) as "{f.name}"'
        for f in schema
        if pa.types.is_timestamp(f.type)
    )
    replaced = f" replace ({columns})" if columns else ""
    con.execute(f"create view {table} as select *{replaced} from {scan_files(con, files, schema)}")


def create_double_view(con: duckdb.DuckDBPyConnection) -> None:
    """Create the view of runs whose counts are doubles, over the view `runs`."""
    names = [f.name for f in table_schemas()["runs"] if f.name.startswith(COUNTS)]
    casts = ", ".join(f'"{name}"::double as "{name}"' for name in names)
    con.execute(f"create view runs_double as select * replace ({casts}) from runs")


def create_table(con: duckdb.DuckDBPyConnection, name: str, rows: pa.Table) -> None:
    """Copy an Arrow table into the connection."""
    con.register("incoming", rows)
    con.execute(f"create table {name} as select * from incoming")
    con.unregister("incoming")


def sources_table(manifest: Manifest) -> pa.Table:
    """Return the data sheets of the ingested sources as a table."""
    columns = ("name", "title", "owner", "licence", "citation", "url", "revision")
    rows = [{c: sheet.get(c) for c in columns} for sheet in manifest.sources.values()]
    return pa.Table.from_pylist(rows, schema=pa.schema([(c, pa.string()) for c in columns]))


def write_comments(con: duckdb.DuckDBPyConnection) -> None:
    """Put meaning and unit on views and their columns, where `describe`-like tools find them."""
    found = con.execute(
        "select table_name, table_type, list(column_name) from information_schema.tables "
        "join information_schema.columns using (table_name) group by all"
    ).fetchall()
    for view, kind, columns in found:
        what = "view" if kind == "VIEW" else "table"
        con.execute(f"comment on {what} {view} is {literal(VIEW_COMMENTS[view])}")
        for column, text in column_comments(view).items():
            if column in columns:
                con.execute(f'comment on column {view}."{column}" is {literal(text)}')


def read_only(con: duckdb.DuckDBPyConnection) -> None:
    """Begin a transaction that can only read; an earlier one, which may have failed, ends."""
    with contextlib.suppress(duckdb.Error):
        con.execute("rollback")
    con.execute("begin transaction read only")


def statement(con: duckdb.DuckDBPyConnection, sql: str) -> duckdb.Statement:
    """Return the one reading statement of a text.

    Raises InputError for SQL that is wrong, is more than one statement, or does not only read.
    """
    try:
        sql.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"the SQL is not UTF-8 from character {error.start} on") from error
    try:
        statements = con.extract_statements(sql)
    except duckdb.Error as error:
        raise query_error(error) from error
    if len(statements) != 1:
        raise InputError(f"expected one SQL statement, found {len(statements)}")
    if statements[0].type == duckdb.StatementType.MULTI:
        raise InputError(
            "this statement would be run as several; a pivot needs its values listed: "
            "pivot runs on stage in ('pretrain', 'cpt') using count(*)"
        )
    if statements[0].type != duckdb.StatementType.SELECT:
        raise InputError(
            f"only statements that read are allowed, found {statements[0].type.name}; "
            "start with select, with, from, describe or summarize"
        )
    return statements[0]


def run_sql(con: duckdb.DuckDBPyConnection, sql: str) -> duckdb.DuckDBPyConnection:
    """Run one reading statement and return its cursor; rows stream as they are fetched.

    Raises InputError as `statement` does, and for a query that fails.
    """
    try:
        asked = statement(con, sql)
        read_only(con)
        return con.execute(asked)
    except duckdb.Error as error:
        raise query_error(error) from error


def stream_sql(con: duckdb.DuckDBPyConnection, sql: str, batch_rows: int) -> pa.RecordBatchReader:
    """Run one reading statement and return its rows as Arrow batches, never all in memory."""
    try:
        asked = statement(con, sql)
        read_only(con)
        relation = con.sql(asked)
        return relation.to_arrow_reader(batch_rows)
    except duckdb.Error as error:
        raise query_error(error) from error


def query_error(error: duckdb.Error) -> InputError:
    """Return a failed query as one message that says what to do."""
    text = str(error).strip()
    if isinstance(error, duckdb.InterruptException):
        return InputError("the query was stopped: it ran longer than --timeout allows")
    if isinstance(error, duckdb.OutOfMemoryException):
        first = text.splitlines()[0]
        return InputError(f"the query needs more memory than --memory-limit allows ({first})")
    if "pytz" in text:
        return InputError(
            "the query failed: a time with a zone can not be shown; make it one without: "
            "select make_timestamp(epoch_us(column))"
        )
    if "Overflow in multiplication" in text:
        return InputError(
            "the query failed: counts multiplied overflow 64 bits; take them from the view "
            "runs_double: select 6 * params_non_embedding * train_tokens from runs_double"
        )
    return InputError(f"the query failed: {text} (views: {', '.join(VIEWS)})")


@contextlib.contextmanager
def reading(con: duckdb.DuckDBPyConnection, timeout_seconds: float | None) -> Iterator[None]:
    """Stop whatever runs on a connection after some seconds; late failures become InputError."""
    seconds = min(timeout_seconds or 0.0, threading.TIMEOUT_MAX)
    timer = threading.Timer(seconds, con.interrupt)
    timer.daemon = True
    if timeout_seconds:
        timer.start()
    try:
        yield
    except duckdb.Error as error:
        raise query_error(error) from error
    except pa.ArrowException as error:  # a failure while Arrow batches were fetched
        raise InputError(f"the query failed: {str(error).strip()[:500]}") from error
    finally:
        timer.cancel()


def json_value(value: Any) -> Any:
    """Return a query's value as JSON types."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return str(value)
    return value
