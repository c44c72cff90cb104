"""The ten lines of CONTRIBUTING.md work as they stand there."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from ncpl_data.ingest.cli import main

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
LOGS = ROOT / "tests" / "fixtures" / "logs"


def commands() -> list[list[str]]:
    """Return the commands of the first block, without comments."""
    block = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)[0]
    found = [shlex.split(line, comments=True) for line in block.splitlines()]
    return [words[1:] for words in found if words and words[0] == "ncpl-data"]


def test_a_log_folder_becomes_an_accepted_submission_in_ten_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    block = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)[0]
    assert len(block.splitlines()) <= 10
    shutil.copytree(LOGS / "huggingface", tmp_path / "out")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NCPL_CATALOG", str(tmp_path / "catalog"))
    runner = CliRunner()
    for words in commands():
        if "ID" in words:
            continue
        result = runner.invoke(main, words)
        assert result.exit_code == 0, (words, result.output)
    result = runner.invoke(main, ["query", "select run_id, contributor, licence from runs"])
    assert "acme/out" in result.stdout
    assert "CC-BY-4.0" in result.stdout


def test_every_command_named_in_the_guide_exists() -> None:
    for words in commands():
        command = main
        for word in words:
            known = getattr(command, "commands", {})
            if word not in known:
                break
            command = known[word]
        options = {name for p in command.params for name in p.opts}
        assert {w for w in words if w.startswith("--")} <= options, words


def test_every_path_named_in_the_guide_exists() -> None:
    for path in re.findall(r"`((?:schema|ingest|tests|catalog)/[\w./]*\w/?)`", TEXT):
        if "NAME" not in path:
            assert (ROOT / path).exists(), path
