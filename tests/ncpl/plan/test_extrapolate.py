"""Runs in progress: what is read of their logs, and where they are said to end."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from ncpl.cli import main
from ncpl.data.fields import derive
from ncpl.data.progress import RunProgress, read_progress
from ncpl.errors import ConfigError
from ncpl.model.bundle import DEFAULT, Bundle, load, read_card
from ncpl.model.prefix import PrefixModel, load_prefix
from ncpl.plan.extrapolate import (
    LossInterval,
    RunForecast,
    advice,
    chances_of_third,
    forecast,
)
from ncpl.plan.run_log import has_diverged, spikes

CONFIG = {
    "params_non_embedding": 268304384, "n_layers": 8, "d_model": 1024, "d_ff": 9552, "n_heads": 16,
    "train_steps": 20000, "batch_size_sequences": 192, "sequence_length": 2048,
    "learning_rate": 1e-3, "min_learning_rate": 1e-5, "warmup_steps": 2000, "weight_decay": 0.1,
    "adam_beta1": 0.9, "adam_beta2": 0.95, "optimizer": "adamw", "schedule": "cosine",
}  # fmt: skip


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load()


@pytest.fixture(scope="module")
def model() -> PrefixModel:
    found = load_prefix(DEFAULT, read_card(DEFAULT))
    assert found is not None
    return found


def run_of(bundle: Bundle, share: float, off: float = 0.0, config: Any = None) -> RunProgress:
    """Return a run that follows its predicted curve, `off` nats above it, up to a share."""
    config = config or CONFIG | {"source": "steplaw"}
    frac = np.linspace(0.03, share, 12)
    loss = bundle.curves([config], frac.tolist())[0] + off
    steps = np.round(frac * derive(config)["train_steps"]) - 1
    return RunProgress("run", steps, steps[:0], loss, "loss", {})


def test_a_run_as_predicted_ends_as_predicted(bundle: Bundle, model: PrefixModel) -> None:
    found = forecast(run_of(bundle, 0.6), CONFIG | {"source": "steplaw"}, bundle, model)
    assert found.final is not None
    assert found.change == pytest.approx(0, abs=0.01)
    assert found.final.low < found.final.loss < found.final.high


@pytest.mark.parametrize("off", [-0.03, 0.03])
def test_a_run_off_its_curve_moves_the_end_the_same_way(
    bundle: Bundle, model: PrefixModel, off: float
) -> None:
    ends = []
    for share in (0.3, 0.9):
        config = CONFIG | {"source": "steplaw"}
        found = forecast(run_of(bundle, share, off), config, bundle, model)
        plain = forecast(run_of(bundle, share), config, bundle, model)
        assert found.final is not None
        assert plain.final is not None
        ends.append((found.final.loss - plain.final.loss) / off)
    assert 0 < ends[0] < ends[1] < 1.5


@pytest.mark.parametrize(("share", "off"), [(0.1, 1.5), (0.5, 1.0)])
def test_a_log_far_off_any_known_one_is_told_and_wide(
    bundle: Bundle, model: PrefixModel, share: float, off: float
) -> None:
    config = CONFIG | {"source": "steplaw"}
    run = run_of(bundle, share)
    usual = forecast(run, config, bundle, model)
    far = forecast(replace(run, loss=run.loss + off), config, bundle, model)
    assert usual.final is not None
    assert far.final is not None
    assert far.final.high - far.final.loss > 0.3
    assert usual.final.high - usual.final.loss < 0.05
    assert any("farther off its configuration's curve" in note for note in far.notes)
    assert not any("farther off" in note for note in usual.notes)


def test_later_intervals_are_narrower(bundle: Bundle, model: PrefixModel) -> None:
    config = CONFIG | {"source": "steplaw"}
    widths = []
    for share in (0.3, 0.9):
        final = forecast(run_of(bundle, share), config, bundle, model).final
        assert final is not None
        widths.append(final.high - final.low)
    assert widths[1] < widths[0]


def test_without_a_family_the_interval_is_openly_wide(bundle: Bundle, model: PrefixModel) -> None:
    known = forecast(run_of(bundle, 0.5), CONFIG | {"source": "steplaw"}, bundle, model)
    found = forecast(run_of(bundle, 0.5), CONFIG, None, model)
    assert found.configuration is None
    assert found.final is not None
    assert known.final is not None
    assert found.final.high - found.final.low > known.final.high - known.final.low
    assert any("no model of this family" in note for note in found.notes)


def test_a_diverged_run_gets_no_end(bundle: Bundle, model: PrefixModel) -> None:
    run = run_of(bundle, 0.5)
    run.loss[-4:] = 7.0
    found = forecast(run, CONFIG | {"source": "steplaw"}, bundle, model)
    assert found.is_diverged
    assert found.final is None
    assert advice([found], None)[0]["advice"] == "stop"


def test_a_spike_is_told_with_its_step(bundle: Bundle, model: PrefixModel) -> None:
    run = run_of(bundle, 0.5)
    run.loss[6] += 0.5
    found = forecast(run, CONFIG | {"source": "steplaw"}, bundle, model)
    assert [s["step"] for s in found.spikes] == [run.steps[6]]
    assert not has_diverged(run.loss)


@pytest.mark.parametrize("count", [6, 10])
def test_a_spike_of_few_points_is_marked(count: int) -> None:
    loss = 2.5 + 0.5 * np.linspace(0.1, 0.5, count) ** -0.5
    loss[count // 2] += 0.2
    (found,) = spikes(np.arange(count), loss)
    assert found["step"] == count // 2


def test_noise_of_many_points_is_no_spike() -> None:
    frac = np.linspace(0.02, 0.5, 200)
    loss = 2.5 + 0.3 * frac**-0.5 + np.random.default_rng(0).normal(0, 0.05, 200)
    assert spikes(np.arange(200), loss) == []
    loss[100:103] += 1.0
    assert len(spikes(np.arange(200), loss)) == 1


def test_a_log_beyond_the_plan_is_refused(bundle: Bundle, model: PrefixModel) -> None:
    run = run_of(bundle, 0.5)
    config = CONFIG | {"source": "steplaw", "train_steps": 5000}
    with pytest.raises(ConfigError, match=r"the log reaches 10,000 steps.*plans 5,000"):
        forecast(run, config, bundle, model)


def ended(loss: float, half: float = 0.01) -> RunForecast:
    return RunForecast("r", 0.3, 9, LossInterval(loss, loss - half, loss + half), None, None, 1.0)


def test_the_best_third_of_a_sweep_is_kept() -> None:
    chances = chances_of_third([ended(2.5), ended(2.6), ended(2.7)])
    assert chances[0] is not None
    assert chances[2] is not None
    assert chances[0] > 0.99
    assert chances[2] < 0.01


def test_a_target_is_reached_by_the_interval() -> None:
    found = ended(2.5)
    assert found.chance_below(2.51) == pytest.approx(0.95)
    assert found.chance_below(2.49) == pytest.approx(0.05)
    assert advice([found], 2.6)[0]["advice"] == "keep"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "step,loss\n1,4.0\n2,3.5\n3,3.2\n"),
        ("a.tsv", "step\tval_loss\n1\t4.0\n2\t3.5\n3\t3.2\n"),
        ("a.jsonl", '{"step": 1, "loss": 4}\n{"step": 2, "loss": 3.5}\n{"step": 3, "loss": 3.2}\n'),
        ("cut.jsonl", '{"step": 1, "loss": 4}\n{"step": 2, "loss": 3.5}\n'
         '{"step": 3, "loss": 3.2}\n{"step": 4, "lo'),
        ("again.csv", "step,loss\n1,4.0\n2,9.0\n3,9.0\n2,3.5\n3,3.2\n"),
        ("doc.json", json.dumps({"run_id": "own/a", "curves": [
            {"metric": "train/loss", "step": [1, 2, 3], "value": [4.0, 3.5, 3.2]}]})),
        ("nano.log", "step 1: train loss 4.1, val loss 4.0\nstep 2: train loss 3.6, val loss 3.5\n"
         "step 3: train loss 3.3, val loss 3.2\n"),
    ],
)  # fmt: skip
def test_logs_of_all_forms_are_read(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    (run,) = read_progress(tmp_path / name)
    assert run.steps.tolist() == [1, 2, 3]
    assert run.loss.tolist() == [4.0, 3.5, 3.2]
    assert any("restart" in note for note in run.notes) == (name == "again.csv")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("step,loss\n", "holds no row yet"),
        ("step,loss\n1,abc\n", r"row 1: loss is 'abc'; expected a number"),
        ("step,loss\n-3,2.0\n", "counts -3"),
    ],
)
def test_a_bad_log_is_refused_in_a_sentence(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(ConfigError, match=says):
        read_progress(tmp_path / "a.csv")


def test_commands_print_the_same_forecast(tmp_path: Path, bundle: Bundle) -> None:
    run = run_of(bundle, 0.5)
    table = "".join(f"{s:.0f},{v}\n" for s, v in zip(run.steps, run.loss, strict=True))
    (tmp_path / "run.csv").write_text("step,loss\n" + table)
    (tmp_path / "c.json").write_text(json.dumps(CONFIG))
    log, config = str(tmp_path / "run.csv"), str(tmp_path / "c.json")
    first = CliRunner().invoke(
        main,
        ["plan", "extrapolate", log, "--config", config, "--source", "steplaw", "--json",
         "--plot", str(tmp_path / "p.png"), "--watch", "--every", "1", "--for", "1"],
    )  # fmt: skip
    second = CliRunner().invoke(
        main, ["predict", config, "--prefix", log, "--source", "steplaw", "--json"]
    )
    assert first.exit_code == second.exit_code == 0, first.output + second.output
    assert (tmp_path / "p.png").stat().st_size > 1000
    ends = [json.loads(r.stdout)["forecasts"][0]["final"] for r in (first, second)]
    assert ends[0] == ends[1]
