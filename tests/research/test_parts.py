"""Ablations: every variant is fitted, on training runs only."""

import dataclasses

import numpy as np
import pytest

from ncpl.data.snapshot import Runs
from ncpl.model.config import FitConfig
from research.ablate.parts import VARIANTS, ablations, joint, leave_one_out


@pytest.fixture
def few(runs: Runs) -> Runs:
    train = runs.where(split="train")
    return train.take(np.arange(len(train)) % 4 == 0)


@pytest.fixture
def quick() -> FitConfig:
    return dataclasses.replace(FitConfig.preset("tiny"), steps=5)


@pytest.mark.slow
def test_every_variant_has_a_row(few: Runs, quick: FitConfig) -> None:
    rows = ablations(few, quick, told=lambda _: None)
    assert [row["variant"] for row in rows] == list(VARIANTS)
    found = {row["variant"]: row for row in rows}
    assert all(0 < row["inside"] < 0.1 and row["outside"] > 0 for row in rows)
    assert found["law alone"]["inside"] != found["Gaussian process alone"]["inside"]
    # Without the structured head there is no bowl, and five steps do not make one.
    assert found["network alone, residual to Chinchilla"]["inside"] > found["law alone"]["inside"]


@pytest.mark.slow
def test_each_size_is_left_out_in_turn(few: Runs, quick: FitConfig) -> None:
    rows = leave_one_out(few, quick, told=lambda _: None)
    assert [row["left_out"] for row in rows] == ["60M", "120M", "215M", "268M", "429M"]
    assert sum(row["n"] for row in rows) == len(few)


@pytest.mark.slow
def test_sources_are_fitted_together(few: Runs, quick: FitConfig) -> None:
    halves = {
        ("a", "", "", "", ""): few.take(np.arange(len(few)) % 2 == 0),
        ("b", "", "", "", ""): few.take(np.arange(len(few)) % 2 == 1),
    }
    rows = joint(halves, quick)
    assert [row["source"] for row in rows] == ["a", "b"]
    assert all(row["inside"] < 0.05 for row in rows)
