"""Settings in Python text, read from its syntax tree. Nothing is executed.

What counts as a value: literals, arithmetic of them, names set before, and calls with keywords,
which become the mapping of these. All else is named as not read.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable
from typing import Any

MAX_POWER = 64
OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
DUMPED = re.compile(r"^\s*(\w+)\s*=\s*(.*?),?\s*$")


class NotReadError(ValueError):
    """An expression whose value would have to be computed."""


def parse_python(text: str) -> tuple[dict[str, Any], list[str]]:
    """Return values by name, those of a class's body or a call's keywords too, and names not read.

    Raises ValueError where the text is no Python, or has no setting.
    """
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, MemoryError) as error:
        raise ValueError(f"no Python: {error}") from error
    values: dict[str, Any] = {}
    computed: list[str] = []
    _read(tree.body, values, computed)
    if not values:
        raise ValueError("it sets nothing to a plain value")
    return values, computed


def _read(body: list[ast.stmt], values: dict[str, Any], computed: list[str]) -> None:
    for statement in body:
        if isinstance(statement, ast.ClassDef):
            _read(statement.body, values, computed)
            continue
        if isinstance(statement, ast.Assign):
            targets, expression = statement.targets, statement.value
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            targets, expression = [statement.target], statement.value
        elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
            targets, expression = [], statement.value
        else:
            continue
        names = [_name(target) for target in targets]
        try:
            value = _value(expression, values)
        except (NotReadError, ArithmeticError, TypeError, ValueError):
            computed += [name for name in names if name]
            continue
        for name in names:
            if name:
                values[name] = value
        if isinstance(value, dict) and isinstance(expression, ast.Call):
            values |= {k: v for k, v in value.items() if k not in values}


def _name(target: ast.expr) -> str | None:
    if isinstance(target, ast.Name):
        return target.id
    if isinstance(target, ast.Attribute):  # config.model.dim = 512
        parent = _name(target.value)
        return f"{parent}.{target.attr}" if parent not in (None, "self", "config") else target.attr
    return None


def _value(node: ast.expr, known: dict[str, Any]) -> Any:
    """Return the value of an expression. Raises NotReadError where it is none that is read."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name) and node.id in known:
        return known[node.id]
    reader = READERS.get(type(node))
    if reader is None:
        raise NotReadError(type(node).__name__)
    return reader(node, known)


def _signed(node: Any, known: dict[str, Any]) -> Any:
    value = _number(node.operand, known)
    if isinstance(node.op, ast.USub):
        return -value
    if isinstance(node.op, ast.UAdd):
        return value
    raise NotReadError("an operator")


def _reckoned(node: Any, known: dict[str, Any]) -> Any:
    left, right = _number(node.left, known), _number(node.right, known)
    if isinstance(node.op, ast.Pow) and abs(right) <= MAX_POWER and abs(left) <= MAX_POWER:
        return left**right
    if type(node.op) in OPERATORS:
        return OPERATORS[type(node.op)](left, right)
    raise NotReadError("an operator")


def _items(node: Any, known: dict[str, Any]) -> list[Any]:
    return [_value(item, known) for item in node.elts]


def _member(node: Any, known: dict[str, Any]) -> str:
    """Return the last name of torch.bfloat16 or SchedulerType.COSINE, in lower case."""
    del known  # the name stands for itself
    return str(node.attr).lower()


def _number(node: ast.expr, known: dict[str, Any]) -> Any:
    value = _value(node, known)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise NotReadError("no number")
    return value


def _dict(node: ast.Dict, known: dict[str, Any]) -> dict[str, Any]:
    found = {}
    for key, item in zip(node.keys, node.values, strict=True):
        if isinstance(key, ast.Constant):
            try:
                found[str(key.value)] = _value(item, known)
            except NotReadError:
                continue
    return found


def _keywords(node: ast.Call, known: dict[str, Any]) -> dict[str, Any]:
    """Return the keywords of a call that have a value; its name as `type`."""
    found: dict[str, Any] = {}
    for keyword in node.keywords:
        if keyword.arg is None:
            continue
        try:
            found[keyword.arg] = _value(keyword.value, known)
        except NotReadError:
            continue
    if not found:
        raise NotReadError("a call without settings")
    return found


def parse_dump(text: str) -> dict[str, Any]:
    """Return the values of a printed object, one `name=value,` a line or all in one line.

    Such a print is no Python: names of members and paths stand without quotes.
    """
    inner = text[text.index("(") + 1 :]
    lines = inner.splitlines()
    if len(lines) < 3:
        lines = re.split(r",\s*(?=\w+=)", inner.rstrip().rstrip(")"))
    found: dict[str, Any] = {}
    for line in lines:
        match = DUMPED.match(line)
        if match is None:
            continue
        try:
            found[match[1]] = ast.literal_eval(match[2])
        except (ValueError, SyntaxError):
            member = re.match(r"<?\w+\.(\w+)(?::.*)?>?$", match[2])
            found[match[1]] = member[1].lower() if member else match[2]
    if not found:
        raise ValueError("no name=value lines")
    return found


READERS: dict[type[ast.expr], Callable[[Any, dict[str, Any]], Any]] = {
    ast.UnaryOp: _signed,
    ast.BinOp: _reckoned,
    ast.List: _items,
    ast.Tuple: _items,
    ast.Dict: _dict,
    ast.Call: _keywords,
    ast.Attribute: _member,
}
