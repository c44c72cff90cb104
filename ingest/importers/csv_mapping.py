"""The mapping of a CSV table: which column is which field, and in which unit (TOML)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ncpl_data.catalog.errors import InputError
from ncpl_data.ingest.importers.base import NEEDS
from ncpl_data.ingest.importers.config_file import read_config
from ncpl_data.ingest.importers.spelling import WORDS
from ncpl_data.schema.fields import run_fields


def closed(required: str, **properties: Any) -> dict[str, Any]:
    """Return the schema of a table that has the required keys and no other than these."""
    return {
        "type": "object",
        "properties": properties,
        "required": required.split(),
        "additionalProperties": False,
    }


def each(value: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a table whose values all have one."""
    return {"type": "object", "additionalProperties": value}


TEXT = {"type": "string"}
COLUMN = closed(
    "field",
    field=TEXT,
    values={"type": "object"},
    times={"type": "number"},
    blank={"type": "array", "items": TEXT},
    round={"type": "boolean"},
    **{"as": {"enum": sorted([*NEEDS, *WORDS, "nonzero"])}},
)
COLUMNS_OF_ONE = {"type": "array", "items": TEXT, "minItems": 1}
WANTED = {"anyOf": [TEXT, {"type": "array", "items": TEXT}]}
SHAPE = closed(
    "run columns",
    run=closed("id", id=TEXT, final_loss_metric=TEXT, where=each(WANTED)),
    columns=each(COLUMN),
    products=each(COLUMNS_OF_ONE),
    constants={"type": "object"},
    metrics=each({"type": "object"}),
    curves=closed("file id step columns", file=TEXT, id=TEXT, step=TEXT, columns=each(TEXT)),
)


def read_mapping(path: Path) -> dict[str, Any]:
    """Return a mapping; a column that names only its field is a table with `field`.

    Raises InputError for a key that means nothing, a value of another type or an unknown field.
    """
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    mapping = read_config(path)
    columns = mapping.get("columns")
    if isinstance(columns, dict):
        mapping["columns"] = {
            name: {"field": spec} if isinstance(spec, str) else spec
            for name, spec in columns.items()
        }
    error = best_match(Draft202012Validator(SHAPE).iter_errors(mapping))
    if error is not None:
        place = ".".join(map(str, error.absolute_path)) or "the whole file"
        raise InputError(
            f"{path}: {place}: {error.message[:300]}; expected [run] with id, [columns], and "
            "perhaps [products], [constants], [metrics], [curves] with file, id, step, columns"
        )
    known = {f.pointer for f in run_fields()}
    for pointer in (
        *(c["field"] for c in mapping["columns"].values()),
        *mapping.get("constants", {}),
        *mapping.get("products", {}),
    ):
        if pointer not in known and not pointer.startswith("/extra/"):
            raise InputError(f'{path}: "{pointer}" is not a field; all fields: schema/FIELDS.md')
    return mapping
