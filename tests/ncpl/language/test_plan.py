"""The plan: every run once an epoch, every rank its share, the reference's learning rate."""

import pytest

from ncpl.language.plan import hidden_fields, passes_of, rows_of, stages_of
from ncpl.language.settings import LanguageConfig

LENGTHS = [5, 9, 3, 12, 7, 7, 20, 4, 11]


@pytest.mark.parametrize("world", [1, 2, 3, 8, 12])
def test_ranks_share_a_batch_without_loss_or_overlap(world: int) -> None:
    shares = [passes_of(LENGTHS, 24, world, rank) for rank in range(world)]
    places = [place for share in shares for one in share for place in one]
    assert sorted(places) == list(range(len(LENGTHS)))
    assert len({len(share) for share in shares}) == 1, "a sharded model needs equal counts"
    for share in shares:
        for one in share:
            widest = max((LENGTHS[i] for i in one), default=0)
            assert len(one) <= 1 or widest * len(one) <= 24


def test_an_epoch_reads_every_run_once_and_epochs_differ() -> None:
    first = [i for step in range(4) for i in rows_of(step, 10, 3, seed=7)]
    second = [i for step in range(4, 8) for i in rows_of(step, 10, 3, seed=7)]
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second
    assert rows_of(5, 10, 3, seed=7) == rows_of(5, 10, 3, seed=7)


def test_hidden_fields_follow_from_seed_and_step() -> None:
    names = [f"f{i}" for i in range(50)]
    drawn = hidden_fields(3, 40, names, 0.2, seed=1)
    assert drawn == hidden_fields(3, 40, names, 0.2, seed=1)
    assert drawn != hidden_fields(4, 40, names, 0.2, seed=1)
    assert 0.15 < sum(map(len, drawn)) / (40 * 50) < 0.25


def test_the_learning_rate_is_the_references() -> None:
    config = LanguageConfig(batch_size_runs=480)
    first, second = stages_of(config, 3225)
    assert (first.n_steps, second.n_steps) == (140, 7000)  # 7 steps an epoch
    assert (first.warmup_steps, second.warmup_steps) == (14, 1000)
    assert first.rate(0) == 0.0
    assert first.rate(14) == pytest.approx(5e-5 * 126 / 140)
    assert second.rate(140 + 500) == pytest.approx(1e-5 * 0.5 * (1 - 500 / 7000))
    assert second.rate(140 + 6999) == pytest.approx(1e-5 / 7000)
