"""Training: repeatable, resumable, and better than the law it starts from."""

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest

from ncpl.data.snapshot import Runs, Snapshot
from ncpl.model.arrays import Array
from ncpl.model.bundle import Bundle
from ncpl.model.config import FitConfig
from ncpl.model.inputs import Inputs
from ncpl.model.network import Network
from ncpl.train.members import fresh_network, train_members
from ncpl.train.pipeline import train_bundle

GOLDEN = Path(__file__).parents[2] / "golden" / "smoke_losses.json"
Given = tuple[Inputs, Array]


@pytest.fixture
def inputs(bundle: Bundle, runs: Runs) -> Given:
    train = runs.where(split="train")
    encoded = bundle.fits[0].encoder.encode(train.configs)
    return Inputs.of(encoded), train.loss.astype(np.float32)


def fresh(bundle: Bundle, inputs: Inputs, *seeds: int) -> Network:
    fit = bundle.fits[0]
    network = fresh_network(bundle.config, fit.encoder, fit.surface, seeds or (5,))
    return network.with_hull(inputs, bundle.config.hull_margin)


def same(a: Network, b: Network, *, atol: float = 0.0) -> bool:
    return all(
        np.allclose(weight, b.weights[name], atol=atol, rtol=0)
        for name, weight in a.weights.items()
    )


def test_same_seed_same_weights(bundle: Bundle, inputs: Given, tiny: FitConfig) -> None:
    x, y = inputs
    once, again, other = (
        train_members(fresh(bundle, x), x, y, tiny, seeds=[seed]) for seed in (5, 5, 6)
    )
    assert same(once, again)
    assert not same(once, other)


def test_members_side_by_side_learn_what_each_learns_alone(
    bundle: Bundle, inputs: Given, tiny: FitConfig
) -> None:
    x, y = inputs
    both = train_members(fresh(bundle, x, 5, 6), x, y, tiny, seeds=[5, 6])
    alone = train_members(fresh(bundle, x, 6), x, y, tiny, seeds=[6])
    ours, theirs = both(x).loss[1], alone(x).loss[0]
    assert np.abs(ours - theirs).max() < 1e-3  # nats; sums of other order, sixty steps on


def test_a_resumed_run_ends_where_an_unbroken_one_does(
    bundle: Bundle, inputs: Given, tiny: FitConfig, tmp_path: Path
) -> None:
    x, y = inputs
    network = fresh(bundle, x)
    unbroken = train_members(network, x, y, tiny, seeds=[5])
    file = tmp_path / "members.safetensors"

    def kill(step: int, _: list[float]) -> None:
        if step == 23:
            raise KeyboardInterrupt

    # A deadline in the past stops after one step and leaves a checkpoint.
    past = time.monotonic() - 1
    broken = train_members(network, x, y, tiny, seeds=[5], deadline=past, checkpoint=file)
    with pytest.raises(KeyboardInterrupt):
        train_members(network, x, y, tiny, seeds=[5], checkpoint=file, on_step=kill)
    resumed = train_members(network, x, y, tiny, seeds=[5], checkpoint=file)
    assert same(unbroken, resumed)
    assert not same(unbroken, broken)


def test_the_smoke_fit_gives_the_golden_losses(
    bundle: Bundle, inputs: Given, tiny: FitConfig
) -> None:
    """Mean absolute error of the batch at each of 20 steps; 2% allows for other processors.

    Rewrite with: UPDATE_GOLDEN=1 pytest tests/ncpl/train/test_members.py
    """
    x, y = inputs
    losses: list[float] = []
    train_members(
        fresh(bundle, x), x, y, tiny, seeds=[5], on_step=lambda _, errors: losses.extend(errors)
    )
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(json.dumps([round(loss, 7) for loss in losses[:20]]) + "\n")
    assert losses[:20] == pytest.approx(json.loads(GOLDEN.read_text()), rel=0.02)


@pytest.mark.slow
def test_ncpl_beats_the_refitted_law_over_three_seeds(
    snapshot: Snapshot, runs: Runs, tmp_path: Path
) -> None:
    config = FitConfig.from_dict(FitConfig.preset("tiny").to_dict() | {"members": 3}, where="test")
    bundle = train_bundle(snapshot, runs, config, seed=1, folder=tmp_path)
    rows = {(r["split"], r["predictor"]): r for r in bundle.about["scores"]}
    for split in ("id", "ood"):
        refit = rows[split, "Chinchilla, refit"]["mae"]
        mean = rows[split, "NCPL, mean of 3 seeds"]
        assert mean["mae"] + 3 * mean["sd"]["mae"] < 0.5 * refit
