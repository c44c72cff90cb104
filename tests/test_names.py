"""One class name has one meaning in the whole of the production code."""

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("terminal", "schema", "catalog", "ingest", "explore", "ncpl", "research")


def test_no_two_classes_share_a_name() -> None:
    places = defaultdict(list)
    for part in PARTS:
        for file in sorted((ROOT / part).rglob("*.py")):
            tree = ast.parse(file.read_text())
            for node in ast.walk(tree):
                if isinstance(node, ast.ClassDef):
                    places[node.name].append(f"{file.relative_to(ROOT)}:{node.lineno}")
    assert len(places) > 100
    assert {name: found for name, found in places.items() if len(found) > 1} == {}
