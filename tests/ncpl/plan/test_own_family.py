"""Plans in a family of own runs: settings, batches, small runs, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import ncpl
from ncpl.cli import main
from ncpl.data.own_runs import read_runs
from ncpl.errors import ConfigError
from ncpl.plan.own_family import OwnPlans
from ncpl.plan.recommend import recommend
from ncpl.plan.setting import AS_OWN
from tests.ncpl.test_adapt import RUNS

# A study of one's own as submission documents: OLMo's ladder at 190M and 370M (Apache-2.0).
DOCUMENTS = [
    (190000000, 7282, 1908932608, 3.74747896194458),
    (190000000, 14544, 3812622336, 3.600973129272461),
    (370000000, 14193, 3720609792, 3.5318517684936523),
    (190000000, 29066, 7619477504, 3.4965221881866455),
]


def document(n: int, steps: int, tokens: int, loss: float) -> dict[str, object]:
    return {
        "schema_version": "1.0", "run_id": f"mine/{n}/{steps}", "source": "mine",
        "model": {"params_non_embedding": n},
        "optimizer": {"name": "adamw", "learning_rate": 0.001, "weight_decay": 0.1},
        "schedule": {
            "shape": "cosine", "warmup_steps": 2000, "train_steps": steps,
            "batch_size_sequences": 128, "sequence_length": 2048, "train_tokens": tokens,
        },
        "data": {"dataset": "mine", "tokenizer": "mine"},
        "outcome": {"status": "finished", "final_loss": loss, "final_loss_unit": "nats_per_token"},
    }  # fmt: skip


def call(*arguments: object):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def written(path: Path, runs: list) -> Path:
    path.write_text("\n".join(json.dumps(run) for run in runs))
    return path


def test_a_recommendation_in_the_own_family_keeps_its_recipe_and_names_no_winner_among_ties():
    found = recommend(OwnPlans.of(ncpl.adapt(RUNS)), params_non_embedding=8.2e8, train_tokens=8e10)
    assert found.source == "own"
    assert found.config["optimizer"] == "adamw"
    assert found.config["sequence_length"] == 512
    assert {s.name for s in found.settings if s.role == AS_OWN} >= {"schedule", "weight_decay"}
    # QuEST's own 822M run, at 7.5e-05, gave 2.461.
    assert found.prediction.low < 2.461 < found.prediction.high
    rate = next(s for s in found.settings if s.name == "learning_rate")
    assert rate.tied_alone[0] <= 7.5e-05 * 1.01
    assert rate.tied_alone[1] > 10 * rate.tied_alone[0]
    assert any("no effect that could be told" in note for note in found.notes)


def test_a_budget_is_split_between_size_and_tokens_within_what_it_buys():
    found = recommend(OwnPlans.of(ncpl.adapt(RUNS)), flop=1e20)
    size, tokens = found.config["params_non_embedding"], found.config["train_tokens"]
    assert 6 * size * tokens == pytest.approx(1e20, rel=1e-6)
    span = next(s for s in found.settings if s.name == "params_non_embedding").tied_alone
    assert span[0] < size < span[1]


def test_runs_and_their_adapted_bundle_plan_alike(tmp_path):
    mine = written(tmp_path / "mine.jsonl", RUNS)
    told = call("adapt", mine, "--out", tmp_path / "own", "--json")
    assert "10 times the largest compute" in json.loads(told.output)["next_run"]
    asked = ("--params", 8e8, "--tokens", 8e10, "--json")
    answers = [
        json.loads(call("plan", "recommend", *asked, *how).output)
        for how in (("--runs", mine), ("--bundle", tmp_path / "own"))
    ]
    assert answers[0]["config"] == answers[1]["config"]
    assert answers[0]["prediction"] == answers[1]["prediction"]
    batches = call("plan", "batch", *asked, "--bundle", tmp_path / "own")
    rows = json.loads(batches.output)["rows"]
    assert len(rows) > 5
    assert min(row["cost"] for row in rows) == 0
    small = call("plan", "sweep", *asked, "--sequence-length", 512, "--count", 2,
                 "--bundle", tmp_path / "own")  # fmt: skip
    assert json.loads(small.output)["n_known"] == 4


def test_submission_documents_are_own_runs(tmp_path):
    mine = written(tmp_path / "mine.jsonl", [document(*run) for run in DOCUMENTS])
    told = call("plan", "recommend", "--flop", 1e20, "--runs", mine, "--as", "nanogpt")
    assert told.exit_code == 0, told.output
    assert "learning_rate" in told.output


def test_a_table_with_a_column_loss_is_read_and_what_is_not_read_is_said(tmp_path):
    table = tmp_path / "mine.csv"
    table.write_text(
        "run_id,params_non_embedding,train_tokens,loss,x\n"
        "a,14162304,307200000,3.658,2.6e16\nb,14162304,716800000,3.497,6.1e16\n"
        "c,27271680,768000000,3.383,1.3e17\n"
    )
    told = call("plan", "recommend", "--flop", 1e19, "--sequence-length", 2048, "--runs", table)
    assert told.exit_code == 0, told.output
    for note in ("not read: x", "no own run states a learning rate", "no batch is told"):
        assert note in told.output


@pytest.mark.parametrize(
    ("runs", "note"),
    [
        ([*RUNS, RUNS[0]], "run 5 is run 1 again: it counts once"),
        ([r | {"dataset": d} for r, d in zip(RUNS, "abab", strict=True)], "do not compare"),
        (RUNS[:1], "all own runs have one learning rate"),
    ],
)
def test_what_is_odd_about_own_runs_is_said(runs, note):
    found = recommend(OwnPlans.of(ncpl.adapt(runs)), params_non_embedding=2e8, train_tokens=2e10)
    assert any(note in told for told in found.notes)


def test_a_perplexity_is_refused():
    with pytest.raises(ConfigError, match="of a perplexity give the natural logarithm"):
        read_runs([RUNS[0] | {"final_loss": 21.5}])


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        (("--source", "marin"), "give --source or --runs"),
        (("--snapshot", "latest"), "give --runs or --snapshot"),
        (("--optimizer", "muon"), "own knows no optimizer 'muon'; it has adamw"),
    ],
)
def test_what_does_not_go_with_own_runs_is_refused(tmp_path, how, expected):
    mine = written(tmp_path / "mine.jsonl", RUNS)
    told = call("plan", "recommend", "--params", 8e8, "--tokens", 8e10, "--runs", mine, *how)
    assert told.exit_code != 0
    assert expected in told.output


def test_a_bundle_without_own_runs_plans_nothing():
    with pytest.raises(ConfigError, match="holds no runs of your own"):
        OwnPlans.of(ncpl.adapt([]))
