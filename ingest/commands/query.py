"""`ncpl-data query`: SQL over the catalog."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ncpl_data.ingest.options import at_option, catalog_option
from ncpl_data.terminal.console import Console, NumberRange, output_options
from ncpl_data.terminal.tables import table_text

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

BATCH_ROWS = 10_000
TABLE_ROWS = 100

EPILOG = """\b
Views: runs, curves, evals, rejects, ingests, sources, splits (the published NCPL split).
\b
Examples:
  ncpl-data query "select split, count(*) from splits group by 1"
  ncpl-data query "select learning_rate, min(final_loss) from runs group by 1" --format csv
  ncpl-data query "summarize runs" --format jsonl
  ncpl-data query "select count(*) from runs" --at 3        the state after commit 3
"""


@click.command(epilog=EPILOG)
@click.argument("sql")
@click.option(
    "--format",
    "layout",
    type=click.Choice(["table", "csv", "json", "jsonl", "parquet"]),
    help="Layout of the rows. Default: table, or json with --json.",
)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write to a file.")
@click.option(
    "--timeout",
    type=NumberRange(min=0),
    metavar="SECONDS",
    default=600.0,
    show_default=True,
    help="Stop a query that runs longer; 0 for never.",
)
@click.option("--memory-limit", default="2GB", show_default=True, help="Memory a query may use.")
@at_option
@catalog_option
@output_options
def query(
    sql: str,
    layout: str | None,
    out: Path | None,
    timeout: float,
    memory_limit: str,
    at: int | None,
    catalog_folder: Path,
    console: Console,
) -> None:
    """Run one reading SQL statement (DuckDB) over the catalog.

    The statement sees the catalog and nothing else: no files, no network, no settings.
    """
    from ncpl_data.catalog.errors import InputError
    from ncpl_data.catalog.query import connect, reading, run_sql, stream_sql
    from ncpl_data.catalog.store import Catalog

    layout = layout or ("json" if console.as_json else "table")
    if layout == "parquet" and out is None:
        raise click.UsageError("--format parquet needs --out FILE")
    catalog = Catalog(catalog_folder, at)
    if not catalog.manifest().version:
        console.note(f"{catalog_folder} holds no catalog yet: every view is empty")
    con = connect(catalog, sql, memory_limit=memory_limit)
    try:
        with reading(con, timeout):
            if out is not None:
                with whole(out) as part:
                    if layout == "parquet":
                        n = write_parquet(stream_sql(con, sql, BATCH_ROWS), part)
                    else:
                        cursor = run_sql(con, sql)
                        with part.open("w", encoding="utf-8", newline="") as file:
                            n = write_rows(cursor, layout, file, None)
                console.result({"out": str(out), "rows": n}, "")
                return
            cursor = run_sql(con, sql)
            n = write_rows(cursor, layout, sys.stdout, TABLE_ROWS if layout == "table" else None)
            if n > TABLE_ROWS and layout == "table":
                console.note(f"first {TABLE_ROWS} rows; for all: --format csv")
    except OSError as error:
        if out is None:
            raise
        raise InputError(f"could not write {out}: {error.strerror or error}") from error
    finally:
        con.close()


@contextlib.contextmanager
def whole(out: Path) -> Iterator[Path]:
    """Give a path to write to; the file takes its name only when it is complete."""
    if out.is_symlink() or (out.exists() and not out.is_file()):  # as /dev/stdout is
        yield out
        return
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        yield part
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)


def write_rows(
    cursor: duckdb.DuckDBPyConnection, layout: str, file: object, limit: int | None
) -> int:
    """Write a result in batches and return how many rows were read."""
    from ncpl_data.catalog.query import json_value

    names = told_apart([column[0] for column in cursor.description or ()])
    if layout == "table":
        rows = cursor.fetchmany((limit or BATCH_ROWS) + 1)
        shown = [dict(zip(names, row, strict=True)) for row in rows[:limit]]
        print(table_text(shown, names), file=file)  # type: ignore[call-overload]
        return len(rows)
    n = 0
    rows = cursor.fetchmany(BATCH_ROWS)  # before anything is written: it may fail
    writer = csv.writer(file, lineterminator="\n") if layout == "csv" else None  # type: ignore[arg-type]
    if writer:
        writer.writerow(names)
    if layout == "json":
        print("[", end="", file=file)  # type: ignore[call-overload]
    while rows:
        if writer:
            writer.writerows(rows)
        else:
            texts = [
                json.dumps(
                    {k: json_value(v) for k, v in zip(names, row, strict=True)}, ensure_ascii=False
                )
                for row in rows
            ]
            joint, head = (",\n", ",\n" if n else "") if layout == "json" else ("\n", "")
            tail = "" if layout == "json" else "\n"
            print(head + joint.join(texts), end=tail, file=file)  # type: ignore[call-overload]
        n += len(rows)
        rows = cursor.fetchmany(BATCH_ROWS)
    if layout == "json":
        print("]", file=file)  # type: ignore[call-overload]
    return n


def told_apart(names: Sequence[str]) -> list[str]:
    """Return the names of columns; one that repeats gets a number, so that no column is lost."""
    found: list[str] = []
    for name in names:
        n, own = 0, name
        while own in found:
            n += 1
            own = f"{name}_{n}"
        found.append(own)
    return found


def write_parquet(reader: pa.RecordBatchReader, path: Path) -> int:
    """Write a result as one Parquet file, batch by batch, and return its number of rows."""
    import pyarrow.parquet as pq

    n = 0
    with pq.ParquetWriter(path, reader.schema, compression="zstd") as writer:
        for batch in reader:
            writer.write_batch(batch)
            n += batch.num_rows
    return n
