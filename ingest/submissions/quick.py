"""Whether one line is surely a good run document: the quick test that spares a closer look.

It reads with orjson and tests with jsonschema-rs (the extra `fast`), and never says what is wrong:
every line it does not pass is examined by the rules of one document, so that the two can not
disagree. What orjson lets through and our own reading refuses (a key given twice, deep nesting) is
counted here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from ncpl_data.ingest.submissions.checks import check_run
from ncpl_data.schema.batch import validity_test
from ncpl_data.schema.fields import SECTIONS, run_fields
from ncpl_data.schema.text import MAX_DEPTH

MANY_COLONS = 1 << 30
"""Colons no line has; stands for a document that is nested too deeply."""


@cache
def has_fast() -> bool:
    """Return whether the extra `fast` is installed."""
    try:
        import jsonschema_rs
        import orjson
    except ImportError:
        return False
    return bool(jsonschema_rs and orjson)


@cache
def quick_reader() -> Callable[[bytes], dict[str, Any] | None]:
    """Return a reader that gives the run of a line that surely holds one, None where in doubt."""
    import orjson

    loads, is_valid = orjson.loads, validity_test("run")

    def read(line: bytes) -> dict[str, Any] | None:
        try:
            document = loads(line)
        except ValueError:
            return None
        if type(document) is not dict or not is_valid(document):
            return None
        if type(document.get("curves")) is dict:  # in a file beside the document
            return None
        n_colons = line.count(b":")
        if n_colons != count_keys(document) and n_colons != colons_of(line, document):
            return None
        return None if check_run(document) else document

    return read


def quick_test() -> Callable[[bytes], bool]:
    """Return a test that says True where a line is surely one valid run, False where in doubt."""
    read = quick_reader()
    return lambda line: read(line) is not None


def count_keys(document: dict[str, Any]) -> int:
    """Return the keys of a valid run and of everything inside it, nested as deeply as allowed.

    Each key of the text is followed by one colon, so as many colons as keys mean that no key
    was lost. The schema has seen which values are texts and numbers; they are not looked at.
    """
    total = len(document)
    for name, fields in nested_fields():
        section = document.get(name) if name else document
        if not section:
            continue
        if name:
            total += len(section)
        for field in fields:
            item = section.get(field)
            if item:
                total += keys_within(item, 3)
    for name in ("curves", "evals"):
        items = document.get(name)
        if items:
            total += sum(map(len, items))
    return total


@cache
def nested_fields() -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return (section, fields that hold an object or list) for each section; "" is the top."""
    found: dict[str, list[str]] = {"": [], **{name: [] for name in SECTIONS}}
    for field in run_fields():
        if field.kind in ("strings", "records", "json"):
            *section, name = field.path
            found["/".join(section)].append(name)
    return tuple((section, tuple(names)) for section, names in found.items())


def keys_within(value: dict[str, Any] | list[Any], depth: int) -> int:
    """Return the keys inside an object or list that stands at some depth."""
    if depth > MAX_DEPTH:
        return MANY_COLONS
    if type(value) is dict:
        total, items = len(value), value.values()
        for item in items:
            if type(item) is dict or type(item) is list:
                total += keys_within(item, depth + 1)
        return total
    total = 0
    for item in value:
        if type(item) is dict or type(item) is list:
            total += keys_within(item, depth + 1)
    return total


def colons_of(line: bytes, document: dict[str, Any]) -> int:
    r"""Return the colons a text with this content has: those after keys and those inside texts.

    A text with escapes (\u003a is a colon) is not counted.
    """
    if b"\\u" in line:
        return -1
    total = count_keys(document)
    level: list[Any] = list(document)
    for name, item in document.items():
        if name == "curves":
            level.extend(curve["metric"] for curve in item or ())
        else:
            level.append(item)
    while level:
        item = level.pop()
        if type(item) is str:
            total += item.count(":")
        elif type(item) is dict:
            level.extend(item)
            level.extend(item.values())
        elif type(item) is list:
            level.extend(item)
    return total
