"""The transfer board: frozen tasks, nothing of a family's source in what is learned."""

from __future__ import annotations

import numpy as np
import pytest

from ncpl.bench import transfer
from ncpl.bench.transfer_report import markdown
from ncpl.errors import ConfigError
from ncpl.evaluate.transfer_tasks import (
    FACTOR,
    compute_of,
    draw_tasks,
    freeze,
    frozen_tasks,
    qualifies,
)
from ncpl.evaluate.transfer_widths import factor_of
from ncpl.train.population import fit_population
from tests.ncpl.families import community, family


def test_targets_need_four_times_the_largest_compute_of_the_context():
    own = family("own", "own", count=60)
    compute = dict(zip(own.run_ids, compute_of(own), strict=True))
    pool = sorted(compute.values())[: len(compute) // 3]
    for task in draw_tasks(own):
        largest = max((compute[r] for r in task.context), default=pool[-1])
        assert all(compute[r] >= FACTOR * largest for r in task.targets)
        assert all(compute[r] <= pool[-1] for r in task.context)
        assert len(set(task.context)) == task.count


def test_a_family_needs_twelve_runs_and_three_sizes():
    own = family("own", "own")
    assert qualifies(own)
    assert not qualifies(own.take(range(11)))
    one_size = [i for i, r in enumerate(own.rows) if r["params_non_embedding"] < 2.1e7]
    assert not qualifies(own.take((one_size * 12)[:12]))


def test_frozen_tasks_are_the_drawn_ones_and_the_same_bytes(tmp_path):
    families = community(2)
    freeze(families, tmp_path / "a.gz")
    freeze(families, tmp_path / "b.gz")
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()
    assert frozen_tasks(tmp_path / "a.gz") == [t for f in families for t in draw_tasks(f)]


def test_the_shipped_tasks_open():
    tasks = frozen_tasks()
    assert len({task.family for task in tasks}) >= 10


def test_a_file_of_something_else_is_refused(tmp_path):
    (tmp_path / "x.gz").write_bytes(b"no")
    with pytest.raises(ConfigError, match="no tasks"):
        frozen_tasks(tmp_path / "x.gz")


def test_the_board_learns_from_no_family_that_shares_a_source():
    families = [*community(4), family("twin", "s0", seed=9)]
    tasks = [t for t in draw_tasks(families[0]) if t.count == 5][:1]
    seen = []

    def learn(rest):
        seen.append({source for f in rest for source in f.sources})
        return fit_population(rest, rounds=1)

    board = transfer.run_transfer("id", families, tasks, learn=learn)
    assert seen == [{"s1", "s2", "s3"}]
    own = board.by_family(transfer.COMMUNITY, 5)["f0"]
    assert own["mae"] < board.by_family("Power law in compute", 5)["f0"]["mae"]
    assert "| f0 |" in markdown(board)


def test_a_family_that_lacks_runs_is_named_not_scored():
    families = community(2)
    tasks = [t for t in draw_tasks(families[0]) if t.count == 3][:1]
    short = families[0].take(range(20))
    board = transfer.run_transfer(
        "id", [short, families[1]], tasks, learn=fit_population, baselines=False
    )
    assert board.scores == []
    assert "not in the snapshot" in board.absent["f0"]


@pytest.mark.parametrize(
    ("stretches", "factor"),
    [
        ({"a": [0.2] * 10}, 1.0),  # never below 1
        ({"a": [2.0] * 10, "b": [0.2] * 90}, 2.0),  # each family one vote
        ({"a": [0.2] * 7 + [2.0] * 3, **{n: [0.2] * 10 for n in "bcd"}}, 1.0),
        ({"a": [0.2] * 5 + [2.0] * 5, **{n: [0.2] * 10 for n in "bcdefghi"}}, 2.0),  # 60% of each
        ({"a": [9.0] * 10}, 3.0),
        ({"a": [9.0] * 10, **{str(i): [0.2] * 10 for i in range(30)}}, 1.0),  # 95% are enough
        ({}, 1.0),
    ],
)
def test_a_factor_covers_the_mean_family_and_each_one(stretches, factor):
    found = factor_of([(name, np.array(own)) for name, own in stretches.items()])
    assert factor <= found <= 1.03 * factor
