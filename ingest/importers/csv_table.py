"""CSV tables with a small mapping file: one row a run, and curves in a second table."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ncpl_data.catalog.errors import InputError
from ncpl_data.ingest.importers.base import NEEDS, Draft, Options
from ncpl_data.ingest.importers.csv_mapping import read_mapping
from ncpl_data.ingest.importers.encodings import text_of
from ncpl_data.ingest.importers.spelling import count_pointers, numeric_pointers, whole
from ncpl_data.schema.aliases import Alias
from ncpl_data.schema.hints import count_of, spreadsheet_hint

EMPTY = {"", "na", "n/a", "nan", "null", "none", "-"}
NOT_FINITE = {"nan", "inf", "-inf", "infinity", "-infinity"}


def read(path: str, options: Options) -> Iterator[dict[str, Any]]:
    """Yield one run a row of a CSV file, as its mapping (TOML) says.

    [run]
    id = "name"                                  column that names the run
    final_loss_metric = "train/loss"
    where = { state = ["ok", "nan"] }            only rows with these values
    [columns]
    lr = "/optimizer/learning_rate"
    warmup = { field = "/schedule/warmup_steps", as = "ratio_of_steps" }
    tokens_b = { field = "/schedule/train_tokens", times = 1e9 }
    state = { field = "/outcome/status", values = { ok = "finished", nan = "diverged" } }
    gpus = { field = "/system/n_devices", blank = ["?"], round = true }
    cluster = "/extra/acme.cluster"
    [products]
    "/schedule/batch_size_sequences" = ["micro_batch", "accumulation", "gpus"]
    [constants]
    "/optimizer/name" = "adamw"
    [metrics]
    "train/loss" = { unit = "nats_per_token", split = "train" }
    [curves]                                     optional: a table with one row a point
    file = "curves.csv"
    id = "name"
    step = "iteration"
    columns = { loss = "train/loss" }

    Without a mapping the table is one of points: a column of steps, the others metrics.
    """
    if options.mapping is None:
        from ncpl_data.ingest.importers.points_table import read_points_table

        yield from read_points_table(Path(path), options)
        return
    mapping = read_mapping(options.mapping)
    points = read_points(Path(path), mapping.get("curves"))
    wanted = mapping["run"].get("where", {})
    for line, row in rows(Path(path)):
        if not all(
            needed(row, column, f"{path} line {line}").strip()
            in ([values] if isinstance(values, str) else values)
            for column, values in wanted.items()
        ):
            continue
        yield read_row(row, f"{path} line {line}", mapping, points, options)


def rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (line, row) of a CSV file with a header.

    Raises InputError if it is none.
    """
    try:
        with io.StringIO(text_of(path).lstrip("\ufeff"), newline="") as file:
            reader = csv.DictReader(file, delimiter=delimiter_of(file))
            names = [name for name in reader.fieldnames or () if name]
            if twice := next((name for name in names if names.count(name) > 1), None):
                raise InputError(f'{path}: two columns are called "{twice}"; rename one')
            for row in reader:
                if None in row or None in row.values():
                    raise InputError(
                        f"{path} line {reader.line_num}: another number of values than the header"
                    )
                yield reader.line_num, row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} can not be read as CSV: {error}") from error


def delimiter_of(file: io.StringIO) -> str:
    """Return what parts the values of a table: a comma, or what its header has more of."""
    header = file.readline()
    file.seek(0)
    return max(",;\t", key=header.count)


def read_row(
    row: Mapping[str, str],
    place: str,
    mapping: Mapping[str, Any],
    points: Mapping[str, list[tuple[str, int, float]]],
    options: Options,
) -> dict[str, Any]:
    """Return the run of one row."""
    name = needed(row, mapping["run"]["id"], place)
    draft = Draft(options, name)
    draft.set("/source_run", name)
    for pointer, value in mapping.get("constants", {}).items():
        draft.set(pointer, value, "declared")
    columns = mapping["columns"].items()
    for column, spec in sorted(columns, key=lambda item: item[1].get("as") in NEEDS):
        text = needed(row, column, place).strip()
        if text.lower() in EMPTY and text not in spec.get("values", {}):
            continue
        if text in spec.get("blank", ()):
            continue
        set_column(draft, column, spec, text, place)
    for pointer, factors in mapping.get("products", {}).items():
        set_product(draft, pointer, [(c, needed(row, c, place).strip()) for c in factors], place)
    for metric, spec in mapping.get("metrics", {}).items():
        draft.metrics[metric] = {"name": metric, **spec}
    for metric, step, value in in_order(points.get(name, ())):
        draft.point(metric, step, value)
    primary = mapping["run"].get("final_loss_metric")
    if primary and draft.get("/outcome/final_loss") is not None:
        draft.set("/outcome/final_loss_metric", primary, "declared")
        unit = draft.metrics.get(primary, {}).get("unit")
        draft.set("/outcome/final_loss_unit", unit, "declared")
    draft.raw_config = dict(row)
    return draft.document((primary,) if primary else ())


