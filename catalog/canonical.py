"""The one JSON text of a value, by which contents are compared and hashed."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from math import isfinite
from typing import Any

ENCODER = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
)
"""What the text is defined by. orjson writes the same ten times sooner, but for some numbers."""

SHORT_EXPONENT = re.compile(rb"e-(\d)(?!\d)")
"""Of 1e-8, which Python spells 1e-08."""

SMALL_NUMBER = re.compile(rb"0\.0000\d+")
"""0.00001, which Python spells 1e-05."""

ODD_MARKS = (b"null", b"e-", b"0.0000")
"""One of these stands in the text wherever orjson spelt a number in its own way."""

CONTAINERS = frozenset((dict, list, tuple))


def canonical_json(value: Any) -> str:
    """Return the one JSON text of a value: keys sorted, no spaces, no NaN.

    Raises ValueError for a number that is not finite, TypeError for what JSON has not.
    """
    text = quick_json(value)
    return ENCODER.encode(value) if text is None else text.decode()


def canonical_row(values: Mapping[str, Any]) -> bytes:
    """Return the one JSON text of a row, in UTF-8: `canonical_json` for an object with long texts.

    Texts are not looked at; numbers that orjson spells in another way are put in as they are.
    """
    orjson = quick_writer()
    if orjson is None:
        return ENCODER.encode(values).encode()
    spelt = {}
    for column, value in values.items():
        kind = type(value)
        if kind is float:
            if not 1e-4 <= value <= 1e300:
                spelt[column] = orjson.Fragment(ENCODER.encode(value))
        elif kind in CONTAINERS:
            spelt[column] = orjson.Fragment(canonical_json(value))
    try:
        text: bytes = orjson.dumps({**values, **spelt}, option=options())
    except (TypeError, ValueError):
        return ENCODER.encode(values).encode()
    return text


PROBE = [1e-8, 1.5e-7, 1e-5, 2.5e-10, 1e-4, 1e15, 1e16, -1.5e300, -0.0, "\x7f\x1f\n/ä"]
PROBE_TEXT = "[1e-8,1.5e-7,0.00001,2.5e-10,0.0001,1000000000000000.0,1e+16,-1.5e+300,-0.0,"


@cache
def quick_writer() -> Any:
    """Return the module orjson; None where it is not installed, or is one that spells otherwise."""
    try:
        import orjson
    except ImportError:
        return None
    expected = PROBE_TEXT + ENCODER.encode(PROBE[-1]) + "]"
    return orjson if orjson.dumps(PROBE).decode() == expected else None


@cache
def options() -> int:
    """Return orjson's options: sorted keys, and nothing that JSON itself has not."""
    orjson = quick_writer()
    return int(
        orjson.OPT_SORT_KEYS
        | orjson.OPT_PASSTHROUGH_SUBCLASS
        | orjson.OPT_PASSTHROUGH_DATACLASS
        | orjson.OPT_PASSTHROUGH_DATETIME
    )


def quick_json(value: Any) -> bytes | None:
    """Return the canonical text as orjson writes it; None where only the encoder can tell.

    The two differ in numbers: orjson writes NaN as null, refuses what has more than 64 bits, and
    spells what is near zero in its own way. Those are counted in the value and mended in the
    text; as many mended as counted means that nothing inside a text was touched.
    """
    orjson = quick_writer()
    if orjson is None:
        return None
    try:
        text: bytes = orjson.dumps(value, option=options())
    except (TypeError, ValueError):
        return None
    if not any(mark in text for mark in ODD_MARKS):
        return text
    counts = odd_numbers(value)
    return None if counts is None else mended(text, *counts)


def mended(text: bytes, n_short: int, n_small: int) -> bytes | None:
    """Return a text with its odd numbers as Python spells them; None where more look like one."""
    if n_short:
        text, n = SHORT_EXPONENT.subn(rb"e-0\1", text)
        if n != n_short:
            return None
    if n_small:
        text, n = SMALL_NUMBER.subn(lambda found: repr(float(found[0])).encode(), text)
        if n != n_small:
            return None
    return text


def odd_numbers(value: Any) -> tuple[int, int] | None:
    """Return how many numbers have a short negative exponent, and how many are just above them.

    None if a number is not finite.
    """
    n_short, n_small = 0, 0
    level: list[Any] = [[value]]
    for container in level:  # grows while it is read
        for item in container.values() if type(container) is dict else container:
            kind = type(item)
            if kind is float:
                if 1e-4 <= item <= 1e300:
                    continue
                if not isfinite(item):
                    return None
                size = abs(item)
                n_short += 1e-9 <= size < 1e-5
                n_small += 1e-5 <= size < 1e-4
            elif kind in CONTAINERS:
                level.append(item)
    return n_short, n_small
