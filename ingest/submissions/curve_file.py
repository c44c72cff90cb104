"""Curves kept beside a document, as CSV or Parquet with columns metric, step, tokens, value."""

from __future__ import annotations

import csv
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ncpl_data.ingest.submissions.limits import LIMITS, Limits
from ncpl_data.schema.validate import Problem

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = ("metric", "step", "tokens", "value")
POINTER = "/curves/file"
BLOCK_BYTES = 1 << 20
ROWS_A_LOOK = 10_000
"""After so many rows the clock is looked at."""

Curves = list[dict[str, Any]]


class CurveFileError(ValueError):
    """A curve file that can not be used."""

    def __init__(self, rule: str, found: str, expected: str, hint: str | None = None) -> None:
        """Keep the problem."""
        super().__init__(found)
        self.problem = Problem(POINTER, rule, found, expected, hint)


def read_curve_file(folder: Path, name: str, limits: Limits = LIMITS) -> Curves:
    """Return the curves of a file, as a document has them inline.

    Raises CurveFileError for a file outside the folder, of another type or with other columns,
    for rows that are no points, and for more of anything than the limits allow.
    """
    path = folder / name
    try:
        resolved = path.resolve(strict=True)
    except (OSError, RuntimeError):
        raise CurveFileError("file", f'no file "{name}"', f"a file inside {folder}") from None
    if not resolved.is_relative_to(folder.resolve()):
        raise CurveFileError("symlink", f'"{name}" leads out of the folder', f"inside {folder}")
    if not resolved.is_file():
        raise CurveFileError("file", f'"{name}" is not a plain file', "a CSV or Parquet file")
    check_most(resolved.stat().st_size, limits.bytes, "bytes")
    suffix = path.suffix.lower()
    if suffix == ".csv":
        rows = csv_points(resolved, name, limits)
    elif suffix == ".parquet":
        rows = parquet_points(resolved, name, limits)
    else:
        raise CurveFileError("format", f'the file type "{suffix}"', "a CSV or Parquet file")
    if not rows:
        raise CurveFileError("empty", f'"{name}" has no rows', "at least one point")
    return rows


def check_most(found: int, most: int, what: str) -> None:
    """Raise CurveFileError if a file holds more of something than it may."""
    if found > most:
        hint = "Keep every n-th point, or fewer metrics." if what != "bytes" else None
        raise CurveFileError("size", f"{found:,} {what}", f"at most {most:,}", hint)


def lines_in(path: Path, most: int) -> int:
    """Return the number of line ends of a file, counting no further than above `most`."""
    count = 0
    with path.open("rb") as file:
        while count <= most and (block := file.read(BLOCK_BYTES)):
            count += block.count(b"\n")
    return count


def csv_points(path: Path, name: str, limits: Limits) -> Curves:
    """Return the curves of a CSV file, metrics in order of appearance."""
    found: dict[str, dict[str, Any]] = {}
    if lines_in(path, limits.rows + 1) > limits.rows + 1:
        raise CurveFileError(
            "size", f'"{name}" has more than {limits.rows + 1:,} lines',
            f"at most {limits.rows:,} rows", "Keep every n-th point.",
        )  # fmt: skip
    until = time.monotonic() + limits.seconds
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            header = list(reader.fieldnames or ())
            check_header(header, name)
            for number, row in enumerate(reader):
                if number % ROWS_A_LOOK == 0 and time.monotonic() > until:
                    raise CurveFileError(
                        "size", f'"{name}" takes more than {limits.seconds:g} seconds to read',
                        "fewer rows", "Keep every n-th point, or write Parquet.",
                    )  # fmt: skip
                place = f"{name} line {reader.line_num}"
                curve = found.setdefault(
                    row["metric"], {"metric": row["metric"], "step": [], "value": []}
                )
                if len(found) > limits.metrics:
                    check_most(len(found), limits.metrics, "metrics")
                curve["step"].append(whole(row["step"], place, "step"))
                curve["value"].append(finite(row["value"], place))
                if "tokens" in header and row["tokens"]:
                    curve.setdefault("tokens", []).append(whole(row["tokens"], place, "tokens"))
                if None in row or len(curve.get("tokens", curve["step"])) != len(curve["step"]):
                    raise CurveFileError(
                        "columns", f"{place}: another number of values", f"{len(header)} values"
                    )
    except (UnicodeDecodeError, csv.Error) as error:
        raise CurveFileError("encoding", f'"{name}": {error}', "a CSV file in UTF-8") from error
    return list(found.values())


