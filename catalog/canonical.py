"""The one JSON text of a value, by which contents are compared and hashed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

ENCODER = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
)
"""What the text is defined by."""

ODD_MARKS = (b"e-", b"0.0000")
"""One of these stands in each number that orjson spells in its own way, and in other places."""

SHORT_EXPONENT = re.compile(rb"e-(\d)(?!\d)")
"""Of 1e-8, which Python spells 1e-08."""

SMALL_NUMBER = re.compile(rb"(?<![\d.])0\.0000\d+")
"""0.00001, which Python spells 1e-05."""

Dumps = Callable[[Any], bytes]


def canonical_json(value: Any) -> str:
    """Return the one JSON text of a value: keys sorted, no spaces, no NaN.

    Raises ValueError for a number that is not finite, TypeError for what JSON has not.
    """
    dumps = quick_dumps()
    text = None if dumps is None else quick_json(dumps, value)
    return ENCODER.encode(value) if text is None else text.decode()


@cache
def quick_dumps() -> Dumps | None:
    """Return orjson's writer with sorted keys, None where it is not installed."""
    try:
        import orjson
    except ImportError:
        return None
    option = orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_SUBCLASS
    option |= orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME
    return lambda value: orjson.dumps(value, option=option)


def quick_json(dumps: Dumps, value: Any) -> bytes | None:
    """Return the same text by orjson, ten times sooner; None where only the encoder can tell.

    The two differ in three things: orjson writes NaN as null, it refuses numbers beyond 64 bits,
    and it spells very small and very large numbers in another way.
    """
    try:
        text = dumps(value)
    except (TypeError, ValueError):
        return None
    if b"null" in text and text.count(b"null") != count_nulls(value):
        return None
    if not any(mark in text for mark in ODD_MARKS):
        return text
    if b"\\" in text:  # an escaped quote: which parts are texts is not told by the quotes alone
        return None
    parts = text.split(b'"')
    outside = b'"'.join(parts[::2])
    if not any(mark in outside for mark in ODD_MARKS):
        return text
    outside = SHORT_EXPONENT.sub(rb"e-0\1", outside)
    if b"0.0000" in outside:
        outside = SMALL_NUMBER.sub(spelt, outside)
    parts[::2] = outside.split(b'"')
    return b'"'.join(parts)


def canonical_row(values: dict[str, Any], text_columns: Iterable[str]) -> bytes:
    """Return the one JSON text of a row, in UTF-8.

    `text_columns` are those that hold JSON as text: they are long, full of quotes to escape, and
    no numbers of this row, so they are put in after the rest was looked at.
    """
    dumps = quick_dumps()
    texts = {column: values[column] for column in text_columns if column in values}
    if dumps is not None and (text := quick_json(dumps, values | dict.fromkeys(texts, "@"))):
        try:
            for column, content in texts.items():
                key = b'"' + column.encode() + b'":'
                text = text.replace(key + b'"@"', key + dumps(content), 1)
        except (TypeError, ValueError):
            return ENCODER.encode(values).encode()
        return text
    return ENCODER.encode(values).encode()


def spelt(number: re.Match[bytes]) -> bytes:
    """Return a number as Python spells it."""
    return repr(float(number[0])).encode()


def count_nulls(value: Any) -> int:
    """Return how many nulls a value holds; NaN is none."""
    if value is None:
        return 1
    if isinstance(value, dict):
        return sum(count_nulls(item) for item in value.values() if type(item) not in PLAIN)
    if isinstance(value, (list, tuple)):
        return sum(count_nulls(item) for item in value if type(item) not in PLAIN)
    return 0


PLAIN = frozenset((str, int, float, bool))
"""Types that hold no null; looked up because most values are of one of them."""
