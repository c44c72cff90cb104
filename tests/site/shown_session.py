"""A page's files and shell session: what it shows typed, run in a folder, and what came back.

A fence with a title is a file; in a fence `console`, a line after `$ ` is typed and what follows is
what it prints.
"""

from __future__ import annotations

import difflib
import math
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

FILE = re.compile(r'^```\w+ title="(?P<name>[^"/]+)"\n(?P<text>.*?)^```$', re.DOTALL | re.MULTILINE)
CONSOLE = re.compile(r"^```console\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
NUMBER = re.compile(r"\d[\d.,]*(?:e[+-]?\d+)?")


@dataclass(frozen=True)
class Typed:
    """One command of a page and what the page says it prints."""

    line: str
    shown: str


def files_of(page: str) -> dict[str, str]:
    """Return the files a page asks for."""
    return {match["name"]: match["text"] for match in FILE.finditer(page)}


def session_of(page: str) -> list[Typed]:
    """Return the commands of a page in their order."""
    found = []
    for block in CONSOLE.finditer(page):
        for part in re.split(r"(?m)^\$ ", block["text"])[1:]:
            line, _, shown = re.sub(r"\\\n", "", part).partition("\n")
            found.append(Typed(line, shown))
    return found


def ran(session: Sequence[Typed], folder: Path, more: Mapping[str, str]) -> list[tuple[int, str]]:
    """Return exit code and output of each command, all typed into one shell in a folder."""
    mark = "@@ended@@"
    script = "".join(f"{one.line}\nprintf '\\n{mark}%s\\n' $?\n" for one in session)
    left_out = ("NCPL_", "VIRTUAL_ENV", "PYTHON")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(left_out)}
    # pip finds its package index where the user says
    environment.setdefault("XDG_CONFIG_HOME", str(Path.home() / ".config"))
    environment |= {"OMP_NUM_THREADS": "1", "HOME": str(folder), "XDG_CACHE_HOME": str(folder)}
    done = subprocess.run(
        ["bash"],
        check=False,
        input=script,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
        env=environment | more,
    )
    found = re.split(rf"\n?{mark}(\d+)\n", done.stdout)
    return [(int(code), text) for text, code in zip(found[:-1:2], found[1::2], strict=True)]


def with_outputs(page: str, outputs: Sequence[str]) -> str:
    """Return a page that shows these outputs."""
    left = iter(outputs)

    def block(match: re.Match[str]) -> str:
        parts = re.split(r"(?m)^\$ ", match["text"])[1:]
        lines = [re.match(r"(?:.*\\\n)*.*\n", part) for part in parts]
        shown = [f"$ {line[0]}{tidy(next(left))}" for line in lines if line]
        return "```console\n" + "".join(shown) + "```"

    return CONSOLE.sub(block, page)


def tidy(output: str) -> str:
    """Return an output as a page shows it: no trailing space, one newline at the end."""
    lines = [line.rstrip() for line in output.strip("\n").splitlines()]
    return "".join(f"{line}\n" for line in lines)


def differences(shown: str, now: str) -> list[str]:
    """Return where an output differs from what a page shows, as a diff; [] where it does not.

    Processors differ in the last digit and a search in a step: losses may differ by .2%, other
    numbers by 30%. The width of columns is not compared.
    """
    left = [line for line in tidy(shown).splitlines() if line]
    page = list(left)
    found = []
    for line in filter(None, tidy(now).splitlines()):
        same = next((one for one in left if is_same(one, line)), None)
        if same is not None:
            left.remove(same)
        found.append(line if same is None else same)
    return list(difflib.unified_diff(page, found, "page", "now", lineterm="", n=0))


def is_same(shown: str, now: str) -> bool:
    """Return whether two lines have the same words, and numbers as near as two machines'."""
    if words_of(shown) != words_of(now):
        return False
    numbers = zip(NUMBER.findall(shown), NUMBER.findall(now), strict=True)
    return all(one == other or is_near(one, other) for one, other in numbers)


def is_near(shown: str, now: str) -> bool:
    """Return whether two numbers, as printed, are as near as two machines' may be."""
    one, other = (number.replace(",", "").rstrip(".") for number in (shown, now))
    if max(one.count("."), other.count(".")) > 1:
        return False  # a version
    is_loss = re.fullmatch(r"[1-9]\d*\.\d{4}", one) is not None
    return math.isclose(float(one), float(other), rel_tol=0.002 if is_loss else 0.3, abs_tol=5e-4)


def words_of(shown: str) -> str:
    """Return an output without its numbers and the width of its columns."""
    return re.sub(r"[\s-]+", " ", NUMBER.sub("0", shown)).strip()
