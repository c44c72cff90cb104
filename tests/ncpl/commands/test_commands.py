"""Commands: results on stdout, one sentence for a mistake, exit codes as documented."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click import Command, Group
from click.testing import CliRunner

from ncpl.cli import main, train_main
from ncpl.data.snapshot import Runs, Snapshot
from ncpl.evaluate.configurations import of_snapshot
from ncpl.model.bundle import Bundle

CONFIG = '{"params_non_embedding": 3e8, "train_tokens": 1e10, "learning_rate": 2e-3}'


COMMANDS = [
    *(["predict"], ["eval"], ["card"], ["gate"]),
    *(["plan"], ["plan", "recommend"], ["plan", "check"]),
    *(["plot", name] for name in ("predicted", "slices", "contours", "curves", "coverage")),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example(command: list[str]) -> None:
    result = CliRunner().invoke(main, [*command, "--help"])
    assert result.exit_code == 0
    assert "ncpl " + " ".join(command) in result.output.replace("\n", " ")
    assert "Example" in result.output or command == ["gate"]


def test_training_prints_the_score_table(snapshot: Snapshot, tmp_path: Path) -> None:
    file = tmp_path / "fit.toml"
    file.write_text(
        "width = 16\nn_layers = 1\nn_heads = 2\nsteps = 5\ncalibration_folds = 0\n"
        "process_share = 0.0\ncurve_steps = 0\n"
    )
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
        (["--track", "wandb"], 2, "--track and --parallel are for a language model"),
        (["--plot", "fit.txt"], 1, "expected a file that ends in .png"),
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
    ("program", "arguments"),
    [
        (main, ["predict"]),
        (main, ["nothing"]),
        (main, ["laws", "nothing"]),
        (main, ["plan", "recommend", "--mfu", "nan"]),
        (train_main, ["--nothing"]),
        (train_main, ["--max-minutes", "nan"]),
    ],
)
def test_wrong_usage_is_an_object_where_asked(program: Command, arguments: list[str]) -> None:
    result = CliRunner().invoke(program, [*arguments, "--json"])
    assert result.exit_code == 2
    found = json.loads(result.stdout)
    assert found["exit_code"] == 2
    assert found["error"] in result.stderr


def test_a_program_inside_another_tells_wrong_usage_once() -> None:
    """As torchrun starts it: python -m ncpl.cli train."""
    outer = Group(commands={"train": train_main})
    done = CliRunner().invoke(outer, ["train", "--nothing", "--json"])
    assert (done.exit_code, done.stdout) == (2, "")
    done = subprocess.run(
        [sys.executable, "-m", "ncpl.cli", "train", "--nothing", "--json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert json.loads(done.stdout)["exit_code"] == 2


def test_a_file_that_can_not_be_written_is_one_sentence(tmp_path: Path) -> None:
    arguments = ["predict", "-", "--curve-out", str(tmp_path), "--json"]
    result = CliRunner().invoke(main, arguments, input=CONFIG)
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {"error": f"{tmp_path}: Is a directory", "exit_code": 1}


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


TABLE = """params_non_embedding,train_tokens,learning_rate,optimizer
3e8,1e10,2e-3,adamw

