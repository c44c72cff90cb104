"""Commands: results on stdout, one sentence for a mistake, exit codes as documented."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from ncpl.bundle import Bundle
from ncpl.cli import main, train_main
from ncpl.data import Snapshot

CONFIG = '{"params_non_embedding": 3e8, "train_tokens": 1e10, "learning_rate": 2e-3}'


@pytest.mark.parametrize("command", ["predict", "eval", "card", "plot"])
def test_every_command_has_help_with_an_example(command: str) -> None:
    result = CliRunner().invoke(main, [command, "--help"])
    assert result.exit_code == 0
    assert "Example: ncpl" in result.output


def test_training_prints_the_score_table(snapshot: Snapshot, tmp_path: Path) -> None:
    file = tmp_path / "fit.toml"
    file.write_text("width = 16\nn_layers = 1\nn_heads = 2\nsteps = 5\ncalibration_folds = 0\n")
    arguments = ["--snapshot", str(snapshot.path), "--config", str(file), "--seeds", "1", "--json"]
    plot = tmp_path / "fit.png"
    out = tmp_path / "bundle"
    result = CliRunner().invoke(train_main, [*arguments, "--out", str(out), "--plot", str(plot)])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["snapshot_id"] == snapshot.id
    assert {row["predictor"] for row in found["scores"]} >= {"Chinchilla, refit", "NCPL, ensemble"}
    assert plot.is_file()
    assert json.loads((out / "scores.json").read_text())["scores"] == found["scores"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--snapshot", "nowhere"], 1, "no snapshot 'nowhere'"),
        (["--preset", "huge"], 1, "unknown preset 'huge'"),
        (["--preset", "tiny", "--config", "x.toml"], 2, "not both"),
        (["--seeds", "0"], 2, "--seeds"),
    ],
)
def test_a_wrong_training_command_is_one_sentence(
    arguments: list[str], code: int, message: str, tmp_path: Path
) -> None:
    result = CliRunner().invoke(train_main, [*arguments, "--catalog", str(tmp_path)])
    assert result.exit_code == code
    assert message in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("text", "count"), [(CONFIG, 1), (f"[{CONFIG}, {CONFIG}]", 2), (f"{CONFIG}\n\n{CONFIG}\n", 2)]
)
def test_configurations_come_as_object_list_or_lines(
    bundle: Bundle, folder: Path, tmp_path: Path, text: str, count: int
) -> None:
    file = tmp_path / "config.json"
    file.write_text(text)
    result = CliRunner().invoke(main, ["predict", str(file), "--bundle", str(folder), "--json"])
    assert result.exit_code == 0, result.output
    assert len(json.loads(result.stdout)["predictions"]) == count


def test_configurations_come_from_standard_input(bundle: Bundle, folder: Path) -> None:
    result = CliRunner().invoke(main, ["predict", "-", "--bundle", str(folder)], input=CONFIG)
    assert result.exit_code == 0, result.output
    assert "steplaw: loss 2." in result.stdout
    assert "no batch size given" in result.stdout


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "line 1: not JSON"),
        ("[]", "expected JSON objects"),
        ("3", "expected JSON objects"),
        ('{"learning_rate": 300}', "learning_rate is 300"),
    ],
)
def test_a_wrong_file_is_one_sentence(
    bundle: Bundle, folder: Path, tmp_path: Path, text: str, message: str
) -> None:
    file = tmp_path / "config.json"
    file.write_text(text)
    result = CliRunner().invoke(main, ["predict", str(file), "--bundle", str(folder)])
    assert result.exit_code == 1
    assert message in result.stderr


def test_a_bundle_is_scored_shown_and_plotted(
    bundle: Bundle, folder: Path, snapshot: Snapshot, tmp_path: Path
) -> None:
    runner, given = CliRunner(), ["--bundle", str(folder)]
    on = ["--snapshot", str(snapshot.path)]
    assert "Chinchilla, reference" in runner.invoke(main, ["eval", *given, *on]).stdout
    assert json.loads(runner.invoke(main, ["card", *given, "--json"]).stdout)["families"]
    assert "# NCPL bundle" in runner.invoke(main, ["card", *given]).stdout
    png = tmp_path / "a.png"
    assert runner.invoke(main, ["plot", *given, *on, "--out", str(png)]).exit_code == 0
    assert png.is_file()
