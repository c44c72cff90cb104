"""The Gaussian process against numbers worked out by hand."""

import math

import numpy as np
import pytest
import torch

from ncpl.bench.processes import FeatureKernel, Rows
from ncpl.model.gaussian_process import DRIFT, WIDER, Features, distance, kernel, matern
from ncpl.model.marginal_likelihood import FittedKernel, weights

LOGS = np.log([1.0, 1.0, 1.0, 0.5, 0.2, 0.3, 0.4, 0.1])
"""Two length scales of one; scale 1, an optimizer's own .5, slope .2, level .3; cell .4; noise."""


def features(x: float, place: int, size: float = 0.0) -> Features:
    drift = np.array([[size, 0.0]])
    return Features(np.array([[x, 0.0]]), drift, np.array([place]), drift)


def test_matern_at_one_length_scale() -> None:
    """(1 + sqrt 5 + 5/3) exp(-sqrt 5) = .5240."""
    assert matern(np.array([0.0, 1.0])) == pytest.approx([1.0, 0.52399], abs=1e-5)


def test_distances_are_euclidean() -> None:
    found = distance(np.array([[0.0, 0.0], [3.0, 4.0]]), np.array([[0.0, 0.0]]))
    assert found[:, 0] == pytest.approx([0, 5], abs=1e-5)


@pytest.mark.parametrize(
    ("b", "expected"),
    [
        # another optimizer: the shared part and the drift alone
        (features(1.0, 1), 0.52399 + DRIFT**2),
        # the same one, another cell
        (features(1.0, 0, size=2.0), 0.52399 + DRIFT**2
         + 0.25 * matern(np.array(1 / WIDER)) + 0.09),
        # the same one and the same cell
        (features(1.0, 0), 0.52399 + DRIFT**2
         + 0.25 * matern(np.array(1 / WIDER)) + 0.09 + 0.16),
        # an optimizer that training has not seen is like none, not like another such
        (features(1.0, -1), 0.52399 + DRIFT**2),
    ],
)  # fmt: skip
def test_the_covariance_of_two_runs(b: Features, expected: float) -> None:
    found = kernel(features(0.0, 0), b, LOGS, has_own=True)
    assert found[0, 0] == pytest.approx(expected, abs=1e-5)


def test_numpy_and_torch_give_one_covariance() -> None:
    a, b = features(0.3, 0), features(1.0, 0)
    tensors = (Features(*map(torch.from_numpy, runs)) for runs in (a, b))
    found = kernel(*tensors, torch.from_numpy(LOGS), has_own=True)
    assert found.numpy() == pytest.approx(kernel(a, b, LOGS, has_own=True))


def test_one_row_known_gives_half_of_it_back() -> None:
    """Prior variance 1, noise variance 1: mean y/2, variance 1 - 1/2, then the noise of a run."""
    logs = torch.tensor([0.0, 0.0, 0.0, -30.0], dtype=torch.float64)  # no drift
    rows = Rows(torch.zeros(1, 0), torch.zeros(1, 1, dtype=torch.float64), torch.zeros(1))
    one = torch.ones(1, dtype=torch.float64)
    fitted = FittedKernel(FeatureKernel(), logs, rows, 3 * one, one)
    mean, deviation = fitted.given(rows, FeatureKernel().variance(rows, logs))
    assert mean[0] == pytest.approx(1.5, abs=1e-6)
    assert deviation[0] == pytest.approx(math.sqrt(1.5), abs=1e-6)
    assert float(fitted.solved()[0]) == pytest.approx(1.5, abs=1e-6)


def test_a_spike_is_trusted_less() -> None:
    """Independent rows of variance one: each left-out residual is the value itself.

    Their median size is 1, so that a value of 1 counts 5 / (4 + .6745^2) and one of 10 counts
    5 / (4 + 6.745^2).
    """
    values = torch.tensor([1.0, -1.0, 1.0, -1.0, 10.0], dtype=torch.float64)
    found = weights(values, torch.eye(5, dtype=torch.float64))
    assert float(found[0]) == pytest.approx(5 / (4 + 0.6745**2), rel=1e-6)
    assert float(found[-1]) == pytest.approx(5 / (4 + 6.745**2), rel=1e-6)
