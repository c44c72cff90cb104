"""CSV tables with a small mapping file: one row a run, and curves in a second table."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ncpl_data.catalog.errors import InputError
from ncpl_data.ingest.importers.base import NEEDS, Draft, Options, read_config
from ncpl_data.ingest.importers.spelling import numeric_pointers, whole
from ncpl_data.schema.aliases import Alias
from ncpl_data.schema.fields import run_fields
from ncpl_data.schema.hints import count_of

EMPTY = {"", "na", "n/a", "nan", "null", "none", "-"}
TABLES = {"run", "columns", "constants", "metrics", "curves"}


def read(path: str, options: Options) -> Iterator[dict[str, Any]]:
    """Yield one run a row of a CSV file, as its mapping (TOML) says.

    [run]
    id = "name"                                  column that names the run
    final_loss_metric = "train/loss"
    [columns]
    lr = "/optimizer/learning_rate"
    warmup = { field = "/schedule/warmup_steps", as = "ratio_of_steps" }
    tokens_b = { field = "/schedule/train_tokens", times = 1e9 }
    state = { field = "/outcome/status", values = { ok = "finished", nan = "diverged" } }
    [constants]
    "/optimizer/name" = "adamw"
    [metrics]
    "train/loss" = { unit = "nats_per_token", split = "train" }
    [curves]                                     optional: a table with one row a point
    file = "curves.csv"
    id = "name"
    step = "iteration"
    columns = { loss = "train/loss" }
    """
    if options.mapping is None:
        raise InputError("a CSV table needs a mapping file: --mapping mapping.toml")
    mapping = read_config(options.mapping)
    unknown = set(mapping) - TABLES
    if unknown or "columns" not in mapping or "id" not in mapping.get("run", {}):
        raise InputError(
            f"{options.mapping}: expected [run] with id, [columns], and perhaps [constants], "
            f"[metrics], [curves]; found {', '.join(sorted(mapping)) or 'nothing'}"
        )
    check_pointers(mapping, options.mapping)
    points = read_points(Path(path), mapping.get("curves"))
    for line, row in rows(Path(path)):
        yield read_row(row, f"{path} line {line}", mapping, points, options)


def check_pointers(mapping: Mapping[str, Any], path: Path) -> None:
    """Raise InputError for a column mapped to a field that is not there."""
    known = {f.pointer for f in run_fields()}
    targets = [column_spec(spec)["field"] for spec in mapping["columns"].values()]
    for pointer in (*targets, *mapping.get("constants", {})):
        if pointer not in known:
            raise InputError(f'{path}: "{pointer}" is not a field; all fields: schema/FIELDS.md')


def column_spec(spec: Any) -> dict[str, Any]:
    """Return a column's mapping with its field named."""
    return {"field": spec} if isinstance(spec, str) else {"field": "", **spec}


def rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (line, row) of a CSV file with a header.

    Raises InputError if it is none.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            for row in reader:
                if None in row or None in row.values():
                    raise InputError(
                        f"{path} line {reader.line_num}: another number of values than the header"
                    )
                yield reader.line_num, row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} can not be read as CSV: {error}") from error


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
    specs = {column: column_spec(spec) for column, spec in mapping["columns"].items()}
    for column, spec in sorted(specs.items(), key=lambda item: item[1].get("as") in NEEDS):
        text = needed(row, column, place).strip()
        if text.lower() in EMPTY and text not in spec.get("values", {}):
            continue
        set_column(draft, column, spec, text, place)
    for metric, spec in mapping.get("metrics", {}).items():
        draft.metrics[metric] = {"name": metric, **spec}
    for metric, step, value in points.get(name, ()):
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
    value = count_of(text)
    if value is None:
        raise InputError(f'{place}: {column} is "{text[:40]}"; expected a number')
    value = value * spec.get("times", 1)
    if not math.isfinite(value):
        raise InputError(f'{place}: {column} is "{text[:40]}"; expected a finite number')
    draft.apply_alias(Alias(column, pointer, spec.get("as")), whole(pointer, value))


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
        step = count_of(needed(row, spec["step"], place))
        for column, metric in spec["columns"].items():
            text = needed(row, column, place)
            value = count_of(text)
            if text.strip().lower() in EMPTY:
                continue
            if step is None or value is None:
                raise InputError(f'{place}: step or {column} is no number ("{text[:40]}")')
            found.setdefault(name, []).append((metric, int(step), value))
    return found
