"""Small runs before a large one: what they tell, and the configurations that come out."""

import json
from itertools import pairwise

import numpy as np
import pytest
from click.testing import CliRunner

from ncpl.cli import main
from ncpl.data.fields import derive
from ncpl.errors import ConfigError
from ncpl.forms.understand import read_form
from ncpl.model.family_law import Effects
from ncpl.model.law_process import LawProcess
from ncpl.model.population import Population
from ncpl.plan.narrowing import Narrowed, explore, pick
from ncpl.plan.sweep import plan_sweep, shape_of, with_length

POPULATION = Population.start()


def family(count: int = 40, seed: int = 0) -> tuple[list[dict], np.ndarray]:
    """Generated: L = .6 n^-.28 + .35 d^-.32 + 1.8 and a bowl of the learning rate."""
    generator = np.random.default_rng(seed)
    rows, loss = [], []
    for _ in range(count):
        n, d = 10 ** generator.uniform(7, 8.7), 10 ** generator.uniform(8.5, 10.3)
        rate = 2e-3 * np.exp(generator.normal(0, 0.7) - 0.4 * np.log(n / 250e6))
        off = np.log(rate / 2e-3) + 0.4 * np.log(n / 250e6)
        rows.append({"params_non_embedding": n, "data_tokens": d, "learning_rate": float(rate)})
        loss.append(0.6 * (n / 250e6) ** -0.28 + 0.35 * (d / 15e9) ** -0.32 + 1.8 + 0.02 * off**2)
    return rows, np.array(loss)


def test_a_law_is_told_from_runs_and_reaches_beyond_them() -> None:
    rows, loss = family()
    large = [{"params_non_embedding": 2e9, "data_tokens": 4e10, "learning_rate": 9e-4}]
    effects = Effects.of([*rows, *large])
    known = LawProcess.of(POPULATION, effects, rows, loss)
    (found,), (sd,) = known.predict(large)
    off = np.log(9e-4 / 2e-3) + 0.4 * np.log(8)
    true = 0.6 * 8**-0.28 + 0.35 * (40 / 15) ** -0.32 + 1.8 + 0.02 * off**2
    assert abs(found - true) < min(0.03, 2 * sd)
    assert sd < LawProcess.of(POPULATION, effects).predict(large)[1][0] / 5


def test_what_is_told_step_by_step_is_what_the_runs_tell_together() -> None:
    rows, _ = family(12)
    effects = Effects.of(rows)
    before = LawProcess.of(POPULATION, effects)
    told = Narrowed(before, before.read(rows[:5]), before.read(rows[5:]))
    for place in range(5):
        told.measure(place)
    gram = before.shared(before.read(rows[:5]), before.read(rows[:5]))
    gram += before.scales.noise**2 * np.eye(5)
    across = before.shared(before.read(rows[5:]), before.read(rows[:5]))
    at_once = before.variance(before.read(rows[5:]))
    at_once = at_once - np.einsum("tk,kt->t", across, np.linalg.solve(gram, across.T))
    assert told.target == pytest.approx(at_once, rel=1e-6)


def test_a_pick_stays_inside_its_budget_and_takes_no_run_twice() -> None:
    rows, _ = family(30)
    cost = np.array([6 * r["params_non_embedding"] * r["data_tokens"] for r in rows])
    before = LawProcess.of(POPULATION, Effects.of(rows))
    told = Narrowed(before, before.read(rows), before.read(rows[:3]))
    chosen = pick(told, cost, float(cost.sum()) / 5, 30)
    assert len(set(chosen)) == len(chosen)
    assert cost[chosen].sum() <= cost.sum() / 5


def test_runs_chosen_one_after_the_other_stop_at_the_number_asked_for() -> None:
    rows, loss = family(30)
    cost = np.array([6 * r["params_non_embedding"] * r["data_tokens"] for r in rows])
    chosen = explore(
        POPULATION, rows, cost, rows[:2], float(cost.sum()), lambda at: loss[at], most=4
    )
    assert len(chosen) == 4


def test_each_run_of_a_sweep_narrows_and_all_fit_the_share() -> None:
    found = plan_sweep(POPULATION, 1e9, 2e10, base={"sequence_length": 2048}, count=5)
    halves = [found.now.half, *(run.half for run in found.runs)]
    assert all(a >= b for a, b in pairwise(halves))
    assert halves[-1] < halves[0] / 2
    assert sum(run.flop for run in found.runs) <= 0.05 * 6 * 1e9 * 2e10
    for run in found.runs:
        row = derive(run.config)
        assert row["batch_tokens"] * row["train_steps"] == row["train_tokens"]


def test_known_runs_narrow_the_start() -> None:
    rows, loss = family(8)
    known = [
        {"params_non_embedding": r["params_non_embedding"], "train_tokens": r["data_tokens"],
         "learning_rate": r["learning_rate"], "final_loss": float(x)}
        for r, x in zip(rows, loss, strict=True)
    ]  # fmt: skip
    base = {"sequence_length": 2048}
    blank = plan_sweep(POPULATION, 1e9, 2e10, base=base, count=1)
    found = plan_sweep(POPULATION, 1e9, 2e10, base=base, count=1, known=known)
    assert found.n_known == 8
    assert found.now.half < blank.now.half / 3


def test_a_shape_keeps_the_proportions_of_the_base() -> None:
    shape = shape_of({"d_model": 1024, "n_layers": 8, "d_ff": 4096, "n_heads": 16}, 3e7)
    assert shape["d_model"] / shape["n_layers"] == pytest.approx(128, rel=0.4)
    assert shape["d_ff"] == 4 * shape["d_model"]


@pytest.mark.parametrize("form", ["megatron", "hf", "nanogpt", "torchtitan"])
def test_configurations_come_out_in_a_frameworks_form(form, tmp_path) -> None:
    out = tmp_path / "sweep"
    found = CliRunner().invoke(
        main,
        ["plan", "sweep", "--params", "1e9", "--tokens", "2e10", "--sequence-length", "2048",
         "--count", "2", "--as", form, "--out", str(out)],
    )  # fmt: skip
    assert found.exit_code == 0, found.output
    files = sorted(out.iterdir())
    assert len(files) == 2
    read = read_form(files[0]).config
    assert read["sequence_length"] == 2048
    assert read["learning_rate"] > 0


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "give --sequence-length"),
        (["--sequence-length", "2048", "--share", "1e-9"], "larger --share"),
    ],
)
def test_what_a_sweep_lacks_is_asked_for(args, said) -> None:
    found = CliRunner().invoke(
        main, ["plan", "sweep", "--params", "1e9", "--tokens", "2e10", *args]
    )
    assert found.exit_code == 1
    assert said in found.output


def test_the_plan_is_there_as_json() -> None:
    found = CliRunner().invoke(
        main,
        ["plan", "sweep", "--params", "1e9", "--tokens", "2e10", "--sequence-length", "1024",
         "--count", "1", "--json"],
    )  # fmt: skip
    assert json.loads(found.output)["runs"][0]["config"]["sequence_length"] == 1024


def test_sequences_are_as_long_as_in_most_own_runs_where_nobody_says():
    rows = [{"sequence_length": 2048}, {"sequence_length": 2048}, {"sequence_length": 512}, {}]
    base, (note,) = with_length({"optimizer": "adamw"}, rows)
    assert base == {"optimizer": "adamw", "sequence_length": 2048}
    assert note == "sequences of 2,048 tokens, as in 2 of 4 own runs"
    assert with_length({"sequence_length": 128}, rows) == ({"sequence_length": 128}, [])
    with pytest.raises(ConfigError, match="give --sequence-length"):
        with_length({}, [{}])
