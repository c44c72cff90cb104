"""Batches and carried settings: beside what measured sweeps say."""

import json
import math

import numpy as np
import pytest
from click.testing import CliRunner

import ncpl
from ncpl.cli import main
from ncpl.data.snapshot import Runs
from ncpl.model.bundle import Bundle
from ncpl.plan.batch import plan_batch
from ncpl.plan.measured import MeasuredRuns
from ncpl.plan.optima import batch_cells, carried, cells_of, optimum, slopes
from ncpl.plan.power_lines import best_weight_decay
from ncpl.plan.transfer import transfer


@pytest.fixture(scope="module")
def known() -> MeasuredRuns:
    return MeasuredRuns.of(ncpl.load().fits[0], None)


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([(r, 2 + 0.02 * math.log(r / 2e-3) ** 2) for r in (5e-4, 1e-3, 2e-3, 4e-3)], (2e-3, 2.0)),
        ([(r, 2 + r) for r in (1e-3, 2e-3, 4e-3, 8e-3)], None),  # falls to the last value
        ([(1e-3, 2.0), (2e-3, 2.1), (4e-3, 2.2)], None),  # too few
    ],
)
def test_an_optimum_lies_between_measured_values(points, expected) -> None:
    found = optimum(points)
    assert found == (None if expected is None else pytest.approx(expected, rel=1e-6))


def test_slopes_of_a_known_law_come_back() -> None:
    """Generated: rate = 2e-3 (N/1e8)^-.5 (B/2^19)^.4."""
    rows, loss = [], []
    for n in (5e7, 1e8, 2e8, 4e8):
        for d in (2e9, 8e9):
            for b in (2**18, 2**19, 2**20):
                best = 2e-3 * (n / 1e8) ** -0.5 * (b / 2**19) ** 0.4
                for rate in best * np.array([0.4, 0.7, 1.1, 1.6, 2.5]):
                    rows.append(
                        {"params_non_embedding": n, "data_tokens": d, "batch_tokens": b,
                         "learning_rate": float(rate), "optimizer": "adamw"}
                    )  # fmt: skip
                    loss.append(2.5 + 0.02 * math.log(rate / best) ** 2)
    made = MeasuredRuns([str(i) for i in range(len(rows))], rows, loss)
    found = {s.name: s for s in slopes(cells_of(made, "adamw"))}
    assert found["params_non_embedding"].value == pytest.approx(-0.5, abs=1e-6)
    assert found["batch_tokens"].value == pytest.approx(0.4, abs=1e-6)
    assert found["train_tokens"].value == pytest.approx(0.0, abs=1e-6)


def test_the_step_law_comes_back_from_its_own_training_runs(known: MeasuredRuns) -> None:
    """At the best batch: published -.713 of size and .307 of tokens; at a fixed one, others."""
    found = transfer(known, "steplaw", "adamw")
    rules = {rule.name: rule for rule in found.rules}
    for name in ("Step Law, size", "Step Law, tokens"):
        assert rules[name].agrees, rules[name]
    batch = rules["square root of the batch"].measured
    assert batch is not None
    assert 0.2 < batch.low < batch.value < batch.high < 0.5
    assert rules["linear in the batch"].agrees is False
    assert rules["AdamW timescale"].measured is None
    assert any("weight_decay" in note for note in found.notes)


def test_the_best_batch_of_sweeps_is_carried_near_the_step_law(known: MeasuredRuns) -> None:
    found = carried(batch_cells(known, "adamw"), 268304384, 2.5e10)
    assert found is not None
    assert found.low < 502_000 < found.high  # .58 D^.571, the Step Law's
    assert 0.4 < found.power_of_tokens < 0.75


def test_what_a_batch_costs_stands_beside_what_was_measured(bundle: Bundle, runs: Runs) -> None:
    found = plan_batch(bundle, params_non_embedding=268304384, train_tokens=25e9, runs=runs)
    costs = [row.cost for row in found.rows]
    assert min(costs) == 0
    assert costs[0] > 0.02
    assert costs[-1] > 0.02
    best = next(row for row in found.rows if row.cost == 0)
    assert best.cost_low == best.cost_high == 0
    seen = [row for row in found.rows if row.measured is not None]
    assert len(seen) >= 4
    lowest = min(row.measured for row in seen)
    for row in seen:  # a loose fit of 60 steps: the order of magnitude
        assert row.cost == pytest.approx(row.measured - lowest, abs=0.03)
    assert found.critical_tokens is not None
    assert best.batch_tokens < found.critical_tokens < 2**27
    assert 1e6 < found.kaplan_critical_tokens < 1e7


