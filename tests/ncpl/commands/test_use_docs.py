"""The commands that docs/use.md shows exist, and print what it shows."""

import os
import re
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from ncpl.cli import main, train_main
from ncpl_data.ingest.cli import main as data_main

PAGE = Path(__file__).parents[3] / "docs" / "use.md"
TEXT = PAGE.read_text(encoding="utf-8")
LINES = [
    line.strip().split(" > ")[0]
    for line in TEXT.splitlines()
    if line.startswith(("    ncpl ", "    ncpl-train "))
]
OUTPUT = re.compile(
    r"<!-- (?P<command>ncpl .+?)(?:, part (?P<part>\d+))? -->\n\n"
    r"(?P<shown>(?: {4}.*\n|\n(?= {4}))+)"
)
"""A comment with a command of the shipped bundle, then what it prints, or one paragraph of that."""
NUMBER = re.compile(r"\d[\d.]*(?:e[+-]\d+)?")


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


def printed(command: str, part: str | None) -> str:
    """Return what a command prints, or one paragraph of it, indented as on the page."""
    result = CliRunner().invoke(main, shlex.split(command)[1:])
    assert result.exit_code == 0, result.output
    lines = [line.rstrip() for line in result.stdout.strip().splitlines()]
    if part is not None:
        lines = "\n".join(lines).split("\n\n")[int(part) - 1].splitlines()
    return "".join(f"    {line}".rstrip() + "\n" for line in lines)


@pytest.mark.slow
def test_the_page_shows_what_the_shipped_bundle_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Words are equal and numbers near: processors differ in the last digit, a search in a step.

    UPDATE_GOLDEN=1 writes the page anew, for a new bundle.
    """
    (config,) = re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)
    (tmp_path / "config.json").write_text(config, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    names = ["steplaw", "marin", "losscast"]
    for words in (["ingest", *names, "--offline"], ["snapshot"]):
        assert CliRunner().invoke(data_main, words).exit_code == 0
    found = {match: printed(match["command"], match["part"]) for match in OUTPUT.finditer(TEXT)}
    assert len(found) >= 4
    if os.environ.get("UPDATE_GOLDEN"):
        outputs = iter(found.values())
        text = OUTPUT.sub(lambda m: m[0].removesuffix(m["shown"]) + next(outputs), TEXT)
        PAGE.write_text(text, encoding="utf-8")
        return
    for match, now in found.items():
        shown = match["shown"]
        assert words_of(now) == words_of(shown), match["command"]
        for ours, theirs in zip(NUMBER.findall(now), NUMBER.findall(shown), strict=True):
            is_loss = re.fullmatch(r"\d\.\d{4}", theirs) and float(theirs) > 1
            near = 0.01 if is_loss else 0.3
            assert float(ours) == pytest.approx(float(theirs), rel=near), match["command"]


def words_of(shown: str) -> str:
    """Return an output without its numbers and the width of its columns."""
    return re.sub(r"[ -]+", " ", NUMBER.sub("0", shown))
