"""Rates along a run: each shape by hand, nothing guessed where a field is missing."""

import numpy as np
import pytest

from ncpl.bench.rates import rates, schedule_columns

BASE = {"learning_rate": 2.0, "train_steps": 100, "warmup_steps": 20, "min_learning_rate": 0.0}
STEPS = np.array([0.0, 10, 20, 60, 100])


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({**BASE, "schedule": "cosine"}, [0, 1, 2, 1, 0]),
        ({**BASE, "schedule": "linear"}, [0, 1, 2, 1, 0]),
        ({**BASE, "schedule": "constant"}, [0, 1, 2, 2, 2]),
        ({**BASE, "schedule": "wsd", "decay_steps": 80}, [0, 1, 2, 1, 0]),
        ({**BASE, "schedule": "wsd", "decay_steps": 20}, [0, 1, 2, 2, 0]),
        ({**BASE, "schedule": "cosine", "min_learning_rate": 1.0}, [0, 1, 2, 1.5, 1]),
        ({**BASE, "schedule": "cosine", "warmup_steps": 0}, None),
    ],
)
def test_rate_of_each_shape(config, expected) -> None:
    found = rates(config, STEPS)
    if expected is None:  # no warm-up: the peak stands at step 0
        assert found[[0, -1]] == pytest.approx([2, 0])
    else:
        assert found == pytest.approx(expected)


@pytest.mark.parametrize(
    "missing", ["learning_rate", "train_steps", "warmup_steps", "min_learning_rate", "schedule"]
)
def test_missing_field_gives_no_rate(missing) -> None:
    config = {**BASE, "schedule": "cosine"}
    assert rates({k: v for k, v in config.items() if k != missing}, STEPS) is None


def test_decay_without_its_length_gives_no_rate() -> None:
    assert rates({**BASE, "schedule": "wsd"}, STEPS) is None
    assert rates({**BASE, "schedule": "inverse_sqrt"}, STEPS) is None


def test_area_done_and_left_add_up() -> None:
    """Linear warm-up over 20%, then straight down: 0.1 + 0.4 of peak x steps."""
    found = schedule_columns({**BASE, "schedule": "linear"}, np.array([20.0, 100.0]))
    assert found[:, 0] == pytest.approx([1, 0], abs=1e-2)
    assert found[0, 1:] == pytest.approx([0.1, 0.4], abs=2e-3)
    assert found[1, 1:] == pytest.approx([0.5, 0.0], abs=2e-3)
