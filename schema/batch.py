"""Check many documents: the fast validator finds the bad ones, the reference one explains them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any

from ncpl_data.schema.load import NAMES, load_schema, validator
from ncpl_data.schema.validate import Problem, check_document


@cache
def validity_test(schema: str) -> Callable[[Any], bool]:
    """Return a test of one document: jsonschema-rs where it is installed, else jsonschema.

    A document the fast one can not take (a number beyond its types) is given to the other.
    """
    slow: Callable[[Any], bool] = validator(schema).is_valid
    try:
        import jsonschema_rs
    except ImportError:
        return slow
    resources = [(load_schema(name)["$id"], load_schema(name)) for name in NAMES]
    registry = jsonschema_rs.Registry(resources)
    fast = jsonschema_rs.Draft202012Validator(load_schema(schema), registry=registry)

    def test(document: Any) -> bool:
        try:
            valid: bool = fast.is_valid(document)
        except (ValueError, TypeError, OverflowError):
            return slow(document)
        return valid

    return test


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
