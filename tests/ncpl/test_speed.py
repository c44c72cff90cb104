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