def set_column(draft: Draft, column: str, spec: Mapping[str, Any], text: str, place: str) -> None:
    """State the value of one cell, in our unit."""
    pointer = spec["field"]
    if text in spec.get("values", {}):
        draft.set(pointer, spec["values"][text])
        return
    if pointer not in numeric_pointers():
        draft.apply_alias(Alias(column, pointer, spec.get("as")), text)
        return
    value = number_in(text, place, column, is_count=pointer in count_pointers())
    value = value * spec.get("times", 1)
    value = round(value) if spec.get("round") else value
    if not math.isfinite(value):
        raise InputError(f'{place}: {column} is "{text[:40]}"; expected a finite number')
    draft.apply_alias(Alias(column, pointer, spec.get("as")), whole(pointer, value))


def set_product(draft: Draft, pointer: str, cells: list[tuple[str, str]], place: str) -> None:
    """State the product of some cells, unless one of them is empty."""
    if any(text.lower() in EMPTY for _, text in cells):
        return
    value = math.prod(number_in(text, place, column, is_count=True) for column, text in cells)
    rule = {"kind": "derived", "rule": " x ".join(column for column, _ in cells)}
    draft.set(pointer, whole(pointer, value), rule)


def needed(row: Mapping[str, str], column: str, place: str) -> str:
    """Return a cell.

    Raises InputError if the table has no such column.
    """
    if column not in row:
        raise InputError(f'{place}: no column "{column}"; there are: {", ".join(row)[:300]}')
    return row[column]


def read_points(
    table: Path, spec: Mapping[str, Any] | None
) -> dict[str, list[tuple[str, int, float]]]:
    """Return (metric, step, value) of every point by run; empty without a table of curves."""
    if spec is None:
        return {}
    found: dict[str, list[tuple[str, int, float]]] = {}
    path = table.parent / spec["file"]
    for line, row in rows(path):
        place = f"{path} line {line}"
        name = needed(row, spec["id"], place)
        step = number_in(needed(row, spec["step"], place), place, spec["step"], is_count=True)
        if step != int(step):
            raise InputError(f"{place}: {spec['step']} is {step:g}; expected a whole number")
        points = found.setdefault(name, [])
        for column, metric in spec["columns"].items():
            text = needed(row, column, place).strip()
            if text.lower() in NOT_FINITE:
                points.append((metric, int(step), math.nan))
            elif text.lower() not in EMPTY:
                points.append((metric, int(step), number_in(text, place, column)))
    return {name: without_gaps(points) for name, points in found.items()}


def without_gaps(points: list[tuple[str, int, float]]) -> list[tuple[str, int, float]]:
    """Return points without the NaNs of a metric that goes on after one: nothing was logged there.

    Where a metric ends as NaN and was never NaN before, the run diverged.
    """
    last: dict[str, int] = {}
    for metric, step, value in points:
        if math.isfinite(value):
            last[metric] = max(step, last.get(metric, step))
    gaps = {m for m, step, value in points if math.isnan(value) and step < last.get(m, -1)}
    return [p for p in points if math.isfinite(p[2]) or p[0] not in gaps]


def in_order(points: Sequence[tuple[str, int, float]]) -> list[tuple[str, int, float]]:
    """Return points by their steps; as they stand where a step of a metric stands twice.

    Rows of a table that names each step once have no order of their own.
    """
    is_unique = len({(metric, step) for metric, step, _ in points}) == len(points)
    return sorted(points, key=lambda point: point[1]) if is_unique else list(points)


def number_in(text: str, place: str, name: str, *, is_count: bool = False) -> float:
    """Return the number of a cell.

    Raises InputError for anything else, and for a comma where it may be a decimal mark.
    """
    value = count_of(text)
    if value is None and re.fullmatch(r"[-+]?\.\d+([eE][-+]?\d+)?", text.strip()):
        value = float(text)  # .1
    if value is None or not math.isfinite(value):
        hint = spreadsheet_hint(text[:200])
        if "," in text:
            hint = "Is the comma a decimal mark? Write a point"
        more = f". {hint}" if hint else ""
        raise InputError(f'{place}: {name} is "{text[:40]}"; expected a finite number{more}')
    if "," in text and not is_count:
        raise InputError(
            f'{place}: {name} is "{text[:40]}": is the comma a decimal mark? Write a point, or none'
        )
    return value
