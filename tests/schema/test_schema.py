from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ncpl_data.catalog.record import field_names
from ncpl_data.schema.describe import fields_page
from ncpl_data.schema.fields import run_fields
from ncpl_data.schema.load import NAMES, load_schema, registry, validator
from ncpl_data.schema.text import parse_json
from ncpl_data.schema.validate import check_document

MINIMAL = {"schema_version": "1.0", "run_id": "acme/a1", "source": "acme"}


def subschemas(node: Any, path: str = "") -> list[tuple[str, dict[str, Any]]]:
    """Return every property of a schema file with its path."""
    found = []
    if isinstance(node, dict):
        for name, spec in node.get("properties", {}).items():
            found.append((f"{path}/{name}", spec))
        for key, child in node.items():
            found += subschemas(child, f"{path}/{key}")
    elif isinstance(node, list):
        for child in node:
            found += subschemas(child, path)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_schema_file_is_valid_and_its_refs_resolve(name: str) -> None:
    schema = load_schema(name)
    validator(name).check_schema(schema)
    assert schema["$id"].endswith(f"/v1/{name}.schema.json")
    resolver = registry().resolver(schema["$id"])
    for _, spec in subschemas(schema):
        if "$ref" in spec:
            assert resolver.lookup(spec["$ref"]).contents


@pytest.mark.parametrize("name", NAMES)
def test_every_field_has_a_description_an_example_and_numbers_a_unit(name: str) -> None:
    for path, spec in subschemas(load_schema(name)):
        assert spec.get("description"), path
        if "$ref" in spec:
            continue
        assert spec.get("examples"), path
        types = spec.get("type", [])
        numeric = {"integer", "number"} & set(types if isinstance(types, list) else [types])
        if numeric and not path.endswith(("/seed", "/was")):
            assert spec.get("x-unit"), path


@pytest.mark.parametrize("field", run_fields(), ids=lambda f: f.column)
def test_example_of_a_field_is_valid(field: Any) -> None:
    document: dict[str, Any] = dict(MINIMAL)
    place = document
    for key in field.path[:-1]:
        place = place.setdefault(key, {})
    place[field.path[-1]] = field.example
    assert check_document(document) == []


def test_run_has_exactly_the_columns_of_the_schema() -> None:
    assert field_names() == {f.column for f in run_fields()}
    assert len({f.column for f in run_fields()}) == len(run_fields())


def test_fields_page_is_up_to_date() -> None:
    page = Path(__file__).parents[2] / "schema" / "FIELDS.md"
    assert page.read_text("utf-8") == fields_page(), "run: make docs"


@pytest.mark.parametrize(
    ("change", "pointer", "rule"),
    [
        ({"lr": 0.1}, "/lr", "unknown"),
        ({"optimizer": {"learning_rate": 300}}, "/optimizer/learning_rate", "maximum"),
        ({"optimizer": {"learning_rate": "3e-4"}}, "/optimizer/learning_rate", "type"),
        ({"schedule": {"train_steps": 0}}, "/schedule/train_steps", "minimum"),
        ({"schedule": {"warmup_steps": 0.1}}, "/schedule/warmup_steps", "type"),
        ({"outcome": {"status": "crashed"}}, "/outcome/status", "enum"),
        ({"run_id": "../up"}, "/run_id", "pattern"),
        ({"run_id": None}, "/run_id", "type"),
    ],
)
def test_broken_document_is_refused_at_the_right_place(
    change: dict[str, Any], pointer: str, rule: str
) -> None:
    problems = check_document(MINIMAL | change)
    assert [(p.pointer, p.rule) for p in problems] == [(pointer, rule)]


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", '{"a": 1, "a": 2}', "1e999"])
def test_json_that_would_lose_a_value_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"JSON|twice|too large"):
        parse_json(text)
