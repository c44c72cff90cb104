"""Documents as text: parse JSON and YAML strictly, and find the line a value stands on."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any

MAX_DEPTH = 100
MAX_YAML_NODES = 2_000_000
"""Nodes of one YAML document with its aliases written out."""

MANY_DIGITS = re.compile(r"\d{300}")
LARGE_EXPONENT = re.compile(r"\+?\d{3}")

TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+|"', re.DOTALL)


class TextError(ValueError):
    """A text that is not one of our documents, or that would lose data when read."""

    def __init__(self, message: str, *, rule: str, line: int | None = None) -> None:
        """Keep the rule broken and the line (from 1) beside the message."""
        super().__init__(message)
        self.rule = rule
        self.line = line


class DuplicateKeyError(TextError):
    """An object names one key twice, so one of its values would be lost."""

    def __init__(self, key: str, line: int | None = None) -> None:
        """Name the key."""
        message = f'the key "{key[:80]}" is given twice in one object'
        super().__init__(message, rule="duplicate_key", line=line)


def parse_json(text: str) -> Any:
    """Return the value of a JSON text.

    Raises TextError for what is not JSON, for what JSON itself forbids (NaN, Infinity) and for
    what would lose data (a key given twice, a number too large for a double, half a character).
    """

    def refuse_constant(name: str) -> Any:
        raise TextError(
            f"{name} is not a JSON number; leave the value out or use null", rule="number"
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
        raise TextError(f"the number {text[:40]} is too large", rule="number")
    return value


def bounded_int(text: str) -> int:
    """Return a whole number.

    Raises TextError if it has more digits than a double can hold.
    """
    if len(text) > 300:
        raise TextError(f"the number {text[:40]}... is too large", rule="number")
    return int(text)


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
        raise TextError("found UTF-16; expected UTF-8 text", rule="encoding")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise TextError(
            f"byte {error.start} ({content[error.start]:#04x}) is not UTF-8 text",
            rule="encoding",
            line=line,
        ) from error


# --- YAML ----------------------------------------------------------------------------------------

YAML_TAG = "tag:yaml.org,2002:"
YAML_NULL = re.compile(r"~|null|Null|NULL|")
YAML_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False} | {
    "FALSE": False
}
YAML_INT = re.compile(r"[-+]?[0-9]+")
YAML_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
YAML_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


def parse_yaml(text: str) -> Iterator[tuple[int, Any]]:
    """Yield (line, value) of each document of a YAML text, by the JSON-like rules of YAML 1.2.

    Nothing but mappings, lists and scalars is ever built: no tag makes an object. 3e-4 is a
    number and `no` is text, unlike in YAML 1.1.

    Raises TextError for what is not YAML, a key given twice, a key that is not text, a tag, and
    aliases that blow up.
    """
    import yaml

    loader = None
    try:
        loader = yaml_loader()(text)
        while loader.check_node():
            node = loader.get_node()
            if yaml_size(node, {}, 0) > MAX_YAML_NODES:
                raise TextError("its aliases make the document too large", rule="size")
            yield node.start_mark.line + 1, yaml_value(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = None if mark is None else mark.line + 1
        raise TextError(f"not YAML: {error.problem}", rule="syntax", line=line) from error
    except yaml.YAMLError as error:
        raise TextError(f"not YAML: {str(error).splitlines()[0]}", rule="syntax") from error
    except RecursionError as error:
        raise too_deep() from error
    finally:
        if loader is not None:
            loader.dispose()


def yaml_loader() -> Any:
    """Return the fast YAML reader where it was built, else the plain one."""
    import yaml

    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def yaml_size(node: Any, known: dict[int, int], depth: int) -> int:
    """Return the nodes of a YAML tree with its aliases written out.

    Raises TextError if a node holds itself, or for too deep a tree.
    """
    if depth > MAX_DEPTH:
        raise too_deep()
    if id(node) in known:
        size = known[id(node)]
        if size == 0:
            raise TextError("an alias refers to the object it stands in", rule="depth")
        return size
    known[id(node)] = 0
    size = 1
    if node.id == "mapping":
        size += sum(
            yaml_size(k, known, depth + 1) + yaml_size(v, known, depth + 1) for k, v in node.value
        )
    elif node.id == "sequence":
        size += sum(yaml_size(item, known, depth + 1) for item in node.value)
    known[id(node)] = size
    return size


def yaml_value(node: Any) -> Any:
    """Return a YAML node as JSON types."""
    line = node.start_mark.line + 1
    if node.id == "mapping":
        check_tag(node, "map", line)
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.id != "scalar":
                raise TextError("a key is not text", rule="syntax", line=line)
            if key_node.value in found:
                raise DuplicateKeyError(key_node.value, key_node.start_mark.line + 1)
            found[key_node.value] = yaml_value(value_node)
        return found
    if node.id == "sequence":
        check_tag(node, "seq", line)
        return [yaml_value(item) for item in node.value]
    return yaml_scalar(node, line)


def check_tag(node: Any, kind: str, line: int) -> None:
    """Raise TextError for a tag that asks for anything but the plain kind."""
    if node.tag != f"{YAML_TAG}{kind}":
        raise TextError(f'the tag "{node.tag[:80]}" is not allowed', rule="tag", line=line)


def yaml_scalar(node: Any, line: int) -> Any:
    """Return a YAML scalar: null, true, false, a number or text."""
    text: str = node.value
    if node.style:  # quoted or a block: text
        check_tag(node, "str", line)
        return text
    if node.tag.removeprefix(YAML_TAG) not in YAML_PLAIN_TAGS:
        check_tag(node, "str", line)
    if YAML_NULL.fullmatch(text):
        return None
    if text in YAML_BOOL:
        return YAML_BOOL[text]
    if YAML_INT.fullmatch(text):
        return bounded_int(text)
    if YAML_FLOAT.fullmatch(text):
        return finite_float(text)
    if YAML_NOT_FINITE.fullmatch(text):
        raise TextError(
            f"{text} is not a number of a document; leave it out or use null",
            rule="number",
            line=line,
        )
    return text


YAML_PLAIN_TAGS = {"null", "bool", "int", "float", "str", "timestamp", "merge", "value"}
"""Tags the reader of YAML 1.1 gives to plain scalars; we decide by the text instead."""


# --- Lines ---------------------------------------------------------------------------------------


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


def yaml_line_of(text: str, pointer: str, index: int = 0) -> int | None:
    """Return the line (from 1) of a value in one document of a YAML text."""
    import yaml

    loader = yaml_loader()(text)
    try:
        node: Any = None
        for _ in range(index + 1):
            if not loader.check_node():
                return None
            node = loader.get_node()
        line: int = node.start_mark.line + 1
        for step in pointer.split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            if node.id == "mapping":
                pair = next((p for p in node.value if str(p[0].value)[:200] == name), None)
                if pair is None:
                    break
                node, line = pair[1], pair[0].start_mark.line + 1
            elif node.id == "sequence" and name.isdigit() and int(name) < len(node.value):
                node = node.value[int(name)]
                line = node.start_mark.line + 1
            else:
                break
        return line
    except (yaml.YAMLError, RecursionError):
        return None
    finally:
        loader.dispose()
