"""The commands that docs/use.md shows exist, with the options shown."""

import shlex
from pathlib import Path

import click
import pytest

from ncpl.cli import main, train_main

PAGE = Path(__file__).parents[2] / "docs" / "use.md"
LINES = [
    line.strip().split(" > ")[0]
    for line in PAGE.read_text(encoding="utf-8").splitlines()
    if line.startswith(("    ncpl ", "    ncpl-train "))
]


@pytest.mark.parametrize("line", LINES)
def test_a_shown_command_exists(line: str) -> None:
    program, *words = shlex.split(line)
    command: click.Command = train_main if program == "ncpl-train" else main
    context = click.Context(command)
    while isinstance(command, click.Group):
        found = command.get_command(context, words.pop(0))
        assert found is not None, line
        command = found
    command.make_context(program, words)  # a usage error raises


def test_the_page_shows_every_part() -> None:
    shown = " ".join(LINES)
    for part in ("predict", "plan recommend", "plot", "gate", "ncpl-train"):
        assert part in shown
