"""What a configuration leaves out: derived by a rule, or drawn from training runs, and said."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import ncpl
from ncpl.cli import main
from ncpl.data.fields import KNOWN, derive
from ncpl.data.snapshot import Runs
from ncpl.errors import ConfigError
from ncpl.evaluate.forms import FORMS, by_group, in_form, scored
from ncpl.model.bundle import Bundle
from ncpl.model.completion import DRAWN, form_of

SHORT: dict[str, Any] = {
    "params_non_embedding": 268304384,
    "train_tokens": 25e9,
    "learning_rate": 0.00195,
    "batch_size_sequences": 352,
    "sequence_length": 2048,
}
REST: dict[str, Any] = {
    "n_layers": 8, "d_model": 1024, "d_ff": 9552, "n_heads": 16, "schedule": "cosine",
    "optimizer": "adamw", "warmup_steps": 2000, "min_learning_rate": 1e-5, "weight_decay": 0.1,
}  # fmt: skip
MEASURED = 2.3946
"""StepLaw's loss of that run."""
OF_MARIN = {"source": "marin", "params_non_embedding": 301989888, "train_tokens": 6.04e9}


@cache
def shipped() -> Bundle:
    """Return the shipped bundle, loaded once."""
    return ncpl.load()


@pytest.mark.parametrize("more", [{}, REST, {"min_learning_rate": 0.000195}], ids=str)
def test_a_measured_run_lies_inside_however_much_is_stated(more: dict[str, Any]) -> None:
    (found,) = shipped().predict([SHORT | more])
    assert found.low <= MEASURED <= found.high


def test_the_shape_is_that_of_the_nearest_trained_size_and_is_told() -> None:
    short, stated = shipped().predict([SHORT, SHORT | REST])
    assert short.loss == pytest.approx(stated.loss, abs=1e-6)
    assert "one like the training runs' of this size, 8 layers, width 1024" in short.warnings[0]
    assert stated.warnings == []


def test_beyond_the_trained_sizes_two_shapes_are_weighed() -> None:
    fit = shipped().fits[0]
    completed = fit.completer([derive({"params_non_embedding": 4e9, "train_tokens": 1e11})])
    ratios = {round(row["ffn_ratio"], 2) for row in completed.rows}
    assert ratios == {7.4, 4.0}
    assert completed.weight.sum() == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("missing", "form"),
    [
        ((), "shape"),
        (("batch_size_sequences",), "batch+shape"),
        (("learning_rate",), "rate+shape"),
        (("learning_rate", "batch_size_sequences"), "batch+rate+shape"),
    ],
)
def test_each_form_has_its_factor(missing: tuple[str, ...], form: str) -> None:
    fit = shipped().fits[0]
    completed = fit.completer([derive({k: v for k, v in SHORT.items() if k not in missing})])
    assert form_of(completed.missing[0]) == form
    assert f"form_{form}" in fit.calibration
    assert len(completed.rows) == (DRAWN if missing else 1)


def test_what_is_drawn_is_told_and_widens_the_interval() -> None:
    whole, without = shipped().predict(
        [SHORT, {k: v for k, v in SHORT.items() if k != "learning_rate"}]
    )
    assert without.high - without.low > 2 * (whole.high - whole.low)
    assert without.low < MEASURED < without.high
    assert f"drawn from {DRAWN} training runs like it: learning_rate" in without.warnings[0]


def test_a_distribution_does_not_depend_on_the_other_configurations() -> None:
    bundle = shipped()
    configs = [OF_MARIN | {"learning_rate": rate} for rate in (1e-3, 2e-3, 8e-3)]
    together = [p.loss for p in bundle.predict(configs)]
    assert together == pytest.approx([bundle.predict([c])[0].loss for c in configs], abs=1e-6)


def test_only_runs_that_state_what_is_given_are_drawn_from() -> None:
    """Only muon's and scion's runs have a momentum: no other optimizer comes into question."""
    (found,) = shipped().predict([OF_MARIN | {"momentum": 0.95, "learning_rate": 8e-3}])
    drawn = next(w for w in found.warnings if w.startswith("not given"))
    names = drawn.split("optimizer ")[1].split(";")[0].split(", ")
    assert set(names) <= {"muon", "scion"}


