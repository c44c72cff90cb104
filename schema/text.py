"""Documents as JSON text: parsed strictly, with the lines of values."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

MAX_DEPTH = 100
MANY_DIGITS = re.compile(r"\d{300}")
LARGE_EXPONENT = re.compile(r"\+?\d{3}")

TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+|"', re.DOTALL)

COLON = re.compile(r"\s*:")


class TextError(ValueError):
    """A text that is not one of our documents, or that would lose data when read."""

    def __init__(
        self,
        message: str,
        *,
        rule: str,
        line: int | None = None,
        expected: str = "one JSON or YAML document",
        wrong: str | None = None,
    ) -> None:
        """Keep the rule broken, the line (from 1) and what is wanted instead.

        `wrong` is the word of the text that is wrong: a number, or the key given twice.
        """
        super().__init__(message)
        self.rule = rule
        self.line = line
        self.expected = expected
        self.wrong = wrong
        self.pointer = ""
        """JSON Pointer of the place, "" where it is not known."""


class DuplicateKeyError(TextError):
    """An object names one key twice, so one of its values would be lost."""

    def __init__(self, key: str, line: int | None = None) -> None:
        """Name the key."""
        message = f'the key "{key[:80]}" is given twice in one object'
        super().__init__(
            message, rule="duplicate_key", line=line, expected="each key once", wrong=key
        )


@cache
def quick_loads() -> Callable[[bytes], Any]:
    """Return a reader of JSON that is as it should be: orjson's where it is installed.

    Both raise ValueError for what is not JSON. Documents of others are read by `parse_json`.
    """
    try:
        import orjson
    except ImportError:
        return json.loads
    loads: Callable[[bytes], Any] = orjson.loads
    return loads


def parse_json(text: str) -> Any:
    """Return the value of a JSON text.

    Raises TextError for what is not JSON, for what JSON itself forbids (NaN, Infinity) and for
    what would lose data (a key given twice, a number too large for a double, half a character).
    """

    def refuse_constant(name: str) -> Any:
        raise TextError(
            f"{name}, which is not a JSON number",
            rule="number",
            expected="a finite number, null, or no such key",
            wrong=name,
        )

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            seen: set[str] = set()
            for key, _ in pairs:
                if key in seen:
                    raise DuplicateKeyError(key)
                seen.add(key)
        return found

    careful: dict[str, Any] = {}
    if may_overflow(text):
        careful = {"parse_float": finite_float, "parse_int": bounded_int}
    try:
        value = json.loads(
            text, parse_constant=refuse_constant, object_pairs_hook=unique, **careful
        )
    except json.JSONDecodeError as error:
        raise TextError(
            f"not JSON: {error.msg} at column {error.colno}", rule="syntax", line=error.lineno
        ) from error
    except RecursionError as error:
        raise too_deep() from error
    except TextError as error:
        locate(text, error)
        raise
    if "[[[[" in text or text.count("[") + text.count("{") > MAX_DEPTH:
        check_depth(value)
    if "\\u" in text:
        check_characters(value)
    return value


def may_overflow(text: str) -> bool:
    """Return whether a number may be too large; only such texts pay for a look at each number."""
    if "\\" in text:
        return True  # an escaped quote: which parts are strings is not told by the quotes alone
    outside = "".join(text.split('"')[::2])
    if any(LARGE_EXPONENT.match(part) for part in outside.replace("E", "e").split("e")[1:]):
        return True
    return max(map(len, outside.split(","))) > 300 and MANY_DIGITS.search(text) is not None


def finite_float(text: str) -> float:
    """Return a number.

    Raises TextError if it is too large for a double.
    """
    value = float(text)
    if math.isinf(value):
        raise too_large(text)
    return value


def bounded_int(text: str) -> int:
    """Return a whole number.

    Raises TextError if it has more digits than a double can hold.
    """
    if len(text) > 300:
        raise too_large(text)
    return int(text)


def too_large(text: str) -> TextError:
    """Return the error of a number that a double can not hold."""
    shown = text if len(text) <= 40 else f"{text[:40]}..."
    return TextError(
        f"the number {shown}, which is too large",
        rule="number",
        expected="a number below 1.8e308",
        wrong=text,
    )


def locate(text: str, error: TextError) -> None:
    """Set the place of an error that names the wrong word of a JSON text."""
    keys: set[tuple[Any, ...]] = set()
    for at, path in places(text):
        token = TOKEN.match(text, at)
        if token is None:
            return
        if error.rule == "duplicate_key":
            if not path or path[-1] != error.wrong or COLON.match(text, token.end()) is None:
                continue
            if tuple(path) not in keys:
                keys.add(tuple(path))
                continue
        elif token[0] != error.wrong:
            continue
        steps = (str(step).replace("~", "~0").replace("/", "~1")[:200] for step in path)
        error.pointer = "".join(f"/{step}" for step in steps)
        error.line = text.count("\n", 0, at) + 1
        return


def too_deep() -> TextError:
    """Return the error of a document nested too deeply."""
    return TextError(f"nested more than {MAX_DEPTH} deep", rule="depth")


def check_depth(value: Any) -> None:
    """Raise TextError if a value is nested too deeply; without recursion of its own."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for item in level
            if isinstance(item, (dict, list))
            for child in (item.values() if isinstance(item, dict) else item)
            if isinstance(child, (dict, list))
        ]
        if not level:
            return
    raise too_deep()


def check_characters(value: Any) -> None:
    """Raise TextError if a text holds half a character (a lone surrogate)."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise TextError(
            f"\\u{ord(error.object[error.start]):04x} is half a character (a lone surrogate)",
            rule="encoding",
        ) from error


def decode(content: bytes) -> str:
    """Return bytes as UTF-8 text, without its byte order mark.

    Raises TextError for another encoding.
    """
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise TextError("UTF-16 text", rule="encoding", expected="UTF-8 text")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise TextError(
            f"byte {error.start} ({content[error.start]:#04x}) is not UTF-8 text",
            rule="encoding",
            line=line,
        ) from error


def line_of(text: str, pointer: str, first_line: int = 1) -> int:
    """Return the line (from 1) of the value a JSON Pointer names in a JSON text.

    Where the pointer names a missing value, the line is that of the nearest object around it.
    """
    wanted = [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]
    best_depth, best_at = -1, 0
    for at, path in places(text):
        is_prefix = len(path) <= len(wanted) and all(
            str(a)[:200] == b for a, b in zip(path, wanted, strict=False)
        )
        if is_prefix and len(path) > best_depth:
            best_depth, best_at = len(path), at
    return first_line + text.count("\n", 0, best_at)


def places(text: str) -> Iterator[tuple[int, list[Any]]]:
    """Yield (offset, path) of each key and value of a JSON text; the path is live, not a copy."""
    path: list[Any] = []
    in_object: list[bool] = []
    expects_key = False
    for match in TOKEN.finditer(text):
        token = match[0]
        if token == ":":
            expects_key = False
        elif token == ",":
            expects_key = bool(in_object) and in_object[-1]
            if in_object and not expects_key:
                path[-1] += 1
        elif token in "}]":
            if path:
                path.pop()
                in_object.pop()
            expects_key = False
        else:
            if expects_key:
                path[-1] = unquoted(token)
            yield match.start(), path
            if token in "{[" and not expects_key:
                in_object.append(token == "{")
                path.append(None if token == "{" else 0)
                expects_key = token == "{"


def unquoted(token: str) -> str:
    """Return the text of a JSON string, or the token itself where it is none."""
    try:
        return str(json.loads(token))
    except ValueError:
        return token
