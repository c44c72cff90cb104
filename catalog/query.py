"""DuckDB over a catalog: typed views, read-only, closed to everything outside the folder."""

from __future__ import annotations

import json
from typing import Any

import duckdb
import pyarrow as pa

from ncpl_data.catalog.errors import InputError
from ncpl_data.catalog.manifest import TABLES, Manifest
from ncpl_data.catalog.splits import COLUMNS, assign_splits
from ncpl_data.catalog.store import Catalog
from ncpl_data.catalog.tables import table_schemas
from ncpl_data.schema.fields import run_fields

VIEWS = (*TABLES, "sources", "splits")


def connect(catalog: Catalog) -> duckdb.DuckDBPyConnection:
    """Return a connection with the views of one catalog state.

    Other people's SQL may run on it: it reads files of the catalog folder and nothing else, and
    its settings are locked.
    """
    manifest = catalog.manifest()
    con = duckdb.connect(":memory:")
    for table in TABLES:
        create_view(con, catalog, manifest, table)
    create_table(con, "sources", sources_table(manifest))
    runs = catalog.read("runs", COLUMNS, manifest=manifest)
    create_table(con, "splits", assign_splits(runs, "ncpl"))
    comment_columns(con)
    folder = str(catalog.root.resolve()).replace("'", "''")
    con.execute(f"set allowed_directories = ['{folder}']")
    con.execute("set enable_external_access = false")
    con.execute("set lock_configuration = true")
    return con


def create_view(
    con: duckdb.DuckDBPyConnection, catalog: Catalog, manifest: Manifest, table: str
) -> None:
    """Create the view of one table over its live files; an empty table has no file."""
    paths = [str(path.resolve()) for path in catalog.paths(table, manifest)]
    if not paths:
        create_table(con, table, table_schemas()[table].empty_table())
        return
    listed = ", ".join("'" + path.replace("'", "''") + "'" for path in paths)
    con.execute(f"create view {table} as select * from read_parquet([{listed}])")


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


def comment_columns(con: duckdb.DuckDBPyConnection) -> None:
    """Put meaning and unit on each column of `runs`, where `describe`-like tools find them."""
    (kind,) = con.execute(
        "select table_type from information_schema.tables where table_name = 'runs'"
    ).fetchone() or ("VIEW",)
    if kind != "VIEW":
        return
    for field in run_fields():
        text = field.description + (f" Unit: {field.unit}." if field.unit else "")
        quoted = text.replace("'", "''")
        con.execute(f"comment on column runs.{field.column} is '{quoted}'")


def run_sql(con: duckdb.DuckDBPyConnection, sql: str) -> duckdb.DuckDBPyConnection:
    """Run one reading statement and return its cursor.

    Raises InputError for SQL that is wrong, is more than one statement, or does not only read.
    """
    try:
        statements = con.extract_statements(sql)
        if len(statements) != 1:
            raise InputError(f"expected one SQL statement, found {len(statements)}")
        if statements[0].type != duckdb.StatementType.SELECT:
            raise InputError(
                f"only statements that read are allowed, found {statements[0].type.name}; "
                "start with select, with, from, describe or summarize"
            )
        return con.execute(statements[0])
    except duckdb.Error as error:
        raise InputError(
            f"the query failed: {str(error).strip()} (views: {', '.join(VIEWS)})"
        ) from error


def json_value(value: Any) -> Any:
    """Return a query's value as JSON types."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return str(value)
    return value
