"""The curve board on real curves, thinned: 122 StepLaw runs (LossCast-Bench, MIT), 25M of
MultiPowerLaw (MIT) and 14M of lr-scheduling (MIT)."""

import dataclasses
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from ncpl.bench import curve_methods
from ncpl.bench.curve_methods import average_shape, curve_law, deep_power_law
from ncpl.bench.curve_points import CurvePoints, points_of, scores_of
from ncpl.bench.curve_report import html, markdown
from ncpl.bench.curves import CurveBoard, run_curves
from ncpl.bench.learners import NotApplicableError
from ncpl.bench.part import Part
from ncpl.data.snapshot import Snapshot
from ncpl.errors import ConfigError, SnapshotError
from ncpl.model.bundle import load

FIXTURE = Path(__file__).parents[2] / "fixtures" / "laws" / "snapshot_curves"
WITHOUT = Path(__file__).parents[2] / "fixtures" / "snapshot_steplaw"


@pytest.fixture(scope="module")
def snapshot() -> Snapshot:
    return Snapshot.open(FIXTURE)


@pytest.fixture(scope="module")
def measured(snapshot) -> dict[tuple[str, int], float]:
    curves = snapshot.curves("train/loss_smoothed")
    return {
        (run_id, int(step)): float(loss)
        for run_id, (steps, losses) in curves.items()
        for step, loss in zip(steps, losses, strict=True)
    }


@pytest.fixture(scope="module")
def parts(snapshot) -> dict[str, CurvePoints]:
    runs = snapshot.runs()
    family = runs.families()[0]
    curves = snapshot.curves(family[1])
    return {
        split: points_of(Part(runs.where(family=family, split=split)), curves)
        for split in ("train", "id", "ood")
    }


