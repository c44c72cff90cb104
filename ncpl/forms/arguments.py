"""Arguments of a command line or a shell script, as names and values. Nothing is run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

from ncpl.forms.names import program_of

ARGUMENT = re.compile(r"(^|[\s\"'(=])--?[A-Za-z][\w.-]*")
ASSIGNED = re.compile(r"^\s*(?:export\s+|declare\s+(?:-\w+\s+)?)?([A-Za-z_]\w*)=(.*)$", re.DOTALL)
ARRAY = re.compile(r"^([ \t]*(?:declare[ \t]+-a[ \t]+)?[A-Za-z_]\w*=)\(([^)]*)\)", re.MULTILINE)
VARIABLE = re.compile(r"\$\{(\w+)(?:\[[@*]\])?(?::-([^}]*))?\}|\$(\w+)")
NAME = re.compile(r"--?([A-Za-z][\w.-]*)(?:=(.*))?$", re.DOTALL)
ROUNDS = 5
"""How deep one variable may stand in another."""


def parse_arguments(text: str) -> tuple[dict[str, Any], list[str]]:
    """Return values by name with dashes as underscores, and the names whose value was not read.

    `--name value`, `--name=value` and `--flag`. Variables and arrays that the script itself sets to
    plain text are put in. Of several commands the first whose names are those of a known program
    counts; else all lines together.
    """
    text = "\n".join(line.split(" #")[0] for line in text.splitlines()
                     if not line.lstrip().startswith("#"))  # fmt: skip
    text = re.sub(r"\\[ \t]*\r?\n", " ", text)
    text = ARRAY.sub(lambda m: f"{m[1]}'{' '.join(m[2].split())}'", text)
    variables: dict[str, str] = {}
    for line in text.splitlines():
        match = ASSIGNED.match(line)
        if match and "$(" not in match[2] and "`" not in match[2]:
            variables[match[1]] = " ".join(_words(match[2]))
    lines = [_put_in(line, variables) for line in text.splitlines()]
    found = [_values(line) for line in lines if ASSIGNED.match(line) is None]
    told = next(((v, left) for v, left in found if program_of(v) != "own"), None)
    if told is not None:
        return told
    values: dict[str, Any] = {}
    left: list[str] = []
    for line in lines:
        match = ASSIGNED.match(line)
        own, unread = _values(match[2] if match else line)
        values |= own
        left += unread
    return values, left


def _put_in(line: str, variables: Mapping[str, str]) -> str:
    for _ in range(ROUNDS):
        line = VARIABLE.sub(lambda m: variables.get(m[1] or m[3], m[2] or m[0]), line)
        if len(line) > 1_000_000:  # variables of variables of variables
            return ""
    return line


def _values(line: str) -> tuple[dict[str, Any], list[str]]:
    """Return the named values of one command, and names whose value would have to be computed."""
    words = [part for word in _words(line) for part in (_words(word) if " " in word else [word])]
    values: dict[str, Any] = {}
    left: list[str] = []
    for i, word in enumerate(words):
        match = NAME.match(word)
        if match is None:
            continue
        name, value = match[1].replace("-", "_"), match[2]
        if value is None:
            after = words[i + 1] if i + 1 < len(words) else None
            value = None if after is None or re.match(r"--?[A-Za-z]", after) else after
        if value is not None and ("$" in value or "`" in value):
            left.append(name)
            continue
        values[name] = True if value is None else value
    return values, left


def _words(text: str) -> list[str]:
    """Return the words of a shell text; of an unbalanced one, those between blanks."""
    try:
        return shlex.split(text, comments=True)
    except ValueError:
        return text.replace('"', " ").replace("'", " ").split()
