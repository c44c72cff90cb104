"""LossCast-Bench's protocol: its steps, its scores, its files, and what ours says of its runs."""

import json
import math
from pathlib import Path

import pytest
from click.testing import CliRunner

from ncpl.bench.losscast import LossCastRun, eval_steps, read_split, run_losscast, scores
from ncpl.bench.losscast_predictor import ours_of, predict
from ncpl.cli import main
from ncpl.errors import ConfigError

REPOSITORY = Path(__file__).parents[2] / "fixtures" / "losscast_bench"
"""Three runs of github.com/dangxingyu/losscast-bench at 7ab8291c (MIT), values untouched."""


@pytest.mark.parametrize(
    ("every", "total", "steps"),
    [
        (1000, 2500, [0, 1000, 2000, 2500]),
        (1000, 2000, [0, 1000, 2000]),
        (None, 900, [0, 500, 900]),
    ],
)
def test_a_prediction_answers_at_their_steps(every: int, total: int, steps: list[int]) -> None:
    config = {"schedule": {"total_steps": total}} | ({"eval_interval": every} if every else {})
    assert eval_steps(config) == steps


def test_scores_are_theirs() -> None:
    config = {"eval_interval": 1, "schedule": {"total_steps": 2}}
    run = LossCastRun("a", config, {0: 4.0, 1: 3.0, 2: 2.0, 7: 9.0})
    found = scores([run], {"a": {0: 4.005, 1: 3.1, 2: 2.0}})
    assert found["points"] == 3  # step 7 is not asked for
    assert found["huber"] == pytest.approx((0.005**2 / 2 + 0.01 * 0.095) / 3)
    assert found["r2"] == pytest.approx(1 - (0.005**2 + 0.1**2) / 2)
    assert found["curve_mae"] == pytest.approx(0.035)
    assert found["final_mae"] == 0


def test_guesses_of_their_metadata_are_repaired() -> None:
    marin = next(r for r in read_split(REPOSITORY) if r.run_id.startswith("ncpl_marin"))
    found = ours_of(marin.config)
    assert marin.config["data"]["seq_len"] == 2048
    assert found["sequence_length"] == 4096
    assert "final_loss" not in found


def test_losses_of_a_run_never_enter_its_prediction() -> None:
    for run in read_split(REPOSITORY):
        said = predict(run.config)
        assert list(said) == run.steps
        assert all(0 < loss < 13 and math.isfinite(loss) for loss in said.values())
        last = max(step for step in run.losses if step in said)
        assert said[last] == pytest.approx(run.losses[last], abs=0.2)


def test_the_command_writes_what_their_scorer_reads(tmp_path: Path) -> None:
    words = ["bench", "losscast", str(REPOSITORY), "--out", str(tmp_path), "--json"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["rows"][0]["part"] == "NCPL-OOD"
    assert any(row["method"] == "xgboost_v2" for row in found["quoted"])
    runs = json.loads((tmp_path / "predictions.json").read_text())["runs"]
    assert {run["run_id"] for run in runs} == {run.run_id for run in read_split(REPOSITORY)}
    room: dict = {}
    exec((tmp_path / "predict.py").read_text(), room)
    first = read_split(REPOSITORY)[0]
    own = next(run["predictions"] for run in runs if run["run_id"] == first.run_id)
    assert room["predict"](dict(first.config)) == pytest.approx(own, abs=1e-5)


def test_step_zero_is_told_apart() -> None:
    runs = [r for r in read_split(REPOSITORY) if r.run_id.startswith("ncpl_marin")]
    said, rows = run_losscast(runs, predict)
    parts = {row["part"]: row["points"] for row in rows}
    assert parts["of these, step 0 left out"] == parts["NCPL-OOD"] - 1
    assert list(said) == [run.run_id for run in runs]


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"run_id": "alice_350m", "schedule": {"total_steps": 10}}, "whose id begins with"),
        ({"run_id": "ncpl_marin_x"}, "schedule.total_steps"),
        ({"run_id": "nanochat_d9", "schedule": {"total_steps": 10}}, "is no RunConfig"),
    ],
)
def test_what_is_no_configuration_of_theirs_is_refused(config: dict, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        predict(config)


def test_a_folder_without_their_runs_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="git clone"):
        read_split(tmp_path)