@pytest.fixture(scope="module")
def board(snapshot, measured, tmp_path_factory) -> CurveBoard:
    """Every point of the joined file 0.03 too high; only quick methods, by few trees."""
    file = tmp_path_factory.mktemp("joined") / "mine.csv"
    lines = [f"{run},{step},{loss + 0.03}" for (run, step), loss in measured.items()]
    file.write_text("\n".join(["run_id,step,prediction", *lines]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(curve_methods, "SHAPE_TREES", 60)
        patch.setattr(curve_methods, "LAW_RUNS", 5)
        patch.setattr(curve_methods, "LAW_STARTS", 1)
        patch.setattr(curve_methods, "final_methods", list)
        patch.setattr("ncpl.laws.dpl.MAX_UPDATES", 300)
        return run_curves(snapshot, [("mine", file)])


def rows_of(board: CurveBoard, method: str) -> list[dict]:
    return [row for row in board.rows if row["method"] == method]


def test_joined_predictions_get_the_error_they_have(board, measured) -> None:
    """MAE .03, its interval as well, and Huber .01 x (.03 - .005)."""
    mine = rows_of(board, "mine")
    assert {row["split"] for row in mine} == {"id", "ood"}
    for row in mine:
        assert row["mae"] == pytest.approx(0.03, rel=1e-4)
        assert row["mae_90"] == pytest.approx([0.03, 0.03], rel=1e-4)
        assert row["huber"] == pytest.approx(0.01 * 0.025, rel=1e-4)
    assert set(board.wanted) <= set(measured)
    assert "| mine |" in markdown(board)


def test_trees_beat_the_average_shape(board) -> None:
    pytest.importorskip("lightgbm")
    trees = rows_of(board, "Boosted trees on Chinchilla, data seen so far")
    shape = rows_of(board, "Average shape, Chinchilla refit")
    assert [t["mae"] < s["mae"] for t, s in zip(trees, shape, strict=True)] == [True, True]


def test_curve_laws_and_deep_power_laws_stand_on_the_board(board) -> None:
    methods = {row["method"] for row in board.rows}
    assert {"Tissue + size term", "Multi-power law + size term", "Deep power laws"} <= methods
    assert all(np.isfinite(row["mae"]) for row in board.rows)


def test_page_of_curves_needs_nothing_else(board) -> None:
    page = html(board)
    assert "<script" not in page
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
    figures = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
    # errors of each source, and curves of each part: ID and OOD, SCHEDULE, SCHEDULE and LENGTH
    assert len(figures) == 3 + 5
    for figure in figures:
        ET.fromstring(figure)


def test_schedule_studies_are_fitted_on_some_schedules(board) -> None:
    """25M of multipower: nine schedules, three known; 14M of lr_scheduling: six runs."""
    found = {(r["source"], r["split"]): r for r in rows_of(board, "Multi-power law")}
    assert found["multipower", "schedule"]["runs"] == 6
    assert found["multipower", "schedule"]["mae"] < 0.0075
    assert {split for source, split in found if source == "lr_scheduling"} == {"schedule", "length"}
    area = rows_of(board, "Power law in the area under the rate")[0]
    assert area["source"] == "multipower"
    assert area["mae"] > found["multipower", "schedule"]["mae"]
    reasons = {o["source"]: o["reason"] for o in board.left_out}
    assert "outside the split" in reasons["multipower"]


def test_curve_law_reads_tokens_and_shares_of_the_peak(parts, monkeypatch) -> None:
    """Runs of several batch sizes and rates: the law must at least rank their points."""
    from ncpl.laws.tissue import tissue

    monkeypatch.setattr(curve_methods, "LAW_RUNS", 20)
    monkeypatch.setattr(curve_methods, "LAW_STARTS", 2)
    predict = curve_law(tissue, parts["train"], 0)
    points = parts["id"].late()
    assert np.corrcoef(predict(points), points.loss)[0, 1] > 0.6


def test_runs_without_a_schedule_are_not_guessed(parts) -> None:
    from ncpl.laws.tissue import tissue

    silent = dataclasses.replace(parts["train"], paths={})
    with pytest.raises(NotApplicableError, match="do not state their whole schedule"):
        curve_law(tissue, silent, 0)


def test_deep_power_laws_learn_a_curve(parts, monkeypatch) -> None:
    monkeypatch.setattr("ncpl.laws.dpl.MAX_UPDATES", 1500)
    train = parts["train"]
    predict = deep_power_law(train, 0)
    from ncpl.bench.methods import chinchilla_refit

    shape = average_shape(train, chinchilla_refit(train.part, 0))
    late = parts["train"].late()
    error = np.abs(predict(late) - late.loss).mean()
    assert error < np.abs(shape(late) - late.loss).mean()


def test_missing_point_is_named(parts, measured, tmp_path) -> None:
    file = tmp_path / "mine.csv"
    lines = [f"{run},{step},{loss}" for (run, step), loss in list(measured.items())[::2]]
    file.write_text("\n".join(["run_id,step,prediction", *lines]))
    with pytest.raises(ConfigError, match="scored points, first"):
        curve_methods.of_file(file)(parts["id"])


def test_snapshot_without_curves_is_refused() -> None:
    with pytest.raises(SnapshotError, match="no curves"):
        run_curves(Snapshot.open(WITHOUT))


def test_only_points_past_a_tenth_are_scored(parts) -> None:
    points = parts["ood"]
    late = points.fraction > 0.1
    error = np.where(late, 0.01, 9.0)
    assert scores_of(points, error)["mae"] == pytest.approx(0.01)


@pytest.fixture(scope="module")
def bundle_folder(snapshot, tmp_path_factory) -> Path:
    """A real bundle: one small member of 30 steps with a curve head of 60."""
    from ncpl.model.bundle import Bundle
    from ncpl.model.config import FitConfig
    from ncpl.train.fit import fit_family

    config = dataclasses.replace(
        FitConfig.preset("tiny"), members=1, steps=30, curve_steps=60, calibration_folds=0
    )
    runs = snapshot.runs()
    train = runs.where(family=runs.families()[0], split="train")
    fit = fit_family(train, config, seed=0, points=snapshot.points(train))
    folder = tmp_path_factory.mktemp("bundle")
    Bundle(config, [fit], snapshot.id).save(folder)
    return folder


def test_bundle_joins_with_its_curves(parts, bundle_folder) -> None:
    """The board reads exactly what `Bundle.curves` gives for these runs and shares."""
    from ncpl.model.bundle import load

    points = parts["id"]
    predicted = curve_methods.of_bundle(load(bundle_folder), parts["train"])(points)
    run = points.run[0]
    mine = points.run == run
    config = points.part.runs.configs[run]
    (expected,) = load(bundle_folder).curves([config], points.fraction[mine].tolist())
    assert predicted[mine] == pytest.approx(expected, abs=1e-5)
    assert np.isfinite(predicted).all()


def test_bundle_stands_on_the_board(snapshot, bundle_folder, monkeypatch) -> None:
    monkeypatch.setattr(curve_methods, "curve_law", never)
    monkeypatch.setattr(curve_methods, "deep_power_law", never)
    monkeypatch.setattr(curve_methods, "tree_residual", never)
    monkeypatch.setattr(curve_methods, "tree_shape", never)
    monkeypatch.setattr(curve_methods, "final_methods", list)
    board = run_curves(snapshot, bundles=[("NCPL", load(bundle_folder))], sources=["steplaw"])
    assert {row["split"] for row in rows_of(board, "NCPL")} == {"id", "ood"}


def never(*arguments: object, **options: object) -> None:
    raise NotApplicableError("left out of this test")
