"""ncpl bench run: the same bytes twice, errors in one sentence."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from ncpl.commands.bench import bench

FIXTURE = Path(__file__).parents[2] / "fixtures" / "snapshot_steplaw"


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(bench, ["run", *(str(a) for a in arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def test_prints_the_same_bytes_twice(tmp_path) -> None:
    options = ("--snapshot", FIXTURE, "--method", "compute", "--split", "ncpl", "-q")
    first = run(*options, "--out", tmp_path / "one")
    again = run(*options, "--out", tmp_path / "two")
    assert first[0] == 0
    assert first[:2] == again[:2]
    for name in ("board.md", "board.json", "board.html"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert json.loads((tmp_path / "one" / "timing.json").read_text())[0]["fit_seconds"] > 0


def test_json_is_one_object() -> None:
    code, text, _ = run("--snapshot", FIXTURE, "--method", "Step Law", "--json", "-q")
    found = json.loads(text)
    assert code == 0
    assert found["format"] == "ncpl-board/1"
    assert found["parts"][0]["runs"] == {"train": 1517, "id": 370, "ood": 694}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--snapshot", "/nowhere"), 1, "no snapshot"),
        (("--snapshot", FIXTURE, "--method", "nosuch"), 2, "no method's name holds"),
        (("--snapshot", FIXTURE, "--predictions", "mine"), 2, "not NAME=PATH"),
        (("--snapshot", FIXTURE, "--bundle", "mine=absent"), 2, "does not exist"),
        (("--snapshot", FIXTURE, "--source", "nosuch"), 1, "no source has"),
    ],
)
def test_bad_input_is_one_sentence(arguments, code, words) -> None:
    found, _, errors = run(*arguments)
    assert found == code
    assert words in errors
    assert "Traceback" not in errors
