"""What people meant by a name that no field has, or by a text where a number belongs."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any

from ncpl.data.fields import KNOWN


def unknown_names(config: Mapping[str, Any]) -> str | None:
    """Return all names of a configuration that no field has, with what each may mean, or None."""
    names = [str(name) for name in config if name not in KNOWN]
    if not names:
        return None
    if len(names) == 1:
        meant = meaning(names[0], config.get(names[0]))
        return f"unknown field {names[0]!r}{meant and '; ' + meant}"
    told = (f"{name!r}: {meaning(name, config.get(name)) or 'no field is near'}" for name in names)
    return "; ".join((f"{len(names)} unknown fields", *told))


def meaning(name: str, value: Any = None) -> str:
    """Return what a name may mean, "" where nothing is near."""
    if isinstance(value, dict):
        return "fields are flat: n_layers, not model with n_layers inside"
    near = nearest_field(name)
    told = f"the nearest known field is {near}" if near else ""
    question = _question(name)
    if question is None:
        return told
    return f"{told} ({question})" if near and near in question else question


@lru_cache(maxsize=4096)
def nearest_field(name: str) -> str | None:
    """Return the field that a name of another program or a slip of the pen means."""
    if name == "batch_tokens":
        return "batch_size_sequences (tokens of a batch / sequence_length)"
    alias = _aliases().get(name.lower().replace("-", "_").replace(" ", "_"))
    if alias in KNOWN:
        return alias
    near = difflib.get_close_matches(name.lower(), sorted(KNOWN), n=1, cutoff=0.6)
    return near[0] if near else None


def number_hint(value: Any) -> str:
    """Return how to mend a text where a number belongs, to be added to a message; "" if unknown.

    What spreadsheets and countries make of numbers: commas, dates, separators of thousands.
    """
    try:
        from ncpl_data.schema.hints import spreadsheet_hint
    except ImportError:
        return ""
    hint = spreadsheet_hint(value[:200]) if isinstance(value, str) else None
    return f". {hint}" if hint else ""


def _question(name: str) -> str | None:
    try:
        from ncpl_data.schema.hints import question
    except ImportError:
        return None
    asked = question(name)
    return None if asked is None else asked.rstrip(".")


@cache
def _aliases() -> dict[str, str]:
    """Return the column behind each name other programs use, where the schema is installed."""
    try:
        from ncpl_data.schema.aliases import known_names
        from ncpl_data.schema.fields import run_fields
    except ImportError:
        return {}
    columns = {field.pointer: field.column for field in run_fields()}
    return {name: columns.get(pointer, "") for name, pointer in known_names().items()}