@pytest.mark.parametrize(
    ("field", "value"),
    [("decay_steps", 1), ("momentum", 0.5), ("optimizer_extra", {"gamma": 0.5})],
)
def test_a_field_the_source_never_had_moves_nothing_and_is_told(field: str, value: Any) -> None:
    plain, other = shipped().predict([SHORT, SHORT | {field: value}])
    assert (other.loss, other.low, other.high) == (plain.loss, plain.low, plain.high)
    assert any(w.startswith("not read") and field in w for w in other.warnings)


def test_every_field_of_the_schema_is_accepted_and_told_where_it_is_not_read() -> None:
    fields = pytest.importorskip("ncpl_data.schema.fields")
    columns = {field.column for field in fields.run_fields()}
    assert columns <= KNOWN
    (found,) = shipped().predict([SHORT | {"is_embedding_tied": True, "vocab_size": 50257}])
    assert any("not read" in w and "is_embedding_tied, vocab_size" in w for w in found.warnings)


def test_one_bit_and_sixteen_are_not_one() -> None:
    """Runs of few bits are refused; eight bits by name are no training run's, and openly wide."""
    with pytest.raises(ConfigError):
        shipped().predict([SHORT | {"precision": "w1a1"}])
    coarse, usual = shipped().predict([SHORT | {"precision": name} for name in ("fp8", "bfloat16")])
    assert coarse.high - coarse.low > 0.4
    assert usual.high - usual.low < 0.1
    assert all(any("precision" in w for w in p.warnings) for p in (coarse, usual))


def test_no_interval_goes_below_the_floor_of_the_law() -> None:
    bundle = shipped()
    (found,) = bundle.predict([{"params_non_embedding": 7e10, "train_tokens": 1.4e13}])
    assert found.low >= bundle.fits[0].floor > 0.5
    assert any("floor of the law" in warning for warning in found.warnings)


def test_whose_loss_it_is_comes_first(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(SHORT))
    text = CliRunner().invoke(main, ["predict", str(file), "--nearest", "0"])
    assert text.stdout.startswith("no source given: losses are those of steplaw")
    told = json.loads(CliRunner().invoke(main, ["predict", str(file), "--json"]).stdout)
    assert next(iter(told)) == "losses_of"
    assert told["losses_of"][0]["source"] == "steplaw"
    file.write_text(json.dumps(SHORT | {"source": "steplaw"}))
    named = CliRunner().invoke(main, ["predict", str(file), "--nearest", "0"])
    assert named.stdout.startswith("#")


def test_large_batches_ask_for_high_rates() -> None:
    """1.07B on 100B tokens, 2,048 sequences: .00276 was measured best, .00138 worse."""
    shape = {"n_layers": 16, "d_model": 2048, "d_ff": 8192, "n_heads": 16}
    config = SHORT | shape | {
        "params_non_embedding": 1073741824, "train_tokens": 1e11, "batch_size_sequences": 2048,
    }  # fmt: skip
    rates = 2.441e-4 * np.sqrt(2) ** np.arange(12)  # those StepLaw's runs have
    found = shipped().predict([config | {"learning_rate": float(rate)} for rate in rates])
    best = rates[int(np.argmin([p.loss for p in found]))]
    assert 0.00276 / 1.5 <= best <= 0.00276 * 1.5


def test_coverage_counts_groups(bundle: Bundle, runs: Runs) -> None:
    part = runs.where(split="id")
    inside = np.ones(len(part), dtype=bool)
    inside[part.loss == part.loss.min()] = False
    groups = by_group(part, inside)
    assert len(groups) == 5
    assert sum(group["n"] for group in groups) == len(part)
    assert min(group["near"] for group in groups) < 1.0
    short = scored(bundle, bundle.fits[0], part, FORMS["N, D, learning rate, batch, length"])
    assert abs(short["bias"]) < 0.05
    assert set(in_form(part.configs[0], FORMS["everything"])) == set(part.configs[0])
