"""Data as scripts: pages opened from disk may load scripts, but fetch nothing.

A file calls `NCPL.receive(name, text)` with JSON as text, which the page parses: faster than a
literal, and a key such as `__proto__` stays a key.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

DIGITS = 8
"""Significant digits of numbers with a fraction: losses agree with the catalog to 1e-7."""


def write_script(path: Path, name: str, content: Any) -> int:
    """Write one piece of data; return its size in bytes."""
    text = json.dumps(content, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    quoted = text.replace("\\", "\\\\").replace("'", "\\'")
    code = f"NCPL.receive({json.dumps(name)}, '{quoted}');\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.write_text(code, encoding="ascii", newline="\n")


def number(value: Any) -> Any:
    """Return a number with DIGITS significant digits; None for one JSON has no name for."""
    if not isinstance(value, float):
        return value
    if not math.isfinite(value):
        return None
    short = float(f"{value:.{DIGITS}g}")
    return int(short) if short.is_integer() and abs(short) < 2**53 else short


def packed(values: Sequence[Any]) -> dict[str, Any]:
    """Return one column: numbers as `v`, all else as `d`, the texts, and `i`, which of them (-1).

    Lists and objects become JSON text; booleans become words.
    """
    if all(value is None or _is_number(value) for value in values):
        return {"v": [number(value) for value in values]}
    texts: dict[str, int] = {}
    places = [
        -1 if value is None else texts.setdefault(text_of(value), len(texts)) for value in values
    ]
    return {"d": list(texts), "i": places}


def text_of(value: Any) -> str:
    """Return a value as text: a string as it is, a boolean as a word, all else as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    return json.dumps(value, ensure_ascii=False, default=str)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
