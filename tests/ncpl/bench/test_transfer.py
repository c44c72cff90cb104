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


def test_widths_are_one_vote_a_family_and_at_least_one():
    own = draw_tasks(family("own", "own"))[1]
    assert factor_of([(own, np.full(10, 0.2))], own.count) == 1.0
    assert factor_of([(own, np.full(10, 2.0))], own.count) == 2.0
