"""The release gate: equal passes, worse is refused, and the reasons name what became worse."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from ncpl.cli import main, train_main
from ncpl.data.snapshot import Runs, Snapshot
from ncpl.errors import NcplError
from ncpl.evaluate.gate import (
    Change,
    WorseCell,
    bootstrap,
    judge,
    reasons_against,
    reasons_against_cell,
)
from ncpl.evaluate.gate_data import data_change, trained_on
from ncpl.model.bundle import Bundle
from ncpl.model.config import FitConfig
from ncpl.train.pipeline import train_bundle

SAME = Change("a", "id", 100, 0.01, 0.01, -0.001, 0.001, "groups", 0.9, 0.9, 0.1, 0.1, 0.0)


@pytest.fixture(scope="module")
def worse(snapshot: Snapshot, runs: Runs, tmp_path_factory: Any) -> tuple[Bundle, Path]:
    """A bundle of one member of two steps, on the 80 training runs with the smallest loss."""
    places = [i for i, split in enumerate(runs.split) if split == "train"]
    kept = set(sorted(places, key=lambda i: runs.loss[i])[:80])
    split = [None if s == "train" and i not in kept else s for i, s in enumerate(runs.split)]
    config = dataclasses.replace(
        FitConfig.preset("tiny"), steps=2, process_share=0.0, curve_steps=0
    )
    folder = tmp_path_factory.mktemp("worse")
    return (
        train_bundle(
            snapshot, dataclasses.replace(runs, split=split), config, seed=0, folder=folder
        ),
        folder,
    )


def test_a_bundle_is_not_worse_than_itself(bundle: Bundle, runs: Runs) -> None:
    verdict = judge(bundle, bundle, runs)
    assert verdict.passes
    assert [(c.split, c.n) for c in verdict.changes] == [("id", 370), ("ood", 694)]
    assert all(c.low == c.high == 0 for c in verdict.changes)
    assert verdict.worse_cells == []


def test_a_worse_bundle_is_refused_with_the_reasons(
    bundle: Bundle, worse: tuple[Bundle, Path], runs: Runs
) -> None:
    verdict = judge(worse[0], bundle, runs)
    assert not verdict.passes
    told = " ".join(verdict.reasons)
    assert "steplaw ID: MAE rose from" in told
    assert any(cell.n >= 20 and cell.new_mae > cell.old_mae for cell in verdict.worse_cells)
    back = judge(bundle, worse[0], runs).changes[0]
    assert back.high < 0
    assert back.new_mae == verdict.changes[0].old_mae
    alone = judge(worse[0], bundle, runs, cells_refuse=False)
    assert not any("runs):" in reason for reason in alone.reasons)
    assert len(alone.worse_cells) == len(verdict.worse_cells)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, None),
        ({"new_mae": 0.0105}, None),  # inside its interval, below a tenth
        ({"new_mae": 0.0105, "low": 0.0003}, "MAE rose from 0.0100 to 0.0105, by 0.0003"),
        ({"new_mae": 0.0112}, "by more than 10%"),
        ({"new_mae": 0.010005, "low": 0.000001}, None),  # rounding
        ({"new_mae": 0.009}, None),
        ({"new_coverage": 0.80}, "cover 80.0%, before 90.0%"),
        ({"new_coverage": 1.0}, "cover 100.0%"),
        ({"new_coverage": 0.95}, None),
        ({"old_coverage": 1.0, "new_coverage": 0.99}, None),  # outside, but nearer
        ({"new_gap_percent": 0.2, "gap_low": 0.01}, "choice gap rose from 0.100% to 0.200%"),
        ({"new_gap_percent": 0.2, "gap_low": -0.01}, None),
        ({"new_gap_percent": 0.14, "gap_low": 0.01}, None),  # a coin toss among ties
        ({"n": 5, "new_mae": 0.0112, "new_coverage": 0.5}, None),  # too few to judge
    ],
)
def test_what_counts_as_worse(change: dict[str, Any], message: str | None) -> None:
    found = reasons_against(dataclasses.replace(SAME, **change))
    assert len(found) == (message is not None)
    assert message is None or message in found[0]


@pytest.mark.parametrize(
    ("new_mae", "low", "is_worse"),
    [
        (0.010, 0.0, False),
        (0.012, 0.001, False),
        (0.014, 0.001, True),
        (0.014, -0.001, False),
        (0.031, -0.001, True),  # above Chinchilla's .030, before below it
    ],
)
def test_what_counts_as_a_worse_cell(new_mae: float, low: float, is_worse: bool) -> None:
    cell = WorseCell("a", "id", "adamw/1/2", 30, 0.010, new_mae, low, 0.030)
    assert bool(reasons_against_cell(cell)) is is_worse


def test_the_bootstrap_draws_whole_groups() -> None:
    """Two groups that disagree: drawing runs would call the difference certain."""
    values = np.array([1.0] * 50 + [-0.5] * 50)
    groups = np.array(["a"] * 50 + ["b"] * 50)
    rng = np.random.default_rng(0)
    assert bootstrap(values, groups, rng) == (-0.5, 1.0)
    low, high = bootstrap(values, np.arange(100), rng)
    assert 0 < low < 0.25 < high < 0.5


def test_runs_one_bundle_was_trained_on_are_left_out(bundle: Bundle, runs: Runs) -> None:
    held = [r for r, split in zip(runs.run_ids, runs.split, strict=True) if split == "id"]
    verdict = judge(bundle, bundle, runs, unfair=frozenset(held[:70]))
    assert verdict.changes[0].n == 300
    assert "70 runs are left out" in verdict.remarks[0]
    with pytest.raises(NcplError, match="no held-out runs"):
        judge(bundle, bundle, runs, unfair=frozenset(runs.run_ids))


def test_a_family_without_a_model_is_a_reason(bundle: Bundle, runs: Runs) -> None:
    other = dataclasses.replace(bundle.fits[0], family=("pythia", "m", "", "", "nats_per_token"))
    both = dataclasses.replace(bundle, fits=[*bundle.fits, other])
    assert "pythia (m): the new bundle has no model for it" in judge(bundle, both, runs).reasons
    assert "pythia (m): new, nothing to compare with" in judge(both, bundle, runs).remarks


def test_changes_of_data_are_counted(runs: Runs) -> None:
    every = np.arange(len(runs))
    old = runs.take(every >= 3)
    loss = runs.loss.copy()
    loss[10] += 0.1
    split = runs.split.copy()
    first = next(i for i, s in enumerate(split) if s == "id")
    split[first] = "train"
    new = dataclasses.replace(runs, loss=loss, split=split).take(every != 20)
    found = data_change(new, old)
    assert found.added == {"steplaw": 3}
    assert found.removed == {"steplaw": 1}
    assert found.changed == {"steplaw": 1}
    assert found.moved == ["1 runs moved from id to train"]
    assert trained_on(runs, new) == {runs.run_ids[first]}


def test_the_command_says_passes_or_refused(
    bundle: Bundle,
    folder: Path,
    worse: tuple[Bundle, Path],
    snapshot: Snapshot,
    tmp_path: Path,
) -> None:
    on = ["--snapshot", str(snapshot.path)]
    same = CliRunner().invoke(main, ["gate", str(folder), "--against", str(folder), *on])
    assert same.exit_code == 0, same.output
    assert "passes: not worse" in same.stdout
    page = tmp_path / "made" / "gate.md"
    arguments = ["gate", str(worse[1]), "--against", str(folder), *on, "--report", str(page)]
    result = CliRunner().invoke(main, [*arguments, "--json"])
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert not found["passes"]
    assert found["reasons"]
    assert "**refused**" in page.read_text()
    assert found["reasons"][0] in page.read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["absent"], 1, "holds no bundle"),
        ([], 2, "DIR"),
    ],
)
def test_a_wrong_gate_is_one_sentence(arguments: list[str], code: int, message: str) -> None:
    result = CliRunner().invoke(main, ["gate", *arguments])
    assert result.exit_code == code
    assert message in result.stderr


def generated(i: int) -> dict[str, Any]:
    """Return a run document of a made study: plausible, and named as generated."""
    rng = np.random.default_rng(i)
    size, steps = (85e6, 151e6)[i % 2], (10_000, 20_000)[i // 2 % 2]
    rate = float(10 ** rng.uniform(-3.5, -2.2))
    tokens = steps * 256 * 2048
    loss = 1.7 + 400 / size**0.34 + 410 / tokens**0.28 + 0.05 * (np.log(rate) - np.log(2e-3)) ** 2
    return {
        "schema_version": "1.0",
        "run_id": f"generated/run_{i:03d}",
        "source": "generated",
        "model": {"params_non_embedding": int(size)},
        "optimizer": {"name": "adamw", "learning_rate": rate, "weight_decay": 0.1},
        "schedule": {
            "shape": "cosine",
            "warmup_steps": 500,
            "train_steps": steps,
            "batch_size_sequences": 256,
            "sequence_length": 2048,
            "train_tokens": tokens,
        },
        "data": {"dataset": "generated_text", "tokenizer": "generated_tokenizer"},
        "outcome": {
            "status": "finished",
            "final_loss": round(float(loss + rng.normal(0, 0.002)), 5),
            "final_loss_metric": "eval/loss",
            "final_loss_unit": "nats_per_token",
        },
    }


@pytest.mark.slow
def test_submissions_are_learned_and_a_worse_model_is_refused(tmp_path: Path) -> None:
    """Submit, snapshot, train, gate: the whole loop through the commands."""
    from ncpl_data.ingest.cli import main as data_main

    catalog = ["--catalog", str(tmp_path / "catalog")]
    runner = CliRunner()

    def call(command: Any, *arguments: str, code: int = 0) -> Any:
        result = runner.invoke(command, [*arguments, *catalog, "--json"])
        assert result.exit_code == code, result.output
        return json.loads(result.stdout)

    settings = tmp_path / "fit.toml"
    settings.write_text(
        "width = 16\nn_layers = 1\nn_heads = 2\nmembers = 1\nsteps = 60\ncalibration_folds = 0\n"
        "process_share = 0.0\ncurve_steps = 0\n"
    )
    call(data_main, "ingest", "steplaw", "--offline")
    call(data_main, "snapshot", "--split", "ncpl-open")
    train = ["--snapshot", "latest", "--config", str(settings)]
    call(train_main, *train, "--out", str(tmp_path / "old"))

    file = tmp_path / "generated.jsonl"
    file.write_text("".join(json.dumps(generated(i)) + "\n" for i in range(80)))
    call(data_main, "submit", str(file))
    call(data_main, "snapshot", "--split", "ncpl-open")
    trained = call(train_main, *train, "--out", str(tmp_path / "new"))
    assert set(trained["seeds"]) == {"steplaw", "generated"}

    given = ["--against", str(tmp_path / "old")]
    found = call(main, "gate", str(tmp_path / "new"), *given)
    assert found["passes"]
    assert found["data"]["added"] == {"generated": 80}
    assert found["data"]["removed"] == {}
    assert [row["n"] for row in found["scores"]] == [370, 694]

    settings.write_text(settings.read_text().replace("steps = 60", "steps = 1"))
    call(train_main, *train, "--out", str(tmp_path / "hasty"))
    refused = call(main, "gate", str(tmp_path / "hasty"), *given, code=1)
    assert refused["reasons"]
    against_shipped = call(main, "gate", str(tmp_path / "hasty"), code=1)
    assert any("marin" in reason for reason in against_shipped["reasons"])
