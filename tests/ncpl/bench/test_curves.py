"""The curve board on 122 real StepLaw runs with curves (LossCast-Bench, MIT), thinned."""

from pathlib import Path

import numpy as np
import pytest

from ncpl.bench.curves import markdown, points_of, read_curves, run_curves, scores_of
from ncpl.bench.part import Part
from ncpl.data import Snapshot
from ncpl.errors import ConfigError, SnapshotError

FIXTURE = Path(__file__).parents[2] / "fixtures" / "laws" / "snapshot_curves"
WITHOUT = Path(__file__).parents[2] / "fixtures" / "snapshot_steplaw"


@pytest.fixture(scope="module")
def snapshot() -> Snapshot:
    return Snapshot.open(FIXTURE)


@pytest.fixture(scope="module")
def measured(snapshot) -> dict[tuple[str, int], float]:
    curves = read_curves(snapshot, "train/loss_smoothed")
    return {
        (run_id, int(step)): float(loss)
        for run_id, (steps, losses) in curves.items()
        for step, loss in zip(steps, losses, strict=True)
    }


def test_joined_predictions_get_the_error_they_have(snapshot, measured, tmp_path) -> None:
    """Every point 0.03 too high: MAE .03, and Huber .01 x (.03 - .005)."""
    file = tmp_path / "mine.csv"
    lines = [f"{run},{step},{loss + 0.03}" for (run, step), loss in measured.items()]
    file.write_text("\n".join(["run_id,step,prediction", *lines]))
    board, wanted = run_curves(snapshot, [("mine", file)])
    mine = [row for row in board["rows"] if row["method"] == "mine"]
    assert {row["split"] for row in mine} == {"id", "ood"}
    for row in mine:
        assert row["mae"] == pytest.approx(0.03, rel=1e-4)
        assert row["huber"] == pytest.approx(0.01 * 0.025, rel=1e-4)
    assert set(wanted) <= set(measured)
    assert "| mine |" in markdown(board)


def test_trees_beat_the_average_shape(snapshot) -> None:
    pytest.importorskip("lightgbm")
    board, _ = run_curves(snapshot)
    error = {(r["method"], r["split"]): r["mae"] for r in board["rows"]}
    better = error["Boosted trees for shape and final loss", "id"]
    assert better < error["Average shape, Chinchilla refit", "id"]


def test_missing_point_is_named(snapshot, measured, tmp_path) -> None:
    file = tmp_path / "mine.csv"
    lines = [f"{run},{step},{loss}" for (run, step), loss in list(measured.items())[::2]]
    file.write_text("\n".join(["run_id,step,prediction", *lines]))
    with pytest.raises(ConfigError, match="scored points, first"):
        run_curves(snapshot, [("mine", file)])


def test_snapshot_without_curves_is_refused() -> None:
    with pytest.raises(SnapshotError, match="no curves"):
        run_curves(Snapshot.open(WITHOUT))


def test_only_points_past_a_tenth_are_scored(snapshot) -> None:
    runs = snapshot.runs()
    part = Part(runs.where(family=runs.families()[0], split="ood"))
    points = points_of(part, read_curves(snapshot, "train/loss_smoothed"))
    late = points.fraction > 0.1
    error = np.where(late, 0.01, 9.0)
    assert scores_of(points, error)["mae"] == pytest.approx(0.01)
