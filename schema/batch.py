"""Check many documents: the fast validator finds the bad ones, the reference one explains them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any

from ncpl_data.schema.fields import run_fields
from ncpl_data.schema.load import NAMES, load_schema, validator
from ncpl_data.schema.validate import Problem, check_document


@cache
def validity_test(schema: str) -> Callable[[Any], bool]:
    """Return a test of one document: jsonschema-rs where it is installed, else jsonschema.

    A document the fast one can not take (a number beyond its types) is given to the other.
    """

    def slow(document: Any) -> bool:
        return bool(validator(schema).is_valid(document))

    fast = fast_validator(load_schema(schema))
    if fast is None:
        return slow

    def test(document: Any) -> bool:
        try:
            valid: bool = fast.is_valid(document)
        except (ValueError, TypeError, OverflowError):
            return slow(document)
        return valid

    return test


def fast_validator(schema: dict[str, Any]) -> Any:
    """Return the jsonschema-rs validator of a schema, None where the package is missing."""
    try:
        import jsonschema_rs
    except ImportError:
        return None
    resources = [(load_schema(name)["$id"], load_schema(name)) for name in NAMES]
    registry = jsonschema_rs.Registry(resources)
    return jsonschema_rs.Draft202012Validator(schema, registry=registry)


@cache
def row_test() -> Callable[[dict[str, Any]], bool]:
    """Return a test of one run by its columns, without curves and evaluations.

    True where the document of these values surely satisfies the schema; False where only the
    document can tell. Building the document costs more than testing it.
    """
    fast = fast_validator(row_schema())

    def test(values: dict[str, Any]) -> bool:
        try:
            return fast is not None and bool(fast.is_valid(values))
        except (ValueError, TypeError, OverflowError):
            return False

    return test


def row_schema() -> dict[str, Any]:
    """Return the schema of a run as one flat object: a column for each field, null if unknown."""
    run = load_schema("run")
    required = run["required"]
    properties = {}
    for field in run_fields():
        *sections, name = field.path
        spec = load_schema(sections[0])["properties"][name] if sections else run["properties"][name]
        may_lack = field.column not in required and "null" not in spec.get("type", ())
        properties[field.column] = {"anyOf": [{"type": "null"}, spec]} if may_lack else spec
    return {
        "$schema": run["$schema"],
        "$id": run["$id"].replace("/run.", "/row."),  # references beside it resolve
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def explain(document: Any, schema: str) -> list[Problem]:
    """Return the problems of one document, empty where it is valid; quick for a valid one."""
    if validity_test(schema)(document):
        return []
    return check_document(document, schema)


def invalid_documents(documents: Iterable[Any], schema: str) -> Iterator[tuple[int, list[Problem]]]:
    """Yield (index, problems) of each document that breaks the schema."""
    test = validity_test(schema)
    for index, document in enumerate(documents):
        if not test(document):
            yield index, check_document(document, schema)
