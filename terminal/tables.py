"""Rows as lines of aligned text, and text of others made safe to print."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def visible(text: str) -> str:
    """Return a text with control characters spelt out: those of others could rewrite a terminal."""
    return UNSEEN.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def aligned(rows: Sequence[Sequence[str]], right: Sequence[bool] = ()) -> list[str]:
    """Return rows of cells as lines with aligned columns, a rule under the first.

    `right` says of each column whether its cells stand right; left if not given.
    """
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    stands_right = right or [False] * len(widths)

    def line(cells: Sequence[str]) -> str:
        padded = (
            cell.rjust(width) if is_right else cell.ljust(width)
            for cell, width, is_right in zip(cells, widths, stands_right, strict=True)
        )
        return "  ".join(padded).rstrip()

    return [line(rows[0]), line(["-" * width for width in widths]), *map(line, rows[1:])]


def table_text(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> str:
    """Return rows as an aligned text table; numbers stand right."""
    if not rows:
        return "(no rows)"
    names = list(columns or rows[0])
    right = [
        all(isinstance(row.get(name), (int, float, type(None))) for row in rows) for name in names
    ]
    cells = [[cell_text(row.get(name)) for name in names] for row in rows]
    return "\n".join(aligned([names, *cells], right))


def cell_text(value: Any, limit: int = 60) -> str:
    """Return one cell: counts with thousands separators, floats short, long text cut."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, (list, tuple, dict)):
        text = json.dumps(value, ensure_ascii=False, default=str)
    else:
        text = visible(str(value)).replace("\n", "\\n")
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
