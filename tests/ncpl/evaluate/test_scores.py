"""Scores: small cases by hand, and the published Chinchilla row on the real split."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

import ncpl
from ncpl.data.snapshot import Runs, Snapshot
from ncpl.evaluate.card import render
from ncpl.evaluate.rescore import rescore
from ncpl.evaluate.scores import cell_table, format_table, score, score_table, spearman
from ncpl.model.bundle import Bundle


@pytest.mark.parametrize(
    ("a", "b", "rho"),
    [
        ([1, 2, 3], [10, 20, 30], 1.0),
        ([1, 2, 3], [30, 20, 10], -1.0),
        ([1, 1, 2], [1, 2, 3], math.sqrt(3) / 2),  # ties share their mean rank
        ([1, 1, 1], [1, 2, 3], math.nan),
    ],
)
def test_rank_correlation(a: list[float], b: list[float], rho: float) -> None:
    found = spearman(np.array(a, dtype=float), np.array(b, dtype=float))
    assert found == pytest.approx(rho, nan_ok=True)


def test_scores_of_a_group() -> None:
    measured = np.array([2.0, 2.1, 2.2, 2.3, 2.4])
    predicted = np.array([2.2, 2.1, 2.3, 2.4, 2.5])
    interval = (predicted - 0.15, predicted + 0.15)
    found = score(predicted, measured, ["g"] * 5, interval)
    assert found.mae == pytest.approx(0.1)
    assert found.rmse == pytest.approx(math.sqrt(0.07 / 5))
    assert found.choice_gap_percent == pytest.approx(5.0)  # chose 2.1 where 2.0 was the best
    assert found.coverage == pytest.approx(0.8)
    assert found.width == pytest.approx(0.3)


def test_small_groups_choose_nothing() -> None:
    found = score(np.arange(4.0), np.arange(4.0), ["a", "a", "b", "b"])
    assert math.isnan(found.choice_gap_percent)
    assert found.spearman == pytest.approx(1.0)


def test_the_published_chinchilla_row_is_reproduced(bundle: Bundle, runs: Runs) -> None:
    """The check that data, split and units are right: the paper's StepLaw row to .0001."""
    rows = {
        r["split"]: r
        for r in score_table(bundle, runs)
        if r["predictor"] == "Chinchilla, reference"
    }
    assert round(rows["id"]["mae"], 4) == 0.0704
    assert round(rows["id"]["rmse"], 4) == 0.0949
    assert round(rows["ood"]["mae"], 4) == 0.0440
    assert round(rows["ood"]["rmse"], 4) == 0.0670


def test_the_table_shows_every_predictor(bundle: Bundle) -> None:
    text = format_table(bundle.about["scores"])
    for name in ("Chinchilla, reference", "Chinchilla, refit", "mean of 2 seeds", "ensemble", "±"):
        assert name in text


def test_cells_add_up_to_the_split(bundle: Bundle, runs: Runs) -> None:
    cells = [row for row in cell_table(bundle, runs) if row["split"] == "ood"]
    assert len(cells) == 12
    assert sum(row["n"] for row in cells) == 694
    mean = sum(row["n"] * row["Chinchilla, refit"] for row in cells) / 694
    assert mean == pytest.approx(0.0404, abs=5e-5)


def test_a_bundle_without_held_out_runs_has_no_scores(runs: Runs, fixtures: Path) -> None:
    """As when every run of a source trains, which the split `ncpl-open` may do."""
    shipped = ncpl.load()
    snapshot = Snapshot.open(fixtures / "laws" / "snapshot_curves")
    trained = dataclasses.replace(runs, split=["train"] * len(runs))
    rescore(shipped, snapshot, trained)
    tables = ("scores", "curve_scores", "coverage", "divergence")
    assert {name: shipped.about[name] for name in tables} == {name: [] for name in tables}
    assert render(shipped.card())
    assert format_table(shipped.about["scores"])
