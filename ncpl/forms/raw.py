"""A file of any framework as names and values: JSON, YAML, TOML, Python or arguments.

Nothing is executed: Python is parsed and only literals and their arithmetic are read.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ncpl.errors import ConfigError
from ncpl.forms.arguments import ARGUMENT, parse_arguments
from ncpl.forms.python_text import parse_dump, parse_python

MAX_CHARACTERS = 2_000_000
MAX_VALUES = 20_000
"""A file with more is no configuration; YAML aliases can make one out of a few lines."""
REMARK = re.compile(r"^\s*#\s*ncpl:\s*(\w+)\s*=\s*(\S+)\s*$", re.MULTILINE)
DUMP = re.compile(r"^\s*\w*(Arguments|Config)\(", re.MULTILINE)


@dataclass(frozen=True)
class Raw:
    """What a file says, before anybody's names are understood."""

    style: str
    """json, yaml, toml, python, dump or arguments."""
    values: dict[str, Any]
    """By dotted path, items of lists by number; values as the file has them."""
    computed: list[str] = field(default_factory=list)
    """Names whose values would have to be computed, and were not read."""
    remarks: dict[str, str] = field(default_factory=dict)
    """What comments of the form "# ncpl: name = value" say, which `write_form` leaves."""


def read_raw(text: str, where: str, suffix: str = "") -> Raw:
    """Return the names and values of a text; by its ending where that tells the kind.

    Raises ConfigError where it is none of the kinds, or says nothing.
    """
    if len(text) > MAX_CHARACTERS:
        raise ConfigError(f"{where} has more than {MAX_CHARACTERS:,} characters; no configuration")
    kinds: dict[str, list[Callable[[str], Raw]]] = {
        "json": [_json],
        "toml": [_toml],
        "yaml": [_yaml],
        "yml": [_yaml],
        "py": [_python],
    }
    readers = kinds.get(suffix.lower().lstrip("."), [])
    if not readers:
        readers = [_json, _dump, _arguments, _toml, _python, _yaml]
    told: list[str] = []
    for reader in readers:
        try:
            found = reader(text)
        except (ValueError, RecursionError) as error:
            told.append(f"{reader.__name__.lstrip('_')}: {_first_line(error)}")
            continue
        if found.values:
            return replace(found, remarks=dict(REMARK.findall(text)))
    hint = f" ({told[0]})" if len(readers) == 1 and told else ""
    raise ConfigError(
        f"{where} can not be read as a configuration{hint}; expected JSON, YAML, TOML, a Python "
        "file of settings, a dump of TrainingArguments, or command-line arguments"
    )


def _first_line(error: Exception) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else str(error).splitlines()[0]


def _json(text: str) -> Raw:
    return Raw("json", flattened(_mapping(json.loads(text))))


def _yaml(text: str) -> Raw:
    import yaml

    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
    return Raw("yaml", flattened(_mapping(found)))


def _toml(text: str) -> Raw:
    return Raw("toml", flattened(tomllib.loads(text)))


def _python(text: str) -> Raw:
    values, computed = parse_python(text)
    return Raw("python", flattened(values), computed)


def _dump(text: str) -> Raw:
    if not DUMP.search(text):
        raise ValueError("no dump")
    return Raw("dump", flattened(parse_dump(text)))


def _arguments(text: str) -> Raw:
    if not ARGUMENT.search(text):
        raise ValueError("no --name")
    values, left = parse_arguments(text)
    return Raw("arguments", values, left)


def _mapping(found: Any) -> Mapping[str, Any]:
    if not isinstance(found, Mapping):
        raise ValueError("it holds no names with values")
    return found


def flattened(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested values by dotted path. Raises ValueError beyond MAX_VALUES of them."""
    found: dict[str, Any] = {}
    for name, value in _leaves(values, ""):
        found[name] = value
        if len(found) > MAX_VALUES:
            raise ValueError(f"more than {MAX_VALUES:,} values")
    return found


def _leaves(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{name}.")
        elif isinstance(value, (list, tuple)):
            yield from _leaves({str(i): item for i, item in enumerate(value)}, f"{name}.")
        else:
            yield name, value
