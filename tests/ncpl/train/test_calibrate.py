"""Widths of intervals: what the scale of an error learns from generated and from real errors."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ncpl.data.snapshot import Runs
from ncpl.model.bundle import Bundle
from ncpl.model.config import FitConfig
from ncpl.model.intervals import BEND, FACTORS, error_scale, half_width, told
from ncpl.train.calibrate import (
    MIN_SLOPE,
    ONE_SIZE,
    Missed,
    calibrate,
    fit_apart,
    fit_scale,
    fit_slope,
    folds,
    left_out_errors,
    typical_spread,
    weighted_quantile,
)
from ncpl.train.fit import fit_family, settled

Array = np.ndarray[tuple[int], np.dtype[np.float64]]


def generated(rng: np.random.Generator, growth: float) -> tuple[Missed, Array]:
    """Return generated errors whose true scale is known, and that scale."""
    spread = np.exp(rng.normal(-5, 0.5, 4000))
    above = rng.exponential(0.05, 4000)
    scale = spread**0.5 * np.exp(growth * above**BEND) * 0.1
    error, none = rng.exponential(scale), np.zeros(4000)
    return Missed(error, spread, above, none, none, np.ones(4000)), scale


@pytest.mark.parametrize("growth", [0.0, 6.0])
def test_the_scale_of_generated_errors_is_found(growth: float) -> None:
    missed, scale = generated(np.random.default_rng(0), growth)
    found = FACTORS | fit_scale(missed)
    assert found["power"] == pytest.approx(0.5, abs=0.12)
    assert found["growth"] == pytest.approx(growth, abs=0.6)
    guess = error_scale(missed.spread, missed.above, found)
    assert np.log(guess / scale).std() < 0.1
    wide = guess * np.quantile(missed.error / guess, 0.9)
    far = missed.above > np.quantile(missed.above, 0.9)
    assert np.mean(missed.error[far] <= wide[far]) == pytest.approx(0.9, abs=0.03)


def test_errors_that_shrink_upwards_widen_nothing() -> None:
    missed, _ = generated(np.random.default_rng(1), -6.0)
    assert fit_scale(missed)["growth"] == 0.0


def test_intervals_are_wider_where_the_prediction_lies_higher(bundle: Bundle, runs: Runs) -> None:
    fit = bundle.fits[0]
    best = dict(runs.where(split="id").configs[0])
    rates = best["learning_rate"] * np.array([1.0, 4.0])
    read = fit.read(fit.encoder.encode([best | {"learning_rate": rate} for rate in rates]))
    loss, spread, above = told(read)
    assert above[1] > above[0] >= 0
    factors = FACTORS | {"power": 0.0, "growth": 3.0}
    _, half = half_width(read, np.zeros(2), np.zeros(2), factors)
    expected = factors["inside"] * np.exp(3.0 * above**BEND)
    assert half == pytest.approx(expected)
    assert loss == pytest.approx(read.loss.mean(0))
    assert (spread > 0).all()


def test_each_group_counts_the_same() -> None:
    """A group of 90 runs weighs what one of ten does; equal weights give the plain quantile."""
    values = np.concatenate([np.full(90, 1.0), np.arange(2.0, 12.0)])
    weight = np.concatenate([np.full(90, 1 / 90), np.full(10, 1 / 10)])
    assert weighted_quantile(values, np.ones(100), 0.9) == 1.0
    assert weighted_quantile(values, weight, 0.5) == 1.0
    assert weighted_quantile(values, weight, 0.9) == 9.0
    shuffled = np.random.default_rng(0).permutation(100)
    assert weighted_quantile(values[shuffled], weight[shuffled], 0.9) == 9.0


def test_what_members_call_typical_is_the_unit_of_their_spread() -> None:
    """Members that call all errors half as large give the same widths."""
    spread, above = np.array([0.004, 0.008]), np.array([0.0, 0.05])
    factors = FACTORS | {"typical": 0.004, "power": 0.5, "growth": 3.0}
    scale = error_scale(spread, above, factors)
    assert scale[0] == 1.0
    half = error_scale(spread / 2, above, factors | {"typical": 0.002})
    assert half == pytest.approx(scale)


def test_widths_cover_the_groups_they_were_measured_on(
    bundle: Bundle, runs: Runs, tiny: FitConfig
) -> None:
    """Real left-out StepLaw groups, each counting the same, and the left-out largest size."""
    fit, train = bundle.fits[0], runs.where(split="train").finished()
    config = dataclasses.replace(tiny, calibration_folds=2, calibration_steps=20)
    seen: list[int] = []
    found = calibrate(fit, train, config, seed=0, on_fold=seen.append)
    assert seen == list(range(len(folds(train, 2))))
    assert found["typical"] == typical_spread(fit, train)
    assert MIN_SLOPE <= found["outside"] < 0.1
    assert 0.005 < found["inside"] < 0.03  # nats, of a typical run at the best settings
    settings = settled(config, fit).of_a_fold(20)
    assert fit.process is not None
    covered, weight = [], []
    for i, (where, left_out) in enumerate(folds(train, 2)):
        if where == "inside":
            kept = train.take(~left_out)
            fold = fit_family(kept, settings, seed=100 + i, kernel=fit.process.logs)
            part = left_out_errors(fold, kept, train.take(left_out))
            wide = found["inside"] * error_scale(part.spread, part.above, found | {"typical": 1.0})
            covered.append(np.abs(part.error) <= wide)
            weight.append(part.weight)
    share = np.average(np.concatenate(covered), weights=np.concatenate(weight))
    assert share == pytest.approx(0.9, abs=0.002)


def test_the_slope_is_that_of_the_runs_that_lack_most() -> None:
    """Runs far above the best lack .01 nats a unit, those near it .02; one kept size tells less."""
    above = np.repeat([0.0, 0.1], 50)
    factors = FACTORS | {"power": 0.0, "growth": 0.0, "inside": 0.005}
    error = 0.005 + 0.5 * np.where(above > 0, 0.01, 0.02)
    far, none = np.full(100, 0.5), np.zeros(100)
    part = Missed(error, np.ones(100), above, far, none, np.ones(100))
    assert fit_slope(part, factors, n_sizes=2) == pytest.approx(0.02)
    assert fit_slope(part, factors, n_sizes=1) == pytest.approx(ONE_SIZE * 0.02)
    rare = Missed(*(column[46:] for column in part))  # four runs near the best say nothing
    assert fit_slope(rare, factors, n_sizes=2) == MIN_SLOPE


def test_the_corners_widen_by_what_they_lack() -> None:
    """.01 nats a log of tokens per parameter; what the size explains is not counted again."""
    factors = FACTORS | {"power": 0.0, "growth": 0.0, "inside": 0.005, "outside": 0.02}
    ones, none = np.ones(50), np.zeros(50)
    corner = Missed(-(0.005 + 0.01 * ones), ones, none, none, ones, ones)
    assert fit_apart(corner, factors) == pytest.approx(0.01)
    larger = corner._replace(distance=0.25 * ones)
    assert fit_apart(larger, factors) == pytest.approx(0.005)
