"""Speed of the shipped bundle on one core, in processor time: a busy machine is no slower model."""

import time

import pytest

import ncpl

CONFIG = {
    "params_non_embedding": 3e8,
    "train_tokens": 1e10,
    "learning_rate": 2e-3,
    "batch_size_sequences": 256,
    "sequence_length": 2048,
}


@pytest.mark.bench
@pytest.mark.parametrize(("count", "seconds"), [(1, 0.005), (10_000, 1.0)])
def test_predictions_take_no_longer_than(count: int, seconds: float) -> None:
    bundle = ncpl.load()
    configs = [CONFIG | {"learning_rate": 2e-3 + i * 1e-7} for i in range(count)]
    bundle.predict(configs[:100])
    taken = []
    for _ in range(5):
        begun = time.process_time()
        bundle.predict(configs)
        taken.append(time.process_time() - begun)
    assert min(taken) <= seconds


@pytest.mark.bench
def test_a_curve_of_30_points_costs_at_most_two_points() -> None:
    """Ratio of processor times in one run; limit 2 (design, section 5)."""
    bundle = ncpl.load()
    taken: dict[int, float] = {}
    for count in (1, 30):
        shares = [(i + 1) / count for i in range(count)]
        bundle.curves([CONFIG], shares)
        begun = time.process_time()
        for _ in range(50):
            bundle.curves([CONFIG], shares)
        taken[count] = time.process_time() - begun
    print(f"curve of 30 points / one point: {taken[30] / taken[1]:.2f} (limit 2)")
    assert taken[30] <= 2 * taken[1]
