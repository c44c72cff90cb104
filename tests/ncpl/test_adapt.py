"""ncpl adapt, predict --runs and --source: own runs, a bundle of them, and what is refused."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import ncpl
from ncpl.bundles import load
from ncpl.cli import main
from ncpl.data.fields import derive
from ncpl.data.own_runs import CURVE_TRUST, read_runs
from ncpl.errors import BundleError, ConfigError
from ncpl.model.community import Community, load_community, place
from ncpl.model.next_run import next_run
from ncpl.train.population import fit_population
from tests.ncpl.families import community, family

# QuEST (MIT, github.com/IST-DASLab/QuEST, for_plots/runs_for_scaling.json): the bf16 runs.
QUEST = [
    (30482560, 2999975936, 0.0012, 3.2071399688720703),
    (49556736, 4999872512, 0.0012, 3.0677576065063477),
    (102777856, 9999745024, 0.0006, 2.885958194732666),
    (203188480, 19999752192, 0.0003, 2.7287867069244385),
    (443068288, 42999742464, 0.00015, 2.570779323577881),
    (822151168, 79999795200, 7.5e-05, 2.460976839065552),
]


def quest(n: float, d: float, rate: float) -> dict[str, object]:
    return {
        "params_non_embedding": n, "train_tokens": d, "learning_rate": rate,
        "batch_size_sequences": 512, "sequence_length": 512, "optimizer": "adamw",
        "schedule": "cosine", "weight_decay": 0.1,
    }  # fmt: skip


RUNS = [quest(n, d, rate) | {"final_loss": loss} for n, d, rate, loss in QUEST[:4]]
ASKED = [quest(n, d, rate) for n, d, rate, _ in QUEST[4:]]


@cache
def small_community() -> Community:
    """Return a community of drawn families."""
    families = community(4)
    population = fit_population(families, rounds=1)
    fits = [place(population, f.family, f.rows, f.loss) for f in families]
    return Community(population, fits, "snapshot")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    small_community().save(tmp_path / "community")
    return tmp_path / "community"


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.jsonl"
    path.write_text("\n".join(json.dumps(run) for run in RUNS))
    return path


def call(*arguments: object):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def test_four_small_runs_of_quest_tell_430m_and_800m_within_a_hundredth():
    found = ncpl.adapt(RUNS).predict(ASKED)
    for prediction, (*_, measured) in zip(found, QUEST[4:], strict=True):
        assert prediction.loss == pytest.approx(measured, abs=0.010)
        assert prediction.low < measured < prediction.high


def test_an_adapted_bundle_is_a_bundle(tmp_path, mine, folder):
    told = call("adapt", mine, "--bundle", folder, "--out", tmp_path / "own", "--json")
    assert told.exit_code == 0, told.output
    assert json.loads(told.output)["runs"] == 4
    asked = tmp_path / "asked.json"
    asked.write_text(json.dumps(ASKED))
    from_bundle = call("predict", asked, "--bundle", tmp_path / "own", "--json")
    at_once = call("predict", asked, "--runs", mine, "--bundle", folder, "--json")
    losses = [
        [p["loss"] for p in json.loads(r.output)["predictions"]] for r in (from_bundle, at_once)
    ]
    assert losses[0] == losses[1]
    assert "would narrow" in json.loads(at_once.output)["next_run"]


def test_a_saved_community_answers_as_before(folder):
    again = load(folder)
    config = {"params_non_embedding": 2e8, "train_tokens": 8e9, "source": "s1"}
    assert again.predict([config])[0] == small_community().predict([config])[0]


def test_a_changed_file_is_refused(folder):
    (folder / "draws.safetensors").write_bytes(b"other")
    with pytest.raises(BundleError, match="not the file"):
        load_community(folder)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("s1", None),
        ("s1/loss", None),
        ("nobody", "no source 'nobody' is known; there are s0/loss"),
        (None, "give a source"),
    ],
)
def test_a_source_names_the_family_that_answers(source, expected):
    config = {"params_non_embedding": 2e8, "train_tokens": 8e9}
    if source is not None:
        config["source"] = source
    if expected is None:
        assert small_community().predict([config])[0].source == "s1"
    else:
        with pytest.raises(ConfigError, match=expected):
            small_community().predict([config])


def test_predict_source_asks_the_community_where_the_bundle_knows_it_not(tmp_path):
    asked = tmp_path / "asked.json"
    asked.write_text(json.dumps({"params_non_embedding": 2e8, "train_tokens": 8e9}))
    told = call("predict", asked, "--source", "gemstones", "--json")
    assert json.loads(told.output)["predictions"][0]["source"] == "gemstones"


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        ({"train_tokens": 1e9, "final_loss": 3.0}, "run 1 lacks params_non_embedding"),
        ({"params_non_embedding": 1e8, "final_loss": 3.0}, "run 1 lacks train_tokens"),
        ({"params_non_embedding": 1e8, "train_tokens": 1e9}, "neither final_loss nor curve"),
        ({**RUNS[0], "final_loss": float("nan")}, "final_loss is nan"),
        ({**RUNS[0], "final_loss": "3.2x"}, "final_loss is '3.2x'"),
        ({**RUNS[0], "lr": 1e-3}, "unknown field 'lr'"),
        ({**RUNS[0], "curve": [{"loss": 3.0}]}, "none of step, tokens and percent"),
        ([1], "expected an object"),
    ],
)
def test_a_wrong_run_is_named(run, expected):
    with pytest.raises(ConfigError, match=expected):
        read_runs([run])


def test_points_along_a_run_count_less_than_its_end_and_only_with_a_schedule():
    curve = [{"percent": p, "loss": 4 - p / 100} for p in range(10, 101, 10)]
    steady = {**RUNS[0], "schedule": "constant"}
    others = [{**run, "learning_rate": 1e-3} for run in RUNS]
    own = read_runs([{**steady, "curve": curve}, *others])
    assert own.n_runs == 5
    assert own.weight.tolist() == 5 * [1.0] + 4 * [CURVE_TRUST]
    assert all(row["rate_left_frac"] == 0 for row in own.rows[5:])
    decaying = read_runs([{**RUNS[0], "curve": curve[:8]}])
    assert "learning rate was still high" in decaying.notes[0]
    bare = {k: v for k, v in RUNS[0].items() if k != "schedule"}
    without = read_runs([{**bare, "curve": curve}])
    assert len(without.rows) == 1
    assert "schedule is not known" in without.notes[0]


@pytest.mark.parametrize(
    "others",
    [RUNS[1:], [{**RUNS[0], "learning_rate": 1e-3 * i} for i in range(1, 6)]],
    ids=["too few", "of the same tokens"],
)
def test_points_of_finished_runs_count_only_beside_runs_that_tell_how_loss_goes_with_data(others):
    curve = [{"percent": p, "loss": 4 - p / 100} for p in range(10, 101, 10)]
    steady = {**RUNS[0], "schedule": "constant", "curve": curve}
    own = read_runs([steady, *others])
    assert (own.weight == 1.0).all()
    assert "curves of finished runs are not used" in own.notes[-1]
    running = {name: value for name, value in steady.items() if name != "final_loss"}
    assert len(read_runs([running]).rows) == 4


def test_a_diverged_run_is_left_out_and_said():
    own = read_runs([*RUNS, {**RUNS[0], "status": "diverged"}])
    assert own.n_runs == 4
    assert own.notes == ["run 5 is left out: its status is diverged"]


def test_curves_of_a_placed_family_are_refused_in_a_sentence():
    with pytest.raises(ConfigError, match="final losses only"):
        small_community().adapt(RUNS).curves(ASKED, [0.5])


def test_the_next_run_lies_within_four_times_the_largest_compute():
    own = small_community().adapt(RUNS)
    rows = read_runs(RUNS).rows
    found = next_run(own.fits[0].adapted, rows, ASKED[-1])
    largest = max(n * d for n, d, *_ in QUEST[:4])
    assert found.params_non_embedding * found.train_tokens <= 4.001 * largest
    assert found.narrows_to < 1


def test_a_figure_is_written(tmp_path, mine, folder):
    pytest.importorskip("matplotlib")
    told = call(
        "adapt", mine, "--bundle", folder, "--out", tmp_path / "own", "--plot", tmp_path / "a.png"
    )
    assert told.exit_code == 0, told.output
    assert (tmp_path / "a.png").stat().st_size > 10_000


def test_no_run_at_all_says_that_the_level_is_not_known():
    found = small_community().adapt([]).predict(ASKED)
    assert "no run is known" in found[0].warnings[0]
    assert found[0].high - found[0].low > 0.5


def test_runs_of_a_family_place_it_near_its_own_losses():
    own = family("own", "own", seed=20)
    runs = [
        {k: row[k] for k in ("params_non_embedding", "train_tokens", "learning_rate")}
        | {"final_loss": float(loss)}
        for row, loss in zip(own.rows, own.loss, strict=True)
    ]
    found = (
        small_community()
        .adapt(runs)
        .predict([{k: v for k, v in run.items() if k != "final_loss"} for run in runs])
    )
    assert np.mean([abs(p.loss - r["final_loss"]) for p, r in zip(found, runs, strict=True)]) < 0.01


def test_without_any_run_differences_between_settings_are_told(tmp_path, folder):
    configs = tmp_path / "settings.jsonl"
    configs.write_text("\n".join(json.dumps(quest(3e8, 1e10, rate)) for rate in (1e-3, 1e-2)))
    (tmp_path / "none.jsonl").write_text("")
    asked = ("predict", configs, "--runs", tmp_path / "none.jsonl", "--bundle", folder)
    found = json.loads(call(*asked, "--json").stdout)
    first, second = found["against_first"]
    assert (first["loss"], first["low"], first["high"]) == (0, 0, 0)
    level = found["predictions"][0]
    assert second["high"] - second["low"] < (level["high"] - level["low"]) / 4
    assert "2 against 1: " in call(*asked).output


def test_known_runs_narrow_the_difference_of_settings_near_them():
    bundle = ncpl.adapt(RUNS).fits[0].adapted
    rows = [derive(quest(1e8, 1e10, rate)) for rate in (6e-4, 7e-4)]
    found = bundle.differences(rows)
    assert found.low[1] <= found.loss[1] <= found.high[1]
    assert found.high[1] - found.low[1] < 0.05
