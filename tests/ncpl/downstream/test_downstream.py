"""Real task results: what ships answers within its intervals; bad input is one sentence."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from ncpl.cli import main
from ncpl.downstream.audit import audit
from ncpl.downstream.board import CASES, markdown, run_case
from ncpl.downstream.hierarchy import Hierarchy
from ncpl.downstream.saved import read_relation, relate
from ncpl.downstream.table import TaskTable
from ncpl.laws import post_training
from ncpl.laws.fitting import fit_law


def test_shipped_relation_covers_the_models_it_was_fitted_to(marin: TaskTable):
    relation = read_relation(None, "marin")
    inside = []
    for i in range(0, len(marin), 5):
        rows = {r["task"]: r for r in relation.answer(float(marin.loss[i]), 0.0, [])}
        for j, task in enumerate(marin.tasks):
            if "value" in rows[task.name]:
                row = rows[task.name]
                inside.append(row["low"] <= marin.values[i, j] <= row["high"])
    assert 0.85 <= np.mean(inside) <= 1.0


def test_shipped_relation_is_that_of_the_shipped_source(marin: TaskTable):
    shipped, again = read_relation(None, "marin"), relate(marin)
    for loss in (2.95, 3.2):
        one, other = (r.answer(loss, 0.01, ["hellaswag"])[0] for r in (shipped, again))
        assert one["value"] == pytest.approx(other["value"], abs=1e-4)
        assert one["high"] == pytest.approx(other["high"], abs=1e-3)


def test_uncertain_loss_widens_the_tasks():
    relation = read_relation(None, "marin")
    sure, unsure = (relation.answer(3.1, sd, ["hellaswag"])[0] for sd in (0.0, 0.05))
    assert unsure["high"] - unsure["low"] > 1.5 * (sure["high"] - sure["low"])


def test_task_that_the_loss_does_not_order_gets_no_number(marin: TaskTable):
    rows = {row.task: row for row in audit(marin)}
    assert rows["hellaswag"].is_predictable
    assert rows["boolq"].verdict.startswith("not ordered by the loss")
    answer = read_relation(None, "marin").answer(3.0, 0.0, ["boolq"])[0]
    assert "value" not in answer
    assert answer["verdict"].startswith("not ordered")


def test_board_scores_every_method_on_models_left_out(marin: TaskTable):
    case = next(c for c in CASES if c.source == "marin")
    scores = {s.method: s for s in run_case(case, marin)}
    assert {"chance", "mean", "largest", "error law", "two steps", "hierarchy"} <= set(scores)
    assert scores["hierarchy"].mae < scores["largest"].mae < scores["chance"].mae
    assert scores["hierarchy"].coverage >= 0.8
    assert "| hierarchy |" in markdown(list(scores.values()))


def test_fit_and_predict_by_commands(tasks_catalog: Path, tmp_path: Path):
    run = CliRunner()
    out = tmp_path / "tasks.json"
    call = ["downstream", "fit", "--snapshot", "latest", "--catalog", str(tasks_catalog)]
    result = run.invoke(main, [*call, "--source", "marin", "--out", str(out), "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.output)["models"] == 123
    call = ["downstream", "predict", "--fit", str(out), "--loss", "3.0", "--json"]
    rows = json.loads(run.invoke(main, [*call, "--tasks", "hellaswag"]).output)["tasks"]
    assert 0.4 < rows[0]["low"] < rows[0]["value"] < rows[0]["high"] < 0.6


def test_task_without_results_gets_no_number(ladder: TaskTable):
    shares = ladder.shares()
    small = shares.take(shares.params < 2e9)
    mc = [i for i, task in enumerate(shares.tasks) if task.name.endswith(".mc")]
    assert mc
    assert np.isnan(small.values[:, mc]).all()
    said = Hierarchy(calibrated=False).fit(small).predict(shares).value
    assert np.isnan(said[:, mc]).all()
    assert not any(task.name.endswith(".mc") for task in relate(small).tasks)


OWN = """model,loss,params,tokens,hellaswag
a,3.5,1e8,1e10,{0}
b,3.2,3e8,1e10,0.35
c,3.0,1e9,2e10,0.42
d,2.9,2e9,2e10,0.46
"""


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        (OWN.format("1.2"), "model a: accuracy is 1.2; expected a share in [0, 1]"),
        (
            OWN.format("31").replace("0.35", "35").replace("0.42", "42").replace("0.46", "46"),
            "divide the column by 100",
        ),
        ("\n".join(OWN.format("0.3").splitlines()[:3]), "holds 2 models; expected at least 3"),
        (OWN.format("x"), "row 2, column hellaswag: found 'x'; expected a number"),
        (OWN.format("0.3").replace("model", "run"), "has no column `model`"),
    ],
)
def test_bad_table_is_one_sentence(table: str, sentence: str, tmp_path: Path):
    file = tmp_path / "own.csv"
    file.write_text(table)
    out = tmp_path / "o.json"
    result = CliRunner().invoke(main, ["downstream", "fit", str(file), "--out", str(out)])
    assert result.exit_code == 1
    assert sentence in result.output
    assert not out.exists()


def test_unknown_task_and_damaged_file_are_one_sentence(tmp_path: Path):
    run = CliRunner()
    call = ["downstream", "predict", "--loss", "3", "--tasks", "helaswag"]
    result = run.invoke(main, call)
    assert result.exit_code == 1
    assert "no task 'helaswag' here; near it: hellaswag" in result.output
    bad = tmp_path / "bad.json"
    bad.write_text('{"format": "ncpl-downstream/1"}')
    result = run.invoke(main, [*call, "--fit", str(bad)])
    assert result.exit_code == 1
    assert "is damaged" in result.output


def test_configuration_to_tasks_carries_both_uncertainties(tmp_path: Path):
    config = {"source": "marin", "optimizer": "adamw", "params_non_embedding": 301989888,
              "train_tokens": 6e9, "learning_rate": 8e-3, "batch_size_sequences": 128,
              "sequence_length": 4096}  # fmt: skip
    file = tmp_path / "config.json"
    file.write_text(json.dumps(config))
    call = ["predict", str(file), "--tasks", "hellaswag", "--curve", "2", "--json"]
    result = CliRunner().invoke(main, call)
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)["predictions"][0]
    alone = read_relation(None, "marin").answer(found["loss"], 0.0, ["hellaswag"])[0]
    task = found["tasks"][0]
    assert task["value"] == pytest.approx(alone["value"])
    assert task["high"] - task["low"] > alone["high"] - alone["low"]
    early, late = (point["tasks"]["hellaswag:accuracy"] for point in found["curve"])
    assert early < late


def test_laws_of_post_training_find_generated_truths():
    params = np.repeat([5e8, 3e9, 1.4e10], 12)
    amount = np.tile(np.geomspace(1e3, 1e5, 12), 3)
    truth = {"K": 0.15, "N0": 2.0, "E0": 0.4, "e": -0.1}
    inputs = {"params": params, "amount": amount}
    fit = fit_law(post_training.LAW, inputs, post_training.LAW.predict(truth, inputs))
    assert fit.values["K"] == pytest.approx(0.15, rel=0.05)
    share = {"epoch_share": np.linspace(0, 1, 30)}
    law = post_training.REWARD_LAW
    reward = law.predict({"R0": 0.2, "G": 0.5, "t0": 0.2, "w": 0.05}, share)
    assert fit_law(law, share, reward).values["G"] == pytest.approx(0.5, rel=0.05)


def test_plan_shows_the_task_of_the_objective():
    call = ["plan", "recommend", "--params", "3e8", "--tokens", "6e9", "--source", "marin"]
    call += ["--optimizer", "adamw", "--objective", "task:hellaswag", "--json"]
    result = CliRunner().invoke(main, call)
    assert result.exit_code == 0, result.output
    task = json.loads(result.output)["tasks"][0]
    assert task["task"] == "hellaswag"
    assert task["low"] < task["value"] < task["high"]
    result = CliRunner().invoke(main, [*call[:-2], "hellaswag"])
    assert result.exit_code == 2
    assert "expected loss or task:NAME" in result.output
