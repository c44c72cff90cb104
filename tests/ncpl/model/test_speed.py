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


OF_MARIN = {
    "source": "marin",
    "optimizer": "adamw",
    "weight_decay": 0.1,
    "adam_beta1": 0.9,
    "adam_beta2": 0.95,
    "adam_epsilon": 1e-8,
    "grad_clip_norm": 1.0,
    "min_learning_rate": 0.0,
    "warmup_steps": 1000,
    "schedule": "linear",
    "decay_steps": 18_000,
}
"""What Marin's runs state beside size, data, learning rate and batch."""


@pytest.mark.bench
@pytest.mark.parametrize("more", [{}, OF_MARIN], ids=["steplaw", "marin"])
@pytest.mark.parametrize(("count", "seconds"), [(1, 0.005), (10_000, 1.0)])
def test_predictions_take_no_longer_than(
    count: int, seconds: float, more: dict[str, float | str]
) -> None:
    bundle = ncpl.load()
    configs = [CONFIG | more | {"learning_rate": 2e-3 + i * 1e-7} for i in range(count)]
    bundle.predict(configs[:100])
    taken = []
    for _ in range(5):
        begun = time.process_time()
        bundle.predict(configs)
        taken.append(time.process_time() - begun)
    print(f"{count:,} configurations: {min(taken) * 1e3:.1f} ms (limit {seconds * 1e3:.0f})")
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
