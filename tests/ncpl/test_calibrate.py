"""Widths of intervals: what the scale of an error learns from generated and from real errors."""

from __future__ import annotations

import numpy as np
import pytest

from ncpl.bundle import Bundle
from ncpl.calibrate import (
    FACTORS,
    Missed,
    error_scale,
    fit_scale,
    half_width,
    told,
    weighted_quantile,
)
from ncpl.data import Runs

Array = np.ndarray[tuple[int], np.dtype[np.float64]]


def generated(rng: np.random.Generator, growth: float) -> tuple[Missed, Array]:
    """Return generated errors whose true scale is known, and that scale."""
    spread = np.exp(rng.normal(-5, 0.5, 4000))
    above = rng.exponential(0.05, 4000)
    scale = spread**0.5 * np.exp(growth * np.sqrt(above)) * 0.1
    return Missed(rng.exponential(scale), spread, above, np.zeros(4000), np.ones(4000)), scale


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
    _, half = half_width(read, np.zeros(2), factors)
    expected = factors["inside"] * np.exp(3.0 * np.sqrt(above))
    assert half == pytest.approx(expected)
    assert loss == pytest.approx(read.loss.numpy().mean(0))
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
