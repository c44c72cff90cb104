"""Curves kept beside a document, as CSV or Parquet with columns metric, step, tokens, value."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

from ncpl_data.schema.validate import Problem

MAX_BYTES = 256 << 20
MAX_ROWS = 20_000_000
COLUMNS = ("metric", "step", "tokens", "value")
POINTER = "/curves/file"

Curves = list[dict[str, Any]]


class CurveFileError(ValueError):
    """A curve file that can not be used."""

    def __init__(self, rule: str, found: str, expected: str, hint: str | None = None) -> None:
        """Keep the problem."""
        super().__init__(found)
        self.problem = Problem(POINTER, rule, found, expected, hint)


def read_curve_file(folder: Path, name: str) -> Curves:
    """Return the curves of a file, as a document has them inline.

    Raises CurveFileError for a file outside the folder, of another type or with other columns,
    and for rows that are no points.
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
    if resolved.stat().st_size > MAX_BYTES:
        raise CurveFileError("size", f"{resolved.stat().st_size:,} bytes", f"at most {MAX_BYTES:,}")
    suffix = path.suffix.lower()
    if suffix == ".csv":
        rows = csv_points(resolved, name)
    elif suffix == ".parquet":
        rows = parquet_points(resolved, name)
    else:
        raise CurveFileError("format", f'the file type "{suffix}"', "a CSV or Parquet file")
    if not rows:
        raise CurveFileError("empty", f'"{name}" has no rows', "at least one point")
    return rows


def csv_points(path: Path, name: str) -> Curves:
    """Return the curves of a CSV file, metrics in order of appearance."""
    found: dict[str, dict[str, Any]] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            header = list(reader.fieldnames or ())
            check_header(header, name)
            for row in reader:
                place = f"{name} line {reader.line_num}"
                curve = found.setdefault(
                    row["metric"], {"metric": row["metric"], "step": [], "value": []}
                )
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
    if set(header) - set(COLUMNS) or {"metric", "step", "value"} - set(header):
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


def parquet_points(path: Path, name: str) -> Curves:
    """Return the curves of a Parquet file, metrics in order of appearance."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        check_header(file.schema_arrow.names, name)
        if file.metadata.num_rows > MAX_ROWS:
            raise CurveFileError(
                "size", f"{file.metadata.num_rows:,} rows", f"at most {MAX_ROWS:,}"
            )
        table = file.read()
        types = {"metric": pa.string(), "step": pa.int64(), "tokens": pa.int64()}
        table = table.cast(pa.schema([(n, types.get(n, pa.float64())) for n in table.column_names]))
    except (pa.ArrowException, OSError) as error:
        raise CurveFileError(
            "format", f'"{name}": {str(error)[:200]}', "a Parquet file of points"
        ) from error
    if any(table[n].null_count for n in table.column_names if n != "tokens"):
        raise CurveFileError("type", f'"{name}" holds empty values', "a value in every row")
    curves: Curves = []
    for metric in dict.fromkeys(table["metric"].to_pylist()):
        rows = table.filter(pa.compute.equal(table["metric"], metric))
        curve = {"metric": metric, "step": rows["step"].to_pylist()}
        if "tokens" in rows.column_names and rows["tokens"].null_count < rows.num_rows:
            curve["tokens"] = rows["tokens"].to_pylist()
        curves.append({**curve, "value": rows["value"].to_pylist()})
    return curves
