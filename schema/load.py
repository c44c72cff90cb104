"""Load the JSON Schema files that ship with the package."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator, ValidationError
    from referencing import Registry

SCHEMA_VERSION = "1.0"
NAMES = (
    "run",
    "model",
    "optimizer",
    "schedule",
    "data",
    "system",
    "outcome",
    "curve",
    "curve_file",
    "evaluation",
    "origin",
    "provenance",
    "submission",
    "snapshot",
)


@cache
def load_schema(name: str) -> dict[str, Any]:
    """Return one schema file of version 1, parsed. Callers must not change it."""
    if name not in NAMES:
        raise ValueError(f'no schema is called "{name}"; there are: {", ".join(NAMES)}')
    text = (files("ncpl_data.schema") / "v1" / f"{name}.schema.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


@cache
def registry() -> Registry[Any]:
    """Return a registry that resolves every `$ref` between the files without a network."""
    from referencing import Registry, Resource  # only what is wrong needs explaining

    resources = [Resource.from_contents(load_schema(name)) for name in NAMES]
    return Registry().with_resources((str(r.id()), r) for r in resources)


def strict_pattern(
    _validator: Any, pattern: str, instance: Any, _schema: Any
) -> Iterator[ValidationError]:
    """Yield an error if a text does not match a pattern.

    Python's `$` also matches before a final line break; a schema's `$` does not.
    """
    from jsonschema import ValidationError

    if isinstance(instance, str):
        match = re.search(pattern, instance)
        if match is None or (pattern.endswith("$") and match.end() != len(instance)):
            yield ValidationError(f"not of the form {pattern}")


@cache
def validator(name: str) -> Draft202012Validator:
    """Return the validator of one schema file."""
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    strict = extend(Draft202012Validator, {"pattern": strict_pattern})
    return strict(load_schema(name), registry=registry())
