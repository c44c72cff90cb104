"""What a family's law reads of configurations."""

from __future__ import annotations

import numpy as np
import pytest

from ncpl.data.sizes import size_of, useful_size_of
from ncpl.model.law_inputs import PLACES, fewness, nearby


@pytest.mark.parametrize(
    ("unique", "tokens", "useful"),
    [
        (None, 1e9, 1e8),  # nothing is said to repeat
        (1e9, 1e9, 1e8),  # nothing repeats
        (1.95e9, 4e9, 1e8),  # the unique tokens can use every parameter
        (1.95e8, 4e8, 1e7 * (1 + 5.31 * (1 - np.exp(-9 / 5.31)))),  # ten times too many
    ],
)
def test_excess_parameters_count_less_on_repeated_tokens(unique, tokens, useful):
    row = {"params_non_embedding": 1e8, "data_tokens": tokens, "unique_tokens": unique}
    assert useful_size_of(row) == pytest.approx(useful)
    assert size_of(row) == 1e8


def test_runs_of_few_steps_are_told_and_unknown_ones_are_not():
    rows = [
        {"data_tokens": 1e9, "batch_tokens": 1e6},
        {"data_tokens": 1e12, "batch_tokens": 1e6},
        {"data_tokens": 1e7, "batch_tokens": 1e6},
        {"data_tokens": 1e9},
    ]
    few = fewness(rows)
    assert few[0] == pytest.approx(1.0)
    assert few[1] < 1e-4
    assert few[2] == pytest.approx(5**1.5)  # no more than five times
    assert few[3] == 0


def test_a_run_lies_nearest_its_own_place():
    at = np.array(PLACES)
    near = nearby(at[:, 0], at[:, 1])
    assert (near.argmax(1) == np.arange(len(PLACES))).all()
    assert near.diagonal() == pytest.approx(1.0)