def test_costs_of_batches_hold_the_measured_ones(runs: Runs) -> None:
    """Of held-out groups too; the share is measured (LOG.md)."""
    shipped, inside = ncpl.load(), []
    for size, tokens in ((268304384, 14.2e9), (214663680, 8e9), (429260800, 20e9)):
        found = plan_batch(shipped, params_non_embedding=size, train_tokens=tokens, runs=runs)
        seen = [row for row in found.rows if row.measured is not None]
        if len(seen) < 3:
            continue
        lowest = min(row.measured for row in seen)
        inside += [
            row.cost_low - 0.002 <= row.measured - lowest <= row.cost_high + 0.002 for row in seen
        ]
    assert len(inside) > 5
    assert np.mean(inside) >= 0.7


def test_the_commands_print_tables_and_the_same_as_json() -> None:
    size = ["--params", "268304384", "--tokens", "2.5e10"]
    text = CliRunner().invoke(main, ["plan", "batch", *size])
    assert text.exit_code == 0, text.output
    for words in ("critical batch (McCandlish", "Kaplan", "Step Law", "no run of these sources"):
        assert words in text.stdout
    found = json.loads(CliRunner().invoke(main, ["plan", "batch", *size, "--json"]).stdout)
    assert min(row["cost"] for row in found["rows"]) == 0
    first = ["params_non_embedding=1e8", "train_tokens=5e9", "batch_tokens=262144"]
    arguments = [word for text in [*first, "learning_rate=2e-3"] for word in ("--from", text)]
    arguments += ["--to", "params_non_embedding=1B", "--to", "batch_tokens=1M"]
    carried_text = CliRunner().invoke(main, ["plan", "transfer", *arguments])
    assert carried_text.exit_code == 0, carried_text.output
    assert "measured slopes of the catalog" in carried_text.stdout
    told = json.loads(CliRunner().invoke(main, ["plan", "transfer", *arguments, "--json"]).stdout)
    rates = {c["rule"]: c["learning_rate"] for c in told["carried"]}
    expected = 2e-3 * math.sqrt(1e6 / 262144)
    assert rates["square root of the batch, no other change"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--to", "params_non_embedding=1e9"], "--from needs params_non_embedding"),
        (["--from", "lr=1e-3"], "expected NAME=NUMBER"),
        (["--from", "learning_rate=fast"], "expected NAME=NUMBER"),
    ],
)
def test_a_transfer_that_lacks_something_is_one_sentence(
    arguments: list[str], message: str
) -> None:
    result = CliRunner().invoke(main, ["plan", "transfer", *arguments])
    assert result.exit_code == 1
    assert message in result.stderr


def test_the_best_weight_decay_follows_the_timescale_of_measured_optima() -> None:
    """Generated: best timescale .2 (D/N)^-.527, so the level is told exactly."""
    rows, loss = [], []
    for tokens in (2e9, 8e9):
        for decay in (0.02, 0.06, 0.18, 0.5, 1.5):
            best = 2**18 / (2e-3 * 0.2 * (tokens / 1e8) ** -0.527 * tokens)
            rows.append(
                {"params_non_embedding": 1e8, "data_tokens": tokens, "batch_tokens": 2**18,
                 "learning_rate": 2e-3, "weight_decay": decay * best / 0.18, "optimizer": "adamw"}
            )  # fmt: skip
            loss.append(3 + 0.02 * math.log(decay / 0.18) ** 2)
    known = MeasuredRuns([str(i) for i in range(len(rows))], rows, loss)
    asked = {"params_non_embedding": 4e8, "train_tokens": 8e9, "batch_size_sequences": 256,
             "sequence_length": 2048, "learning_rate": 1e-3, "optimizer": "adamw"}  # fmt: skip
    found = best_weight_decay(known, asked)
    expected = 2**19 / (1e-3 * 0.2 * 20**-0.527 * 8e9)
    assert found.value == pytest.approx(expected, rel=0.02)
    assert found.low <= found.value <= found.high


def test_without_sweeps_of_weight_decay_none_is_told(known: MeasuredRuns) -> None:
    config = {"params_non_embedding": 1e8, "train_tokens": 2e9, "learning_rate": 1e-3}
    assert best_weight_decay(known, config) is None
