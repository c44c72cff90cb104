"""Documents as YAML: parsed by the JSON-like rules of YAML 1.2, with the lines of values."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ncpl_data.schema.text import (
    MAX_DEPTH,
    DuplicateKeyError,
    TextError,
    bounded_int,
    finite_float,
    too_deep,
)

MAX_YAML_NODES = 2_000_000
"""Nodes of one YAML document with its aliases written out."""

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
            f"{text}, which is not finite",
            rule="number",
            expected="a finite number, null, or no such key",
            line=line,
        )
    return text


YAML_PLAIN_TAGS = {"null", "bool", "int", "float", "str", "timestamp", "merge", "value"}
"""Tags the reader of YAML 1.1 gives to plain scalars; we decide by the text instead."""


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
