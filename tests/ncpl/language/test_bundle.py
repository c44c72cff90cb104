"""The bundle: saved and loaded it predicts the same; the commands know it; damage is refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import ncpl
from ncpl.cli import main, train_main
from ncpl.data.snapshot import Runs, Snapshot
from ncpl.errors import BundleError, ConfigError
from ncpl.language.bundle import LanguageBundle, load
from ncpl.language.metrics import check_trackers

CONFIG = {"params_non_embedding": 3e8, "train_tokens": 1e10, "learning_rate": 2e-3,
          "batch_size_sequences": 256, "sequence_length": 2048}  # fmt: skip


def test_a_loaded_bundle_predicts_what_the_saved_one_did(
    language_bundle: LanguageBundle, language_folder: Path, runs: Runs
) -> None:
    loaded = load(language_folder)
    assert loaded.predict(runs.configs[:20]) == language_bundle.predict(runs.configs[:20])
    assert ncpl.load(language_folder).predict([CONFIG]) == language_bundle.predict([CONFIG])
    files = {path.name for path in language_folder.iterdir()}
    assert files == {
        "README.md", "card.json", "config.json", "metrics.jsonl", "scores.json", "tokenizer.json",
        "weights.safetensors", "SHA256SUMS",
    }  # fmt: skip


def test_the_card_tells_data_settings_seed_and_scores(
    language_bundle: LanguageBundle, language_folder: Path
) -> None:
    """The folder is filled when the bundle is trained."""
    card = json.loads((language_folder / "card.json").read_text())
    assert card["format"] == "ncpl-language/1"
    predictors = {(row["split"], row["predictor"]) for row in card["scores"]}
    for split in ("id", "ood"):
        assert {(split, "Chinchilla, refit"), (split, "NCPL, language model")} <= predictors
    assert card["families"][0]["seeds"] == [0]
    assert card["train_runs"]["steplaw"] + card["held_out_runs"] == 1517
    assert "Scores" in (language_folder / "README.md").read_text()


def test_predictions_carry_an_interval_that_widens_outside(language_bundle: LanguageBundle) -> None:
    inside, outside = language_bundle.predict([CONFIG, CONFIG | {"params_non_embedding": 7e10}])
    assert inside.low < inside.loss < inside.high
    assert not inside.warnings
    assert any("params_non_embedding is 7e+10" in note for note in outside.warnings)
    assert outside.high - outside.low == pytest.approx(3 * (inside.high - inside.low))
    (elsewhere,) = language_bundle.predict([CONFIG | {"dataset": "c4"}])
    assert "losses of other data or tokens are not comparable" in elsewhere.warnings[0]


def test_the_final_loss_is_the_point_at_fraction_one(language_bundle: LanguageBundle) -> None:
    curve = language_bundle.curves([CONFIG], [0.25, 0.5, 1.0])[0]
    assert curve.shape == (3,)
    assert curve[-1] == pytest.approx(language_bundle.predict([CONFIG])[0].loss, abs=1e-5)
    assert len(np.unique(curve)) == 3


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"lr": 1}, "unknown field 'lr'"),
        (CONFIG | {"learning_rate": 300}, "learning_rate is 300"),
        (CONFIG | {"train_steps": 3}, "but batch x sequence x steps is"),
        ({"learning_rate": 1e-3}, "params_non_embedding is missing"),
        (CONFIG | {"source": "pythia"}, "knows no source 'pythia'; it has steplaw"),
    ],
)
def test_a_wrong_configuration_is_one_sentence(
    language_bundle: LanguageBundle, config: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match="configuration 1: ") as caught:
        language_bundle.predict([config])
    assert message in str(caught.value)


def test_a_fraction_outside_the_run_is_refused(language_bundle: LanguageBundle) -> None:
    with pytest.raises(ConfigError, match=r"expected numbers in \(0, 1\]"):
        language_bundle.curves([CONFIG], [0.0])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("weights.safetensors", "is not the file the card was written for"),
        ("tokenizer.json", "is not the file the card was written for"),
        ("config.json", "is not the file the card was written for"),
        ("card.json", "holds no bundle with a readable card.json"),
    ],
)
def test_a_damaged_file_is_refused(
    language_bundle: LanguageBundle, language_folder: Path, tmp_path: Path, name: str, message: str
) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(language_folder, folder)
    with (folder / name).open("ab") as file:
        file.write(b"!")
    with pytest.raises(BundleError, match=message):
        load(folder)


def test_a_changed_setting_or_another_format_is_refused(
    language_bundle: LanguageBundle, language_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(language_folder, folder)
    card = json.loads((folder / "card.json").read_text())
    for change, message in (
        ({"config": card["config"] | {"units": "log"}}, "does not have the hash on the card"),
        ({"format": "ncpl-language/9"}, "format is 'ncpl-language/9'"),
    ):
        (folder / "card.json").write_text(json.dumps(card | change))
        with pytest.raises(BundleError, match=message):
            ncpl.load(folder)


def test_the_commands_answer_for_this_bundle(
    language_bundle: LanguageBundle, language_folder: Path, snapshot: Snapshot, tmp_path: Path
) -> None:
    runner, given = CliRunner(), ["--bundle", str(language_folder)]
    on = ["--snapshot", str(snapshot.path)]
    file = tmp_path / "config.json"
    file.write_text(json.dumps(CONFIG))
    predicted = runner.invoke(main, ["predict", str(file), *given])
    assert "steplaw  2." in predicted.stdout, predicted.output
    found = json.loads(runner.invoke(main, ["eval", *given, *on, "--json"]).stdout)
    assert found["scores"] == language_bundle.about["scores"]
    cells = runner.invoke(main, ["eval", *given, *on, "--cells"]).stdout
    assert "steplaw OOD adamw/" in cells
    assert "# NCPL bundle, the paper's mode" in runner.invoke(main, ["card", *given]).stdout
    png = tmp_path / "fit.png"
    assert runner.invoke(main, ["plot", "predicted", *given, *on, "--out", str(png)]).exit_code == 0
    assert png.is_file()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (
            ["--base", "x", "--seeds", "2"],
            2,
            "--seeds and --plot are not for a language model, nor",
        ),
        (["--base", "x", "--preset", "demo"], 1, "--base needs a preset of a language model"),
        (["--preset", "lm-tiny", "--track", "paper"], 1, "unknown tracker 'paper'"),
        (["--preset", "lm-tiny", "--parallel", "magic"], 2, "magic"),
    ],
)
def test_a_wrong_training_command_is_one_sentence(
    arguments: list[str], code: int, message: str, snapshot: Snapshot, tmp_path: Path
) -> None:
    given = [*arguments, "--snapshot", str(snapshot.path), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(train_main, given)
    assert result.exit_code == code, result.output
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_a_missing_tracker_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"pip install 'ncpl-data\[trackio\]'"):
        check_trackers(["trackio"])
