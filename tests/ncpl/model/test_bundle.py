"""Bundles: what is saved is what is loaded, and a mismatch is refused."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

import ncpl
from ncpl.cli import main
from ncpl.data.snapshot import Runs
from ncpl.errors import BundleError, ConfigError
from ncpl.model.bundle import BLOCK, Bundle
from ncpl.model.seal import seal

CONFIG = {
    "params_non_embedding": 3e8,
    "train_tokens": 1e10,
    "learning_rate": 2e-3,
    "batch_size_sequences": 256,
    "sequence_length": 2048,
}


@pytest.fixture
def copy(bundle: Bundle, folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def test_a_reloaded_bundle_predicts_bit_equal(bundle: Bundle, folder: Path, runs: Runs) -> None:
    fit, again = bundle.fits[0], ncpl.load(folder).fits[0]
    encoded = fit.encoder.encode(runs.where(split="ood").configs)
    assert np.array_equal(fit.read(encoded).loss, again.read(encoded).loss)
    assert again.encoder == fit.encoder
    assert again.calibration == fit.calibration
    assert ncpl.load(folder).about == bundle.about


def test_a_prediction_lies_in_its_interval(bundle: Bundle) -> None:
    (found,) = bundle.predict([CONFIG])
    assert found.low < found.loss < found.high
    assert 2.3 < found.loss < 2.6  # StepLaw's 268M on 14B tokens reached 2.43
    assert found.source == "steplaw"
    assert found.warnings == [
        "no shape given: one like the training runs' of this size, 8 layers, width 1024, "
        "feed-forward 9552"
    ]


def test_outside_the_hull_is_told_and_wider(bundle: Bundle) -> None:
    near, far = bundle.predict([CONFIG, CONFIG | {"params_non_embedding": 7e9}])
    assert "params_non_embedding is 7e+09" in far.warnings[0]
    assert far.high - far.low > 1.5 * (near.high - near.low)


@pytest.mark.parametrize(
    "odd", [{"optimizer": "sgd"}, {"schedule": "constant"}, {"weight_decay": 5.0}]
)
def test_what_no_training_run_had_is_never_told_with_confidence(odd: dict[str, Any]) -> None:
    (found,) = ncpl.load().predict([CONFIG | odd])
    assert found.high - found.low > 0.4
    assert found.warnings


def test_what_all_training_runs_had_may_be_left_out() -> None:
    """A plan states these fields, a user leaves them out: both are told the same."""
    bundle = ncpl.load()
    constants = bundle.fits[0].encoder.constants
    assert constants["weight_decay"] == 0.1
    assert constants["optimizer"] == "adamw"
    short, stated = bundle.predict([CONFIG, constants | CONFIG])
    assert short == stated
    assert (bundle.curves([CONFIG], [0.5]) == bundle.curves([constants | CONFIG], [0.5])).all()


def test_what_can_not_be_is_not_filled_in() -> None:
    encoder = ncpl.load().fits[0].encoder
    row = encoder.completed({"train_steps": 100, "learning_rate": 1e-6})
    assert row["weight_decay"] == 0.1
    assert "warmup_steps" not in row
    assert "min_learning_rate" not in row


@pytest.mark.parametrize(
    ("source", "dataset", "told"),
    [
        ("steplaw", "c4", "dataset is 'c4', that of steplaw is not stated"),
        ("marin", "c4", "dataset is 'c4', that of marin is dclm_baseline"),
        ("marin", "dclm_baseline+starcoderdata+proofpile_2", None),
    ],
)
def test_losses_of_other_data_are_not_comparable(
    source: str, dataset: str, told: str | None
) -> None:
    config = CONFIG | {"sequence_length": 4096, "source": source, "dataset": dataset}
    (found,) = ncpl.load().predict([config])
    assert any((told or "dataset") in warning for warning in found.warnings) == bool(told)


def test_many_configurations_are_told_as_single_ones_are(bundle: Bundle) -> None:
    many = [CONFIG | {"learning_rate": 1e-3 + i * 1e-6} for i in range(BLOCK + 2)]
    found = bundle.predict(many, nearest=1)
    assert found[-1].loss == pytest.approx(bundle.predict(many[-1:])[0].loss, abs=1e-6)
    assert found[-1].nearest == bundle.predict(many[-1:], nearest=1)[0].nearest


@pytest.mark.parametrize("value", ["1000", -5, True, float("nan")])
def test_a_count_that_is_no_number_is_refused(bundle: Bundle, value: Any) -> None:
    with pytest.raises(ConfigError, match=r"decay_steps is .+; expected a number, 0 or more"):
        bundle.predict([CONFIG | {"decay_steps": value}])


def test_the_source_that_knows_the_optimizer_is_named() -> None:
    muon, sgd, told = ncpl.load().predict(
        [CONFIG | {"optimizer": name} for name in ("muon", "sgd")]
        + [CONFIG | {"optimizer": "muon", "source": "steplaw"}]
    )
    hint = "runs of muon: give the source marin"
    assert [hint in p.warnings for p in (muon, sgd, told)] == [True, False, False]


def test_numbers_of_a_table_are_numbers(bundle: Bundle) -> None:
    table = {name: np.float32(value) for name, value in CONFIG.items()}
    table |= {"batch_size_sequences": np.int64(256), "decay_steps": np.int32(100)}
    found, plain = bundle.predict([table, CONFIG | {"decay_steps": 100}])
    assert found.loss == pytest.approx(plain.loss, abs=1e-6)


@pytest.mark.parametrize("configs", [CONFIG, [None], ["a"], [[CONFIG]]])
def test_what_is_no_list_of_configurations_is_one_sentence(bundle: Bundle, configs: Any) -> None:
    with pytest.raises(ConfigError, match=r"configuration 1 is .+; expected a list"):
        bundle.predict(configs)


def test_python_doubts_what_the_command_doubts() -> None:
    far = {"params_non_embedding": 1e5, "train_tokens": 1e6}
    (found,) = ncpl.load().predict([far])
    assert "nats below the law of size and data alone" in found.warnings[0]


@pytest.mark.parametrize(
    "missing",
    [["learning_rate"], ["batch_size_sequences"], ["learning_rate", "batch_size_sequences"]],
)
def test_what_is_left_open_is_drawn_from_training_runs_and_widens_the_interval(
    bundle: Bundle, missing: list[str]
) -> None:
    """Any other choice is likely worse than the best, so the loss is not that of the best one."""
    partial = {k: v for k, v in CONFIG.items() if k not in missing}
    (found,), (whole,) = bundle.predict([partial]), bundle.predict([CONFIG])
    assert all(f"{name} " in found.warnings[0] for name in missing)
    assert found.high - found.low > whole.high - whole.low
    best = min(
        p.loss for p in bundle.predict([CONFIG | {"learning_rate": r} for r in (1e-3, 2e-3, 3e-3)])
    )
    assert best < found.loss < bundle.predict([CONFIG | {"learning_rate": 1.5e-2}])[0].loss


def test_a_batch_without_its_sequence_length_has_that_of_all_training_runs(bundle: Bundle) -> None:
    (found,) = bundle.predict([{k: v for k, v in CONFIG.items() if k != "sequence_length"}])
    (stated,) = bundle.predict([CONFIG])
    assert found.loss == pytest.approx(stated.loss, abs=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"params_non_embedding": None}, "configuration 2: params_non_embedding is missing"),
        ({"train_tokens": None}, "configuration 2: data_tokens is missing"),
        ({"learning_rate": 300}, "configuration 2: learning_rate is 300"),
        ({"source": "pythia"}, "configuration 2: this bundle knows no source 'pythia'"),
        ({"lr": 1e-3}, "configuration 2: unknown field 'lr'"),
    ],
)
def test_a_wrong_configuration_is_one_sentence(
    bundle: Bundle, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        bundle.predict([CONFIG, CONFIG | change])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "ncpl-bundle/3"}, "format is 'ncpl-bundle/3', expected 'ncpl-bundle/5'"),
        ({"format": "ncpl-bundle/9"}, "format is 'ncpl-bundle/9'"),
        ({"config_sha256": "0" * 64}, "the configuration does not have the hash on the card"),
        ({"weights_sha256": "0" * 64}, "is not the file the card was written for"),
    ],
)
def test_a_mismatch_is_refused(copy: Path, change: dict[str, Any], message: str) -> None:
    card = copy / "card.json"
    card.write_text(json.dumps(json.loads(card.read_text()) | change))
    with pytest.raises(BundleError, match=message):
        ncpl.load(copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda card: card.pop("families"), "card.json: 'families' is missing; train the bundle"),
        (lambda card: card["families"][0].pop("encoder"), "the files do not fit the card"),
        (lambda card: card["families"][0]["seeds"].append(7), "the files do not fit the card"),
        (lambda card: card["families"].append({}), "the files do not fit the card"),
        (lambda card: card["families"][0].update(family=["a"]), "the files do not fit the card"),
    ],
)
def test_a_card_of_other_contents_is_refused(
    copy: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    card = copy / "card.json"
    found = json.loads(card.read_text())
    change(found)
    card.write_text(json.dumps(found))
    with pytest.raises(BundleError, match=message) as refused:
        ncpl.load(copy)
    assert "\n" not in str(refused.value)


def test_a_card_without_scores_is_one_sentence(copy: Path) -> None:
    card = json.loads((copy / "card.json").read_text())
    del card["scores"]
    (copy / "card.json").write_text(json.dumps(card))
    seal(copy)
    result = CliRunner().invoke(main, ["card", "--bundle", str(copy)])
    assert result.exit_code == 1
    assert "the card lacks 'scores'; train the bundle again" in result.stderr


def test_a_card_that_is_no_object_is_refused(copy: Path) -> None:
    (copy / "card.json").write_text("[1, 2]")
    with pytest.raises(BundleError, match="holds no JSON object"):
        ncpl.load(copy)


def test_weights_of_another_architecture_are_refused(copy: Path) -> None:
    """The card names their hash, but a tensor has another shape."""
    file, card = copy / "weights.safetensors", copy / "card.json"
    tensors = load_file(file)
    name = next(name for name, tensor in tensors.items() if tensor.ndim == 2)
    save_file(tensors | {name: tensors[name][:-1].contiguous()}, file)
    found = json.loads(card.read_text())
    found["weights_sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
    card.write_text(json.dumps(found))
    with pytest.raises(BundleError, match="the files do not fit the card") as refused:
        ncpl.load(copy)
    assert "\n" not in str(refused.value)


def test_no_bundle_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="holds no bundle"):
        ncpl.load(tmp_path)


def test_the_card_names_what_it_was_made_from(bundle: Bundle, folder: Path) -> None:
    text = (folder / "README.md").read_text()
    assert bundle.snapshot_id in text
    assert bundle.config.sha256() in text
    assert "1517 runs of steplaw" in text
    assert "Chinchilla, refit" in text
