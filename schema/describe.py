"""Write FIELDS.md, the page of all fields, from the schema files."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from ncpl_data.schema.fields import SECTIONS, Field, run_fields
from ncpl_data.schema.load import SCHEMA_VERSION, load_schema

KIND_WORDS = {"strings": "list of text", "records": "list of objects", "json": "open object"}


def table_rows(fields: list[Field]) -> list[str]:
    """Return a Markdown table of fields."""
    rows = ["| field | column | type | unit | meaning | example |", "|---|---|---|---|---|---|"]
    for field in fields:
        example = json.dumps(field.example, ensure_ascii=False).replace("|", "\\|")
        rows.append(
            f"| `{field.pointer}` | `{field.column}` | {KIND_WORDS.get(field.kind, field.kind)} "
            f"| {field.unit or ''} | {field.description} | `{example}` |"
        )
        rows += [
            f"| `{field.pointer}[]/{item.path[0]}` | | {KIND_WORDS.get(item.kind, item.kind)} "
            f"| {item.unit or ''} | {item.description} "
            f"| `{json.dumps(item.example, ensure_ascii=False)}` |"
            for item in field.items
        ]
    return rows


def fields_page() -> str:
    """Return the whole page."""
    lines = [
        "# Fields of a run",
        "",
        f"Schema version {SCHEMA_VERSION}. Made from `schema/v1/*.schema.json` by `make docs`; "
        "edit those, not this page.",
        "",
        "A value the source does not state is absent or null, never a usual default. "
        "`field` is the place in a run document, `column` the column of the table `runs`.",
    ]
    top = [f for f in run_fields() if len(f.path) == 1]
    for title, text, fields in [
        ("Run", load_schema("run")["description"], top),
        *(
            (
                load_schema(name)["title"],
                load_schema(name)["description"],
                [f for f in run_fields() if f.path[0] == name and len(f.path) > 1],
            )
            for name in SECTIONS
        ),
    ]:
        lines += ["", f"## {title}", "", text, "", *table_rows(fields)]
    for name, table in (("curve", "curves"), ("evaluation", "evals")):
        schema = load_schema(name)
        lines += ["", f"## {schema['title']} (table `{table}`)", "", schema["description"], ""]
        lines += ["| field | unit | meaning | example |", "|---|---|---|---|"]
        lines += [
            f"| `{key}` | {spec.get('x-unit', '')} | {spec['description']} "
            f"| `{json.dumps(spec['examples'][0])}` |"
            for key, spec in schema["properties"].items()
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(fields_page(), encoding="utf-8")
