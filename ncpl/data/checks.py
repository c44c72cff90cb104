"""A configuration held to the table of fields: names known, values in range."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ncpl.data.fields import FIELDS, Config, InputField, extra_of
from ncpl.data.slips import unknown_names
from ncpl.data.unread import COUNTS
from ncpl.errors import ConfigError

NUMBERS = (float, int)


def is_number(name: str) -> bool:
    """Return whether a known field holds a number, one no model reads included."""
    return name in COUNTS or (name in FIELDS and FIELDS[name].kind == "number")


def check_config(config: Config, *, where: str = "configuration") -> dict[str, Any]:
    """Return a copy without nulls. Raises ConfigError for an unknown field or a value out of range.

    `where` names the configuration in the error.
    """
    kept: dict[str, Any] = {}
    if slips := unknown_names(config):
        raise ConfigError(f"{where}: {slips}")
    for name, value in config.items():
        if value is None:
            continue
        if name in FIELDS:
            kept[name] = _checked(FIELDS[name], value, where)
        elif name in COUNTS:
            kept[name] = _counted(name, value, where)
        else:
            kept[name] = value
    extra_of(kept, where=where)
    return kept


def _counted(name: str, value: Any, where: str) -> Any:
    value = _plain(value)
    if type(value) in NUMBERS and 0 <= value < math.inf:
        return value
    raise ConfigError(f"{where}: {name} is {value!r}; expected a number, 0 or more")


def _plain(value: Any) -> Any:
    """Return a number of numpy, of a table say, as Python's own."""
    return value.item() if isinstance(value, np.generic) else value


def _checked(field: InputField, value: Any, where: str) -> Any:
    if field.kind == "category":
        if isinstance(value, str):
            return value
        raise ConfigError(f"{where}: {field.name} is {value!r}; expected a name in quotes")
    if type(value) in NUMBERS and field.low <= value <= field.high:  # the common case, first
        return value
    value = _plain(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError(f"{where}: {field.name} is {value!r}; expected a number")
    if not field.low <= value <= field.high:
        unit = f" ({field.unit})" if field.unit else ""
        raise ConfigError(
            f"{where}: {field.name} is {value:g}; expected {field.low:g} to {field.high:g}{unit}"
        )
    return value
