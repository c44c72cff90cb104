"""Rows of small published tables: Parquet files read whole, with their place for messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ncpl_data.catalog.errors import RawFileError


def parquet_rows(path: Path, source: str, columns: Sequence[str]) -> list[dict[str, Any]]:
    """Return the rows of a Parquet file, the named columns only.

    Raises RawFileError if it is no Parquet file or lacks a column.
    """
    try:
        rows: list[dict[str, Any]] = pq.read_table(path, columns=list(columns)).to_pylist()
    except (pa.ArrowInvalid, OSError) as error:
        raise RawFileError(
            f"{source} {path.name}: expected a Parquet file with columns {', '.join(columns)} "
            f"({error}). Take it again from the source",
            source=source,
            file=path.name,
        ) from error
    if rows and len(rows[0]) != len(columns):
        missing = sorted(set(columns) - set(rows[0]))
        raise RawFileError(
            f"{source} {path.name}: no column {', '.join(missing)}. Take it again from the source",
            source=source,
            file=path.name,
        )
    return rows


def read_shipped_table(path: Path, schema: pa.Schema, source: str) -> pa.Table:
    """Return a table of the package, with the columns of a schema.

    Raises RawFileError if the file is not that table.
    """
    try:
        return pq.read_table(path, columns=schema.names)
    except (pa.ArrowInvalid, OSError) as error:
        raise RawFileError(
            f"{source} {path.name}: not the shipped table ({error}). Install the program again",
            source=source,
            file=path.name,
        ) from error


def whole(value: float) -> int | None:
    """Return a whole number that a table keeps as a float; None if it is not whole."""
    return int(value) if value == int(value) else None


def open_fields(namespace: str, row: Mapping[str, Any], columns: Sequence[str]) -> dict[str, Any]:
    """Return columns without a field of the schema, each under its owner's namespace."""
    return {f"{namespace}.{column}": row[column] for column in columns}
