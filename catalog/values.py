"""A value of a field: in a document, in a run, and in its column."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from math import isfinite
from typing import Any

from ncpl_data.catalog.canonical import canonical_json
from ncpl_data.schema.fields import Field, run_fields


@cache
def special_fields() -> tuple[Field, ...]:
    """Return the fields that stand in their column in another form than in a run."""
    return tuple(f for f in run_fields() if f.kind in ("json", "records", "strings"))


@cache
def number_columns() -> tuple[str, ...]:
    """Return the columns of numbers that need not be whole."""
    return tuple(f.column for f in run_fields() if f.kind == "number")


def finite(column: str, value: Any) -> float:
    """Return a value as a float.

    Raises ValueError if it is not finite.
    """
    number = float(value)
    if not isfinite(number):
        raise ValueError(f"{column} is {number}; a value that is not finite is no value")
    return number


def plain(value: Any) -> Any:
    """Return a value as JSON types, mappings without their nulls."""
    if isinstance(value, Mapping):
        return drop_none(value)
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def drop_none(mapping: Mapping[str, Any]) -> dict[str, Any]:
    """Return a mapping without the keys that say nothing."""
    return {key: value for key, value in mapping.items() if value is not None}


def typed(f: Field, value: Any) -> Any:
    """Return a document's value in the column's type: 1 is 1.0 where a number is meant."""
    if f.kind == "number":
        return float(value)
    if f.kind == "integer":
        return int(value)
    if f.kind == "records":
        by_name = {item.path[0]: item for item in f.items}
        return tuple({k: typed(by_name[k], v) for k, v in drop_none(e).items()} for e in value)
    return tuple(value) if f.kind == "strings" else value


def cell(f: Field, value: Any) -> Any:
    """Return an open object or a list as it stands in its column."""
    if f.kind == "json":
        return canonical_json(value)
    if f.kind == "records":
        return [{item.path[0]: entry.get(item.path[0]) for item in f.items} for entry in value]
    if f.kind == "strings":
        return list(value)
    return value