def check_header(header: list[str], name: str) -> None:
    """Raise CurveFileError if a column is missing or unknown."""
    columns = set(header)
    is_whole = {"metric", "step", "value"} <= columns <= set(COLUMNS)
    if not is_whole or len(header) > len(columns):  # a column given twice would be lost
        raise CurveFileError(
            "columns",
            f'"{name}" has the columns {", ".join(header)[:200] or "none"}',
            "the columns metric, step, value and perhaps tokens",
            "Other layouts: ncpl-data convert csv.",
        )


def whole(text: str | None, place: str, column: str) -> int:
    """Return a whole number.

    Raises CurveFileError for anything else.
    """
    value = finite(text, place)
    if value != int(value):
        raise CurveFileError("type", f"{place}: {column} {(text or '')[:40]}", "a whole number")
    return int(value)


def finite(text: str | None, place: str) -> float:
    """Return a finite number.

    Raises CurveFileError for anything else.
    """
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise CurveFileError("number", f'{place}: "{(text or "")[:40]}"', "a finite number")
    return value


def parquet_points(path: Path, name: str, limits: Limits) -> Curves:
    """Return the curves of a Parquet file, metrics in order of appearance."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(path)
        check_header(schema.names, name)
        check_types(schema, name)
        # As a dictionary, a name stands once: a few bytes can not repeat a long one endlessly.
        file = pq.ParquetFile(path, read_dictionary=["metric"])
        held = file.metadata
        check_most(held.num_rows, limits.rows, "rows")
        groups = (held.row_group(i).total_byte_size for i in range(held.num_row_groups))
        check_most(sum(groups), limits.bytes, "bytes unpacked")
        table = file.read()
        metrics = table["metric"].unify_dictionaries().combine_chunks()
        names = metrics.dictionary.cast(pa.string())
        types = {"step": pa.int64(), "tokens": pa.int64(), "value": pa.float64()}
        table = table.select([n for n in table.column_names if n != "metric"])
        table = table.cast(pa.schema([(n, types[n]) for n in table.column_names]))
    except (pa.ArrowException, OSError) as error:
        raise CurveFileError(
            "format", f'"{name}": {str(error)[:200]}', "a Parquet file of points"
        ) from error
    if metrics.null_count or any(table[n].null_count for n in ("step", "value")):
        raise CurveFileError("type", f'"{name}" holds empty values', "a value in every row")
    if not table.num_rows:
        return []
    codes = np.asarray(metrics.indices)
    order = np.argsort(codes, kind="stable")
    found, starts = np.unique(codes[order], return_index=True)
    check_most(len(found), limits.metrics, "metrics")
    table = table.take(pa.array(order))
    ends = [*starts[1:], len(codes)]
    curves: dict[int, dict[str, Any]] = {}
    for code, start, end in zip(found, starts, ends, strict=True):
        rows = table.slice(start, end - start)
        curve = {"metric": names[code].as_py(), "step": rows["step"].to_pylist()}
        if "tokens" in rows.column_names and rows["tokens"].null_count < rows.num_rows:
            curve["tokens"] = rows["tokens"].to_pylist()
        curves[order[start]] = {**curve, "value": rows["value"].to_pylist()}
    return [curves[first] for first in sorted(curves)]


def check_types(schema: pa.Schema, name: str) -> None:
    """Raise CurveFileError if names are no text or numbers no numbers."""
    from pyarrow import types

    for field in schema:
        kind = field.type
        if field.name == "metric":
            kind = kind.value_type if types.is_dictionary(kind) else kind
            is_fit = any(is_text(kind) for is_text in (types.is_string, types.is_large_string))
        else:
            is_fit = types.is_integer(kind) or types.is_floating(kind) or types.is_null(kind)
        if not is_fit:
            wanted = "text" if field.name == "metric" else "numbers"
            raise CurveFileError("type", f'"{name}": {field.name} of type {kind}', wanted)
