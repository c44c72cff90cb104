"""Budgets: the replay engine, its strategies, and plans with results so far."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

import ncpl
from ncpl.cli import main
from ncpl.errors import ConfigError
from ncpl.plan.arms import GRID, NOTHING, Arms, ArmsProgress, Prefix
from ncpl.plan.candidates import varied
from ncpl.plan.forecasts import LearnedForecaster, forecaster_of, shrunken
from ncpl.plan.improvement import STOPS, chance_below
from ncpl.plan.orders import Order
from ncpl.plan.replay import Truth, replay
from ncpl.plan.strategies import Strategy, entrants, strategies
from ncpl.plan.surrogates import power_law, process

RATES = np.geomspace(2e-4, 2e-2, 12)


@pytest.fixture
def arms() -> Arms:
    """Twelve generated runs over the learning rate; the third best is predicted to be the best."""
    rows = [
        {"params_non_embedding": 1e8, "data_tokens": 1e9, "learning_rate": float(r)} for r in RATES
    ]
    loss = 3 + 0.02 * np.square(np.log(RATES / 2e-3))
    predicted = loss + 0.002 * np.cos(np.arange(12))
    curve = predicted[:, None] + 0.5 * (GRID**-0.3 - 1)
    return Arms([f"r{i}" for i in range(12)], rows, np.full(12, 6e17), predicted,
                np.full(12, 0.004), curve)  # fmt: skip


@pytest.fixture
def truth(arms: Arms) -> Truth:
    loss = 3 + 0.02 * np.square(np.log(RATES / 2e-3))
    return Truth(loss, [Prefix(GRID, x + 0.5 * (GRID**-0.3 - 1)) for x in loss])


@pytest.mark.parametrize("name", list(strategies()))
@pytest.mark.parametrize("share", [0.1, 0.3, 1.0])
def test_every_strategy_finishes_a_run_inside_its_budget(arms, truth, name, share) -> None:
    budget = max(share * arms.flop.sum(), arms.flop[0])
    found = replay(arms, truth, strategies()[name], budget, seed=3)
    assert found.progress.spent <= budget * (1 + 1e-9)
    assert found.chosen >= 0
    assert found.progress.finished[found.chosen]
    assert found.regret(truth) >= 0


def test_all_of_the_compute_finds_the_best_run(arms, truth) -> None:
    for name in ("random", "top", "ncpl"):
        found = replay(arms, truth, strategies()[name], float(arms.flop.sum()))
        assert found.regret(truth) == pytest.approx(0.0, abs=1e-9), name


def test_an_order_the_budget_does_not_pay_is_refused(arms, truth) -> None:
    greedy = Strategy("greedy", "all at once", lambda _: [Order(i, 1.0) for i in range(12)])
    with pytest.raises(ValueError, match="greedy orders run 1"):
        replay(arms, truth, greedy, 7e17)


def test_halving_begins_with_what_it_can_halve(arms) -> None:
    """Eight runs: 1 to an eighth, .5 more to a quarter, .5 to half, .5 to the end: 2.5 runs."""
    progress = ArmsProgress.start(arms, 2.5 * 6e17)
    assert len(entrants(progress, list(range(12)), (0.125, 0.25, 0.5, 1.0))) == 8


@pytest.mark.parametrize(("until", "moved"), [(0.1, 0.1), (0.3, 0.3), (0.5, 0.4), (0.8, 0.75)])
def test_a_forecast_keeps_a_part_of_the_distance_to_the_curve(arms, until, moved) -> None:
    curve = arms.curve[4] + 0.02
    mean, sd = shrunken(arms, [4], [Prefix(GRID, curve).until(until)])
    assert mean[0] - arms.loss[4] == pytest.approx(0.02 * moved, abs=2e-4)
    assert sd[0] <= arms.sd[4]


@pytest.fixture(scope="module")
def learned() -> LearnedForecaster:
    found = forecaster_of(None)
    assert isinstance(found, LearnedForecaster)
    return found


def measured_arm(base, off: float, until: float) -> tuple[Arms, Prefix]:
    """Return one arm of the shipped bundle, and its predicted curve lifted by some nats."""
    found = Arms.predicted(ncpl.load(), [base | {"source": "steplaw"}])
    return found, Prefix(GRID, found.curve[0] + off).until(until)


@pytest.mark.parametrize("off", [0.01, -0.01])
def test_what_starts_of_runs_say_moves_a_forecast_and_narrows_with_the_run(
    base, learned, off
) -> None:
    told = []
    for until in (0.3, 0.8):
        own, prefix = measured_arm(base, off, until)
        mean, sd = learned(own, [0], [prefix])
        assert 0 < (mean[0] - own.loss[0]) / off < 1.2
        told.append(sd[0])
    assert told[1] < told[0]


def test_a_run_that_has_left_its_course_is_not_forecast_back_onto_it(base, learned) -> None:
    own, prefix = measured_arm(base, 1.0, 0.5)
    assert learned(own, [0], [prefix])[0] == shrunken(own, [0], [prefix])[0]
    assert learned(own, [0], [prefix])[0][0] > own.loss[0] + 0.3


def test_another_family_and_no_points_are_told_without_starts_of_runs(arms, base, learned) -> None:
    assert (
        learned(arms, [4], [Prefix(GRID, arms.curve[4] + 0.02).until(0.5)])[0]
        == shrunken(arms, [4], [Prefix(GRID, arms.curve[4] + 0.02).until(0.5)])[0]
    )
    own, _ = measured_arm(base, 0.0, 0.5)
    assert learned(own, [0], [NOTHING])[0] == own.loss[0]


@pytest.mark.parametrize("share", [0.2, 0.35, 0.5, 0.8])
def test_a_large_budget_finds_what_the_best_predicted_runs_find_or_more(arms, truth, share) -> None:
    budget = share * float(arms.flop.sum())
    ours, top = (replay(arms, truth, strategies()[n], budget) for n in ("ncpl", "top"))
    assert ours.regret(truth) <= top.regret(truth)


def test_a_hopeless_run_is_left_and_says_little_of_those_like_it(arms, truth) -> None:
    """The second best predicted run leaves its course at once; whole runs would be three."""
    second = int(np.argsort(arms.loss)[1])
    final = truth.final.copy()
    final[second] += 1.0
    prefix = list(truth.prefix)
    prefix[second] = Prefix(GRID, prefix[second].loss + 1.0)
    found = replay(arms, Truth(final, prefix), strategies()["ncpl"], 3.4 * 6e17)
    assert found.progress.share[second] == STOPS[0]
    assert found.progress.finished[found.chosen]
    assert (found.progress.share > 0).sum() > 3
    assert found.progress.share[found.progress.share > 0].mean() > 0.5


def test_a_chance_is_half_at_the_forecast_and_a_twentieth_at_the_end_of_its_interval() -> None:
    found = chance_below(np.array([2.0, 2.0, 2.0]), np.array([2.0, 2.01, 1.99]), np.full(3, 0.01))
    assert found == pytest.approx([0.5, 0.05, 0.95])


def test_without_points_a_forecast_is_the_prediction(arms) -> None:
    mean, sd = shrunken(arms, [2], [NOTHING])
    assert (mean[0], sd[0]) == (arms.loss[2], arms.sd[2])


def test_a_power_law_is_continued(arms) -> None:
    share = np.linspace(0.05, 0.4, 8)
    found = power_law(arms, [0], [Prefix(share, 2.5 + 0.4 * share**-0.5)])
    assert found[0] == pytest.approx(2.9, abs=1e-6)


def test_the_process_tells_a_run_without_points_by_those_like_it(arms, truth) -> None:
    prefixes = [truth.prefix[i].until(0.5) for i in range(12)]
    prefixes[6] = NOTHING
    found = process(arms, list(range(12)), prefixes)
    assert found[6] == pytest.approx((found[5] + found[7]) / 2, abs=0.02)


@pytest.fixture(scope="module")
def base() -> dict:
    return {
        "params_non_embedding": 268304384, "train_tokens": 8_000_000_000, "n_layers": 8,
        "d_model": 1024, "d_ff": 9552, "n_heads": 16, "sequence_length": 2048,
        "batch_size_sequences": 128, "learning_rate": 1e-3,
    }  # fmt: skip


def test_values_are_spread_on_a_fields_own_scale(base) -> None:
    found = varied([base], ["learning_rate=1e-4:1e-2:3", "batch_tokens=262144,524288"])
    assert [c["learning_rate"] for c in found[::2]] == [1e-4, 1e-3, 1e-2]
    assert [c["batch_size_sequences"] for c in found[:2]] == [128, 256]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("learning_rate", "expected NAME=LOW:HIGH:COUNT"),
        ("lr_peak=1,2", "no field"),
        ("learning_rate=1e-2:1e-4:3", "low end below"),
        ("learning_rate=a,b", "not a number"),
        ("learning_rate=1e-4:1e-2:9000", "candidates; expected 5,000"),
    ],
)
def test_a_wrong_axis_is_told_in_a_sentence(base, text, said) -> None:
    with pytest.raises(ConfigError, match=said):
        varied([base], [text])


def ask(tmp_path, base, results=None, *args):
    file = tmp_path / "base.json"
    file.write_text(json.dumps(base))
    more = []
    if results is not None:
        (tmp_path / "results.jsonl").write_text("\n".join(json.dumps(r) for r in results))
        more = ["--resume", str(tmp_path / "results.jsonl")]
    return CliRunner().invoke(
        main,
        ["plan", "allocate", str(file), "--vary", "learning_rate=2e-4:8e-3:6", "--runs", "2",
         *more, *args],
    )  # fmt: skip


def test_a_plan_names_the_next_run_and_stays_inside_the_budget(tmp_path, base) -> None:
    found = ask(tmp_path, base, None, "--json")
    assert found.exit_code == 0, found.output
    plan = json.loads(found.output)
    assert plan["next"][0]["from_share"] == 0
    assert sum(step["flop"] for step in plan["plan"]) <= plan["budget_flop"] * (1 + 1e-9)


def test_results_are_paid_from_the_budget_and_move_forecasts(tmp_path, base) -> None:
    first = json.loads(ask(tmp_path, base, None, "--json").output)
    number, until = first["next"][0]["number"], 100 * first["next"][0]["to_share"]
    results = [{"run_id": number, "curve": [{"percent": until, "loss": 4.0}]}]
    found = json.loads(ask(tmp_path, base, results, "--json").output)
    assert found["spent_flop"] == pytest.approx(first["next"][0]["flop"])
    assert found["next"][0]["number"] != number  # far worse than its curve: not taken on
    done = [{"run_id": number, "final_loss": 2.5}]
    found = json.loads(ask(tmp_path, base, done, "--json").output)
    assert found["best"]["loss"] == 2.5


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ({"run_id": 99, "final_loss": 2.5}, "no candidate 99"),
        ({"run_id": 1}, "neither final_loss nor curve"),
        ({"run_id": 1, "final_loss": -2}, "nats per token"),
        ({"run_id": 1, "curve": [{"percent": 130, "loss": 2}]}, "130% of the run"),
        ({"run_id": 1, "curve": [{"loss": 2}]}, "none of step, tokens and percent"),
        ({"final_loss": 2.5, "params_non_embedding": 268304384}, "matches 6 of 6"),
    ],
)
def test_a_wrong_result_is_told_in_a_sentence(tmp_path, base, result, said) -> None:
    found = ask(tmp_path, base, [result])
    assert found.exit_code == 1
    assert said in found.output
    assert "Traceback" not in found.output


def test_a_plan_is_drawn_and_told_in_words(tmp_path, base) -> None:
    results = [
        {"run_id": 3, "final_loss": 2.5},
        {"run_id": 5, "curve": [{"percent": 50, "loss": 4.0}]},
    ]
    found = ask(tmp_path, base, results, "--plot", str(tmp_path / "plan.svg"), "--json")
    assert found.exit_code == 0, found.output
    plan = json.loads(found.output)
    drawn = (tmp_path / "plan.svg").read_text()
    assert drawn.startswith("<?xml")
    assert "Best so far: 3, 2.5000 nats." in plan["plot_text"]
    assert "5 at 50%" in plan["plot_text"]
    assert "Best so far: 3, 2.5000 nats." in drawn
    assert [step["run_id"] for step in plan["done"]] == ["3", "5"]


def test_a_plot_of_another_kind_is_refused_before_the_work(tmp_path, base) -> None:
    found = ask(tmp_path, base, None, "--plot", "plan.gif")
    assert found.exit_code == 1
    assert ".png, .svg, .pdf" in found.output


def test_a_budget_below_one_run_is_refused(tmp_path, base) -> None:
    file = tmp_path / "base.json"
    file.write_text(json.dumps(base))
    found = CliRunner().invoke(main, ["plan", "allocate", str(file), "--budget", "1e15"])
    assert found.exit_code == 1
    assert "buys no whole run" in found.output


def law(tmp_path, base, *args):
    file = tmp_path / "base.json"
    file.write_text(json.dumps({k: v for k, v in base.items() if not k.startswith(("n_", "d_"))}))
    return CliRunner().invoke(
        main,
        ["plan", "allocate", str(file), "--vary", "params_non_embedding=1e7:2e8:4", "--vary",
         "learning_rate=5e-4:4e-3:3", "--budget", "2e19", "--end", "law", *args],
    )  # fmt: skip


TARGET = ("--target-params", "1e9", "--target-tokens", "2e10", "--json")


def test_runs_for_a_law_narrow_the_large_run_inside_the_budget(tmp_path, base) -> None:
    found = json.loads(law(tmp_path, base, *TARGET).output)
    halves = [found["half"], *(run["half"] for run in found["runs"])]
    assert halves == sorted(halves, reverse=True)
    assert sum(run["flop"] for run in found["runs"]) <= 2e19
    assert len({run["number"] for run in found["runs"]}) == len(found["runs"])


def test_a_measured_run_narrows_and_is_not_asked_for_again(tmp_path, base) -> None:
    first = json.loads(law(tmp_path, base, *TARGET).output)
    number = first["runs"][0]["number"]
    results = tmp_path / "results.jsonl"
    results.write_text(json.dumps({"run_id": number, "final_loss": 3.2}))
    found = json.loads(law(tmp_path, base, *TARGET, "--resume", str(results)).output)
    assert found["half"] < first["half"]
    assert number not in [run["number"] for run in found["runs"]]


def test_runs_for_a_law_are_drawn(tmp_path, base) -> None:
    drawn = tmp_path / "law.png"
    found = json.loads(law(tmp_path, base, *TARGET, "--plot", str(drawn)).output)
    assert drawn.read_bytes().startswith(b"\x89PNG")
    assert f"{len(found['runs'])} runs" in found["plot_text"]


def test_a_law_needs_a_large_run(tmp_path, base) -> None:
    found = law(tmp_path, base)
    assert found.exit_code == 2
    assert "--target-params" in found.output
