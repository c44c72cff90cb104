"""Speed of the language model: one sequence a run against the reference's one a point.

Same base, same text, same batch of points, same process; compared by CPU time.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from ncpl.data.snapshot import Runs, Snapshot
from ncpl.language.base import load_base
from ncpl.language.forecast import residuals
from ncpl.language.network import LanguageNetwork
from ncpl.language.pipeline import data_of, vocabulary_of
from ncpl.language.sequence import Query, Sequencer
from ncpl.language.settings import LanguageConfig

pytestmark = pytest.mark.bench
SNAPSHOT = Path(__file__).parents[1] / "fixtures" / "snapshot_steplaw"
FRACTIONS = tuple((i + 1) / 29 for i in range(29))
"""As many points as the reference takes of a run, at most."""
N_RUNS = 8
SHAPE = {
    "model_type": "qwen3", "hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 4,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32,
}  # fmt: skip


@pytest.fixture(scope="module")
def rows() -> list[dict[str, object]]:
    torch.set_num_threads(1)
    runs: Runs = Snapshot.open(SNAPSHOT).runs()
    config = LanguageConfig(sources=("steplaw",), random_base=SHAPE, tokenizer="words")
    return [dict(q.row) for q in data_of(Snapshot.open(SNAPSHOT), runs, config).train.queries]


def made(rows: Sequence[dict[str, object]], style: str) -> tuple[LanguageNetwork, Sequencer]:
    """Return a fresh network of about a million parameters and its sequencer."""
    config = LanguageConfig(random_base=SHAPE, tokenizer="words", point_style=style)
    queries = [Query(row) for row in rows]
    words = vocabulary_of(dataclasses.make_dataclass("E", ["queries"])(queries), config)
    assert words is not None
    return LanguageNetwork(load_base(config, seed=0, words=words).model), Sequencer(words, config)


def seconds(function: Callable[[], object], repeats: int) -> float:
    """Return the smallest CPU time of several calls; the first one is not counted."""
    function()
    times = []
    for _ in range(repeats):
        begun = time.process_time()
        function()
        times.append(time.process_time() - begun)
    return min(times)


@pytest.mark.parametrize(("style", "least"), [("token", 10.0), ("text", 6.0)])
def test_one_sequence_a_run_trains_many_times_the_points_a_second(
    rows: list[dict[str, object]], style: str, least: float
) -> None:
    """A point as one token is what this package trains; as text it is word for word the paper's."""
    reference, copies = made(rows, "text")
    ours, shared = made(rows, style)
    targets = tuple(0.0 for _ in FRACTIONS)
    whole = [Query(row, FRACTIONS, targets) for row in rows[:N_RUNS]]
    single = [Query(row, (f,), (0.0,)) for row in rows[:N_RUNS] for f in FRACTIONS]

    def train(network: LanguageNetwork, sequencer: Sequencer, queries: list[Query]) -> None:
        batch = sequencer.batch(queries)
        (network(batch) - batch.targets).square().mean().backward()

    slow = seconds(lambda: train(reference, copies, single), 3)
    fast = seconds(lambda: train(ours, shared, whole), 3)
    points = N_RUNS * len(FRACTIONS)
    print(
        f"\ntraining, {points} points of {N_RUNS} runs, point as {style}: one sequence a point "
        f"{points / slow:,.0f} points/s, one sequence a run {points / fast:,.0f} points/s, "
        f"{slow / fast:.1f}x"
    )
    assert slow / fast >= least


def test_a_curve_of_thirty_points_costs_at_most_two_single_ones(
    rows: list[dict[str, object]],
) -> None:
    network, sequencer = made(rows, "token")
    network.eval()
    curve = tuple((i + 1) / 30 for i in range(30))
    cpu = torch.device("cpu")
    point = seconds(lambda: residuals(network, sequencer, [Query(rows[0])], cpu), 20)
    whole = seconds(lambda: residuals(network, sequencer, [Query(rows[0], curve)], cpu), 20)
    print(
        f"\nprediction, one run: 1 point {1e3 * point:.1f} ms, 30 points {1e3 * whole:.1f} ms, "
        f"{whole / point:.2f}x"
    )
    assert whole / point <= 2.0
