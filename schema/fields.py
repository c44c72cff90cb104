"""The fields of a run as one flat table, read from the schema files.

Everything that lists fields is made from this table: the catalog's columns, the page FIELDS.md,
the comments of the DuckDB views.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, Literal

from ncpl_data.schema.load import load_schema

Kind = Literal["string", "integer", "number", "boolean", "strings", "records", "json"]

SECTIONS = ("model", "optimizer", "schedule", "data", "system", "outcome", "provenance")


@dataclass(frozen=True)
class Field:
    """One value of a run document."""

    column: str
    """Column of the table `runs`; unique over all sections."""
    pointer: str
    """JSON Pointer inside a run document."""
    kind: Kind
    """`records` is a list of objects with fixed keys, `json` an open object kept as text."""
    unit: str | None
    description: str
    example: Any
    items: tuple[Field, ...] = ()
    """Keys of one object, where kind is `records`."""

    @cached_property
    def path(self) -> tuple[str, ...]:
        """The pointer as keys from the document's root."""
        return tuple(self.pointer.strip("/").split("/"))


def types_of(spec: dict[str, Any]) -> set[str]:
    """Return the JSON types a property may have, null left out."""
    if "enum" in spec:
        return {"string"}
    declared = spec["type"]
    return set(declared if isinstance(declared, list) else [declared]) - {"null"}


def kind_of(spec: dict[str, Any]) -> Kind:
    """Return how a property is stored."""
    (json_type,) = types_of(spec)
    if json_type == "object":
        return "json"
    if json_type == "array":
        return "records" if "properties" in spec["items"] else "strings"
    kinds: dict[str, Kind] = {
        "string": "string",
        "integer": "integer",
        "number": "number",
        "boolean": "boolean",
    }
    return kinds[json_type]


def read_fields(properties: dict[str, Any], prefix: str) -> Iterator[Field]:
    """Yield the fields of one object of the schema."""
    for name, spec in properties.items():
        if "$ref" in spec or "oneOf" in spec or name == "evals":
            continue  # sections are read one by one; curves and evals are tables of their own
        kind = kind_of(spec)
        items = spec["items"]["properties"] if kind == "records" else {}
        yield Field(
            column=spec.get("x-column", name),
            pointer=f"{prefix}/{name}",
            kind=kind,
            unit=spec.get("x-unit"),
            description=spec["description"],
            example=spec["examples"][0],
            items=tuple(read_fields(items, "")),
        )


@cache
def run_fields() -> tuple[Field, ...]:
    """Return every field of a run, in the order of the schema files."""
    run = load_schema("run")["properties"]
    found = list(read_fields(run, ""))
    for section in SECTIONS:
        found += read_fields(load_schema(section)["properties"], f"/{section}")
    return tuple(found)


@cache
def fields_by_section() -> dict[str, dict[str, Field]]:
    """Return the fields of a run by section and name; "" is the top of a document."""
    found: dict[str, dict[str, Field]] = {"": {}}
    for field in run_fields():
        *section, name = field.path
        found.setdefault("/".join(section), {})[name] = field
    return found
