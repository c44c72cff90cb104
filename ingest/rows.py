"""Rows of a query as text or Parquet, written as they come."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ncpl_data.catalog.errors import InputError
from ncpl_data.terminal.tables import table_text, visible

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

BATCH_ROWS = 10_000
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
"""A spreadsheet takes a cell that begins so for a formula, or looks behind the blank."""


class Sink:
    """A file that counts what is written and stops at a limit."""

    def __init__(self, file: IO[bytes], max_bytes: int) -> None:
        """Take the file and the most bytes it may get; 0 for any number."""
        self.file = file
        self.max_bytes = max_bytes
        self.n_bytes = 0

    def write(self, text: str) -> int:
        """Write a text. Raises InputError above the limit."""
        content = text.encode("utf-8", "surrogatepass")
        self.n_bytes += len(content)
        refuse_large(self.n_bytes, self.max_bytes)
        self.file.write(content)
        return len(text)


def refuse_large(n_bytes: int, max_bytes: int) -> None:
    """Raise InputError for a result above a limit."""
    if max_bytes and n_bytes > max_bytes:
        raise InputError(
            f"the result is larger than --max-result allows ({max_bytes:,} bytes); select less, "
            "or allow more"
        )


def write_rows(
    cursor: duckdb.DuckDBPyConnection,
    layout: str,
    sink: Sink,
    limit: int | None,
    *,
    is_raw: bool = False,
) -> int:
    """Write a result in batches and return how many rows were read.

    Cells of CSV are safe in a spreadsheet, unless `is_raw`.
    """
    names = told_apart([column[0] for column in cursor.description or ()])
    if layout == "table":
        rows = cursor.fetchmany((limit or BATCH_ROWS) + 1)
        shown = [dict(zip(names, row, strict=True)) for row in rows[:limit]]
        sink.write(table_text(shown, names) + "\n")
        return len(rows)
    n = 0
    rows = cursor.fetchmany(BATCH_ROWS)  # before anything is written: it may fail
    writer = csv.writer(sink, lineterminator="\n") if layout == "csv" else None
    if writer:
        writer.writerow(names if is_raw else map(safe_cell, names))
    if layout == "json":
        sink.write("[")
    while rows:
        if writer:
            writer.writerows(rows if is_raw else (map(safe_cell, row) for row in rows))
        else:
            sink.write(json_rows(rows, names, layout, is_first=not n))
        n += len(rows)
        rows = cursor.fetchmany(BATCH_ROWS)
    if layout == "json":
        sink.write("]\n")
    return n


def json_rows(
    rows: Sequence[Sequence[Any]], names: Sequence[str], layout: str, *, is_first: bool
) -> str:
    """Return rows as JSON objects: a part of one list, or a line each."""
    from ncpl_data.catalog.query import json_value

    texts = (
        json.dumps({k: json_value(v) for k, v in zip(names, row, strict=True)}, ensure_ascii=False)
        for row in rows
    )
    if layout == "json":
        return ("" if is_first else ",\n") + ",\n".join(texts)
    return "\n".join(texts) + "\n"


def safe_cell(value: Any) -> Any:
    """Return a cell that no spreadsheet runs and no terminal obeys.

    A text that begins like a formula gets an apostrophe in front, control characters are spelt
    out. Numbers stay numbers.
    """
    if value is None or isinstance(value, (int, float)):
        return value
    text = visible(str(value))
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


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


def write_parquet(reader: pa.RecordBatchReader, path: Path, max_bytes: int) -> int:
    """Write a result as one Parquet file, batch by batch, and return its number of rows."""
    import pyarrow.parquet as pq

    n = n_bytes = 0
    with pq.ParquetWriter(path, reader.schema, compression="zstd") as writer:
        for batch in reader:
            n_bytes += batch.nbytes
            refuse_large(n_bytes, max_bytes)
            writer.write_batch(batch)
            n += batch.num_rows
    return n