300000000,1e10,,
"""


@pytest.mark.parametrize("given", ["configs.csv", "-"])
def test_configurations_come_as_a_table(
    bundle: Bundle, folder: Path, tmp_path: Path, given: str
) -> None:
    (tmp_path / "configs.csv").write_text(TABLE)
    source = ["-", "--format", "csv"] if given == "-" else [str(tmp_path / given)]
    arguments = ["predict", *source, "--bundle", str(folder), "--json"]
    result = CliRunner().invoke(main, arguments, input="\ufeff" + TABLE)  # as spreadsheets write
    assert result.exit_code == 0, result.output
    full, partial = json.loads(result.stdout)["predictions"]
    drawn = [next(w for w in p["warnings"] if "drawn from" in w) for p in (full, partial)]
    assert "batch_size_sequences" in drawn[0]
    assert "learning_rate" not in drawn[0]
    assert "batch_size_sequences" in drawn[1]
    assert "learning_rate" in drawn[1]


def test_the_runs_of_a_snapshot_stand_beside_what_was_measured(
    bundle: Bundle, folder: Path, snapshot: Snapshot
) -> None:
    arguments = ["predict", "--snapshot", str(snapshot.path), "--bundle", str(folder)]
    found = json.loads(CliRunner().invoke(main, [*arguments, "--json"]).stdout)
    assert len(found["predictions"]) == 2581
    assert found["left_out"] == 0
    held_out = [p for p in found["predictions"] if p["split"] == "id"]
    error = sum(abs(p["loss"] - p["final_loss"]) for p in held_out) / len(held_out)
    scores = {(r["split"], r["predictor"]): r["mae"] for r in bundle.about["scores"]}
    assert error == pytest.approx(scores["id", "NCPL, ensemble"], abs=1e-6)
    head, _, first, *_ = CliRunner().invoke(main, arguments).stdout.splitlines()
    assert first.startswith("steplaw/")
    assert head.split()[-1] == "measured"
    assert float(first.split()[-1]) == pytest.approx(
        found["predictions"][0]["final_loss"], abs=1e-4
    )


def test_runs_of_unknown_sources_are_left_out(bundle: Bundle, runs: Runs) -> None:
    some = runs.take(np.arange(len(runs)) < 3)
    foreign = ("pythia", *some.family[1][1:])
    mixed = dataclasses.replace(some, family=[some.family[0], foreign, some.family[2]])
    places, configs, refused = of_snapshot(mixed, bundle)
    assert places == [0, 2]
    assert len(configs) == 2
    assert "knows no source 'pythia'" in refused[0]


@pytest.mark.parametrize("arguments", [[], ["a.json", "--snapshot", "latest"]])
def test_predict_takes_a_file_or_a_snapshot(arguments: list[str]) -> None:
    result = CliRunner().invoke(main, ["predict", *arguments])
    assert result.exit_code == 2
    assert "give FILE or --snapshot, one of the two" in result.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rate\nfast\n", "line 2: learning_rate is 'fast'; expected a number"),
        ("n_layers,d_model\n8\n", "line 2: expected 2 cells, one for each name in line 1"),
        ("n_layers\n8,9\n", "line 2: expected 1 cells"),
        ("n_layers\n", "expected a line of field names and a line for each run"),
        ("", "expected a line of field names and a line for each run"),
        ("lr\n1e-3\n", "does not say params_non_embedding"),
        ('n_layers,optimizer\n8,"adamw\n8,adamw\n', "not CSV (unexpected end of data)"),
        ("params_total\nfew\n", "line 2: params_total is 'few'; expected a number"),
        ("params_non_embedding,train_tokens,n_experts\n3e8,1e10,8\n", "knows dense runs only"),
        ("lr;n_layers\n1e-3;8\n", "line 1: cells are separated by ';'; expected ','"),
    ],
)
def test_a_wrong_table_is_one_sentence(
    bundle: Bundle, folder: Path, tmp_path: Path, text: str, message: str
) -> None:
    file = tmp_path / "configs.csv"
    file.write_text(text)
    result = CliRunner().invoke(main, ["predict", str(file), "--bundle", str(folder)])
    assert result.exit_code == 1
    assert message in result.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "configs.json cannot be read: No such file or directory\n"),
     (b"\x1f\x8b\x08\x00", "expected JSON, JSONL or CSV as UTF-8 text, not compressed")],
)  # fmt: skip
def test_a_file_that_is_no_text_is_one_sentence(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    file = tmp_path / "configs.json"
    if content is not None:
        file.write_bytes(content)
    result = CliRunner().invoke(main, ["predict", str(file)])
    assert result.exit_code == 1
    assert message in result.stderr


def test_a_table_and_an_object_say_the_same() -> None:
    config = {"params_non_embedding": 3e8, "train_tokens": 1e10, "learning_rate": 8e-3,
              "batch_size_sequences": 128, "sequence_length": 4096, "decay_steps": 1000,
              "optimizer": "muon", "source": "marin", "weight_decay": 0.1}  # fmt: skip
    table = ",".join(config) + "\n" + ",".join(map(str, config.values())) + "\n"
    told = [
        CliRunner().invoke(main, ["predict", "-", "--json", "--format", kind], input=text).stdout
        for kind, text in (("csv", table), ("json", json.dumps(config)))
    ]
    assert told[0] == told[1]
    assert json.loads(told[0])["predictions"][0]["source"] == "marin"


def test_a_run_keeps_its_name() -> None:
    table = "params_non_embedding,train_tokens,run_id\n3e8,1e10,größer\n3e8,1e10,\n"
    given = ["predict", "-", "--format", "csv"]
    said, *lines = CliRunner().invoke(main, given, input=table).stdout.splitlines()
    assert said.startswith("no source given")
    assert lines[0].split()[:2] == ["run", "source"]
    assert "measured" not in lines[0]
    assert [line.split()[0] for line in lines[2:4]] == ["größer", "2"]
    assert any(line.startswith("near größer: steplaw/") for line in lines)
    rows = CliRunner().invoke(main, [*given, "--csv"], input=table).stdout.splitlines()
    assert rows[1].startswith("1,größer,steplaw,")


def test_curves_have_no_place_in_a_table_of_predictions(tmp_path: Path) -> None:
    arguments = ["predict", "-", "--csv", "--curve", "3", "--nearest", "0"]
    result = CliRunner().invoke(main, arguments, input=CONFIG)
    assert result.exit_code == 2
    assert "write curves by --curve-out FILE" in result.stderr
    out = tmp_path / "curves.csv"
    result = CliRunner().invoke(main, [*arguments, "--curve-out", str(out)], input=CONFIG)
    assert result.exit_code == 0
    assert len(out.read_text().splitlines()) == 4
    arguments = ["predict", "-", "--curve-out", str(out)]
    assert "curve of" not in CliRunner().invoke(main, arguments, input=CONFIG).stdout
    assert len(out.read_text().splitlines()) == 31


def test_configurations_come_from_standard_input(bundle: Bundle, folder: Path) -> None:
    result = CliRunner().invoke(main, ["predict", "-", "--bundle", str(folder)], input=CONFIG)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[3].split()[:2] == ["1", "steplaw"]
    assert "drawn from 16 training runs like it: batch_size_sequences" in result.stdout


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


def test_a_bundle_is_scored_and_shown(bundle: Bundle, folder: Path, snapshot: Snapshot) -> None:
    runner, given = CliRunner(), ["--bundle", str(folder)]
    on = ["--snapshot", str(snapshot.path)]
    assert "Chinchilla, reference" in runner.invoke(main, ["eval", *given, *on]).stdout
    assert json.loads(runner.invoke(main, ["card", *given, "--json"]).stdout)["families"]
    assert "# NCPL bundle" in runner.invoke(main, ["card", *given]).stdout


def test_a_curve_that_is_not_known_is_none_and_told(tmp_path: Path) -> None:
    out = tmp_path / "curves.csv"
    config = json.dumps(json.loads(CONFIG) | {"schedule": "linear"})
    arguments = ["predict", "-", "--curve", "3", "--curve-out", str(out)]
    found = json.loads(CliRunner().invoke(main, [*arguments, "--json"], input=config).stdout)
    assert found["predictions"][0]["curve"] is None
    assert "no curve: no training run had this schedule" in found["predictions"][0]["warnings"]
    assert out.read_text().count("\n") == 1
    assert "curve of" not in CliRunner().invoke(main, arguments, input=config).stdout
