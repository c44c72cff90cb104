"""Bad and extreme input: a clear error, or an openly wide interval, never a confident number."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import ncpl
from ncpl.cli import main
from ncpl.data.consistency import check_prediction, checked
from ncpl.data.slips import nearest_field
from ncpl.data.snapshot import Runs
from ncpl.errors import ConfigError
from ncpl.model.bundle import Bundle

GOOD: dict[str, Any] = {
    "params_non_embedding": 268304384,
    "train_tokens": 14.2e9,
    "learning_rate": 1.95e-3,
    "batch_size_sequences": 128,
    "sequence_length": 2048,
}
REFUSED = [
    # Names.
    ({"lr": 1e-3}, "unknown field 'lr'; the nearest known field is learning_rate"),
    ({"learning_rte": 1e-3}, "the nearest known field is learning_rate"),
    ({"n_layer": 12}, "the nearest known field is n_layers"),
    ({"batch_tokens": 5e5}, "batch_size_sequences (tokens of a batch / sequence_length)"),
    ({"model": {"n_layers": 8}}, "fields are flat: n_layers, not model with n_layers inside"),
    ({"colour": "red"}, "unknown field 'colour'"),
    # Types.
    ({"learning_rate": "2e-3"}, "learning_rate is '2e-3'; expected a number"),
    ({"learning_rate": True}, "learning_rate is True; expected a number"),
    ({"learning_rate": [1e-3]}, "learning_rate is a list; expected one value"),
    ({"learning_rate": {"peak": 1e-3}}, "learning_rate is an object; expected one value"),
    ({"learning_rate": float("nan")}, "learning_rate is nan; expected a number"),
    ({"learning_rate": float("inf")}, "learning_rate is inf; expected a number"),
    ({"train_tokens": 10**400}, "train_tokens has 401 digits"),
    ({"optimizer": 3}, "optimizer is 3; expected a name"),
    ({"optimizer": ""}, "optimizer is empty"),
    ({"optimizer": "AdamW"}, "names are lower case: 'adamw'"),
    # Ranges and units.
    ({"learning_rate": 3e2}, "learning_rate is 300; expected 1e-08 to 1"),
    ({"learning_rate": 0}, "learning_rate is 0; expected 1e-08 to 1"),
    ({"learning_rate": -1e-3}, "learning_rate is -0.001; expected 1e-08 to 1"),
    ({"train_tokens": -1e9}, "train_tokens is -1e+09; expected 1e+06"),
    ({"train_tokens": 14.2}, "train_tokens is 14.2; expected 1e+06"),
    ({"params_non_embedding": 0.268}, "params_non_embedding is 0.268; expected 100000"),
    ({"weight_decay": 100}, "weight_decay is 100; expected 0 to 10"),
    ({"adam_beta2": 95}, "adam_beta2 is 95; expected 0 to 1"),
    ({"warmup_steps": 0.01}, "expected steps, not a share of the run"),
    ({"warmup_steps": 1e7}, "is the warm-up in tokens?"),
    ({"n_layers": 8.5}, "n_layers is 8.5; expected a whole number"),
    ({"batch_size_sequences": 262144}, "if it is in tokens, divide it by sequence_length"),
    (
        {"batch_size_sequences": 524288, "sequence_length": None},
        "if it is in tokens, divide it by sequence_length",
    ),
    # Contradictions.
    ({"train_tokens": 1e6, "batch_size_sequences": 1024}, "one step is 2.097e+06 tokens"),
    ({"train_steps": 1000}, "but batch x sequence x steps is 2.621e+08"),
    ({"nominal_train_tokens": 1e9}, "but nominal_train_tokens is 1e+09"),
    ({"min_learning_rate": 0.1}, "min_learning_rate is 0.1, above the learning_rate"),
    ({"decay_steps": 10**7}, "decay_steps is 1e+07, the run has"),
    ({"n_layers": 80, "d_model": 8192, "d_ff": 28672}, "but n_layers x (4 d_model^2"),
    ({"d_model": 64, "n_heads": 128}, "n_heads is 128, more than d_model"),
    ({"params_total": 1000}, "params_total is 1000, below params_non_embedding"),
    ({"n_experts": 8, "experts_per_token": 16}, "experts_per_token is 16, n_experts is 8"),
    ({"precision": "w1a1"}, "have 1 bits; this model knows runs of 8 bits and more"),
    ({"weight_bits": 4, "activation_bits": 16}, "have 4 bits"),
    ({"n_experts": 64, "experts_per_token": 2}, "knows dense runs only"),
    # Missing, or of nobody.
    ({"params_non_embedding": None}, "params_non_embedding is missing"),
    ({"train_tokens": None}, "data_tokens is missing"),
    ({"source": "pythia"}, "knows no source 'pythia'"),
    ({"source": 7}, "knows no source 7"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED)
def test_what_can_not_be_true_is_refused_with_the_reason(
    change: dict[str, Any], message: str
) -> None:
    bundle = ncpl.load()
    config = {k: v for k, v in (GOOD | change).items() if v is not None}
    with pytest.raises(ConfigError) as caught:
        bundle.predict([checked(config, where="configuration 1")])
    assert message in str(caught.value)
    assert str(caught.value).startswith("configuration 1: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"learning_rate": 3e2}', "learning_rate is 300"),
        ('{"learning_rate": 1e-3, "learning_rate": 2e-3}', "given twice"),
        ('{"learning_rate": NaN}', "learning_rate is nan"),
        ("[" * 100_000, "nested too deeply"),
        ('{"train_tokens": ' + "9" * 5000 + "}", "digits"),
        ("{", "line 1: not JSON"),
        ('{\n "learning_rate": 1e-3,\n "n_layers"\n}', "line 4: not JSON"),
        ("", "expected JSON objects"),
        ('["a"]', "expected JSON objects"),
        ("\x00\x01", "not JSON"),
    ],
)
def test_a_broken_file_is_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "config.json"
    file.write_text(text)
    result = CliRunner().invoke(main, ["predict", str(file)])
    assert result.exit_code == 1, result.output
    assert message in result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rat\n1e-3\n", "the nearest known field is learning_rate"),
        ("learning_rate,learning_rate\n1,2\n", "line 1: learning_rate is named twice"),
        ("learning_rate\nfast\n", "line 2: learning_rate is 'fast'"),
        ("train_tokens\n1e999\n", "train_tokens is inf"),
    ],
)
def test_a_broken_table_is_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "config.csv"
    file.write_text(text)
    result = CliRunner().invoke(main, ["predict", str(file)])
    assert result.exit_code == 1, result.output
    assert message in result.stderr


def test_files_that_are_no_text_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "a.json", tmp_path, tmp_path / "absent.json"):
        result = CliRunner().invoke(main, ["predict", str(path)])
        assert result.exit_code == 1
        assert "cannot be read" in result.stderr


def test_no_published_run_is_refused(runs: Runs) -> None:
    for run_id, config in zip(runs.run_ids, runs.configs, strict=True):
        assert checked(config, where=run_id)


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("lr", "learning_rate"),
        ("hidden_size", "d_model"),
        ("num_hidden_layers", "n_layers"),
        ("wd", "weight_decay"),
        ("learning_rates", "learning_rate"),
        ("zzz", None),
    ],
)
def test_names_of_other_programs_lead_to_ours(name: str, field: str | None) -> None:
    assert nearest_field(name) == field


MARIN = GOOD | {
    "source": "marin",
    "params_non_embedding": 134217728,
    "train_tokens": 5e9,
    "learning_rate": 8e-3,
    "sequence_length": 4096,
    "optimizer": "adamw",
    "schedule": "cosine",
    "weight_decay": 0.1,
    "warmup_steps": 1000,
    "min_learning_rate": 0.0,
    "adam_beta1": 0.9,
    "adam_beta2": 0.98,
    "adam_epsilon": 1e-10,
    "grad_clip_norm": 1.0,
}
"""A whole recipe: where one is drawn from training runs, the runs drawn differ with the place."""
FAR = {
    ("params_non_embedding", "up"): (5e8, 1e12),
    ("train_tokens", "up"): (1.1e11, 1e14),
    ("learning_rate", "up"): (0.07, 1.0),
    ("batch_size_sequences", "up"): (2200, 20_000),
    ("params_non_embedding", "down"): (5e7, 1e5),
    ("train_tokens", "down"): (1.9e9, 5e7),
    ("learning_rate", "down"): (2e-4, 1e-7),
    ("batch_size_sequences", "down"): (15, 1),
}


def far(base: dict[str, Any], name: str, ends: tuple[float, float]) -> list[dict[str, Any]]:
    values = [float(v) for v in np.geomspace(*ends, 9)]
    if name == "batch_size_sequences":
        values = [float(round(v)) for v in values]
    return [base | {name: value} for value in values]


@pytest.mark.parametrize("base", [GOOD, MARIN], ids=["steplaw", "marin"])
@pytest.mark.parametrize(("where", "ends"), FAR.items(), ids=["-".join(key) for key in FAR])
def test_far_outside_is_told_and_the_interval_widens_with_the_distance(
    base: dict[str, Any], where: tuple[str, str], ends: tuple[float, float]
) -> None:
    bundle = ncpl.load()
    names = {where[0], "data_tokens", "batch_tokens"}
    (near,) = bundle.predict([base])
    found = bundle.predict(far(base, where[0], ends))
    for p in found:
        assert any(warning.split()[0] in names for warning in p.warnings)
        assert p.high - p.low > 0.8 * (near.high - near.low)
    widths = [p.high - p.low for p in found]
    assert (np.diff(widths) >= -1e-5).all()  # nats; rounding of single precision


@pytest.mark.parametrize(
    ("loss", "doubt"), [(2.4, None), (2.1, None), (1.5, "1.00 nats below the law"), (3.9, None)]
)
def test_a_prediction_far_below_the_law_is_doubted(loss: float, doubt: str | None) -> None:
    told = check_prediction({"loss": loss, "baseline": 2.5}, where="configuration 1")
    assert (told is None) == (doubt is None)
    assert doubt is None or doubt in str(told)


def test_a_loss_no_run_can_reach_is_an_error() -> None:
    with pytest.raises(ConfigError, match="configuration 3: so far outside the training runs"):
        check_prediction({"loss": -4.0, "baseline": 2.5}, where="configuration 3")


def test_a_prediction_is_shown_as_a_table_and_as_csv(bundle: Bundle, folder: Path) -> None:
    text = json.dumps([GOOD, GOOD | {"learning_rate": 4e-3}])
    given = ["predict", "-", "--bundle", str(folder)]
    bare = [*given, "--nearest", "0"]
    table = CliRunner().invoke(main, bare, input=text).stdout.splitlines()
    assert table[0].startswith("no source given")
    assert table[1].split()[:3] == ["#", "source", "loss"]
    assert sum(not line.startswith("note on") for line in table) == 5
    out = CliRunner().invoke(main, [*given, "--csv"], input=text).stdout.splitlines()
    assert out[0] == "configuration,source,loss,low,high,baseline,warnings"
    expected = bundle.predict([GOOD])[0].loss
    assert float(out[1].split(",")[2]) == pytest.approx(expected)
    both = CliRunner().invoke(main, [*given, "--csv", "--json"], input=text)
    assert both.exit_code == 2


def test_the_nearest_known_runs_stand_below(bundle: Bundle, folder: Path, runs: Runs) -> None:
    measured = dict(zip(runs.run_ids, runs.loss, strict=True))
    given = ["predict", "-", "--bundle", str(folder), "--nearest", "2"]
    text = CliRunner().invoke(main, given, input=json.dumps(GOOD)).stdout
    near = [line for line in text.splitlines() if line.startswith("near 1: ")]
    assert len(near) == (2 if bundle.fits[0].process is not None else 0)
    for line in near:
        run_id, _, loss, *_ = line.removeprefix("near 1: ").split()
        assert float(loss) == pytest.approx(measured[run_id], abs=1e-4)
    found = CliRunner().invoke(main, [*given, "--json"], input=json.dumps(GOOD))
    (prediction,) = json.loads(found.stdout)["predictions"]
    assert len(prediction["nearest"]) == len(near)


def test_curves_end_at_the_final_loss_or_are_refused(
    bundle: Bundle, folder: Path, tmp_path: Path
) -> None:
    """The fixture snapshot holds no curves, so its bundle predicts none and says so."""
    out = tmp_path / "curves.csv"
    given = ["predict", "-", "--curve", "4", "--curve-out", str(out)]
    refused = CliRunner().invoke(main, [*given, "--bundle", str(folder)], input=json.dumps(GOOD))
    assert refused.exit_code == 1
    assert "curves" in refused.stderr
    assert not out.exists()
    found = CliRunner().invoke(main, [*given, "--json"], input=json.dumps(GOOD))
    if not ncpl.load().fits[0].heads:
        pytest.skip("the shipped bundle was trained without curves")
    assert found.exit_code == 0, found.output
    (prediction,) = json.loads(found.stdout)["predictions"]
    assert [point["percent"] for point in prediction["curve"]] == [25, 50, 75, 100]
    assert prediction["curve"][-1]["loss"] == pytest.approx(prediction["loss"])
    assert out.read_text().splitlines()[0] == "configuration,percent,tokens,loss"
    assert len(out.read_text().splitlines()) == 5
