"""Values that paper, code or configuration files state for the runs of a source.

One TOML file a source in `declarations/`, facts looked up in the authors' own papers and
repositories. Each entry names its place, which runs it is about and what it says of them:

    [[entry]]
    place = "train.py at 0123abc"            # paper section, or file at a commit
    where = { d_model = 512 }                # runs with these values; all of them without it
    values = { n_heads = 8 }

    [[entry]]
    place = "..."
    by = "extra.multipower.nominal_params"   # or one column whose value picks the row
    rows = { "25000000" = { n_layers = 6 } }

A value a run states itself is never replaced. A file may also say who was asked and does not tell
(`not_stated`).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from ncpl_data.catalog.record import Run, field_names


@dataclass(frozen=True)
class Entry:
    """What one place says of some runs."""

    place: str
    where: Mapping[str, Any]
    values: Mapping[str, Any]
    by: str | None = None
    rows: Mapping[str, Mapping[str, Any]] | None = None

    def of(self, run: Run) -> Mapping[str, Any]:
        """Return what it says of a run; nothing where the run is not meant."""
        if not all(is_met(value_of(run, key), asked) for key, asked in self.where.items()):
            return {}
        if self.by is None or self.rows is None:
            return self.values
        key = value_of(run, self.by)
        row = self.rows.get(f"{key:.0f}" if isinstance(key, float) else str(key))
        return {} if row is None else {**self.values, **row}


@cache
def entries(source: str) -> tuple[Entry, ...]:
    """Return what is declared of a source's runs, in file order; nothing for most others."""
    document = read_file(source)
    return tuple(
        Entry(
            place=entry["place"],
            where=entry.get("where", {}),
            values=checked(entry.get("values", {}), source),
            by=entry.get("by"),
            rows={k: checked(v, source) for k, v in entry["rows"].items()}
            if "by" in entry
            else None,
        )
        for entry in document.get("entry", ())
    )


def not_stated(source: str) -> tuple[str, ...]:
    """Return what was looked for and is not stated, one sentence each: who was asked."""
    return tuple(read_file(source).get("not_stated", ()))


@cache
def read_file(source: str) -> Mapping[str, Any]:
    """Return a source's file as it stands; empty where there is none."""
    path = files("ncpl_data.ingest") / "declarations" / f"{source}.toml"
    return tomllib.loads(path.read_text("utf-8")) if path.is_file() else {}


def checked(values: Mapping[str, Any], source: str) -> Mapping[str, Any]:
    """Return declared values. Raises ValueError for a name that is no column."""
    unknown = values.keys() - field_names()
    if unknown:
        raise ValueError(f"declarations/{source}.toml: unknown columns {', '.join(unknown)}")
    return values


def value_of(run: Run, key: str) -> Any:
    """Return a value of a run by its column, or by "extra.KEY"."""
    if key.startswith("extra."):
        return (run.extra or {}).get(key.removeprefix("extra."))
    return getattr(run, key)


def is_met(value: Any, asked: Any) -> bool:
    """Return whether a value is the one asked for, one of a list, or matches "/PATTERN/"."""
    if isinstance(asked, list):
        return value in asked
    if isinstance(asked, str) and asked.startswith("/") and asked.endswith("/"):
        return value is not None and re.search(asked[1:-1], str(value)) is not None
    return bool(value == asked)


def declare(run: Run) -> Run:
    """Return a run with what is declared of it, where it does not say so itself."""
    found: dict[str, Any] = {}
    origins: dict[str, Any] = {}
    for entry in entries(run.source):
        for column, value in entry.of(run).items():
            if getattr(run, column) is None and column not in found:
                found[column] = tuple(value) if isinstance(value, list) else value
                origins[column] = {"kind": "declared", "evidence": entry.place}
    if not found:
        return run
    return run.with_values(**found, origins={**(run.origins or {}), **origins})
