"""Folds of many runs: blocks taken out of one process say what a process without them says."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from ncpl.data.snapshot import Runs
from ncpl.model.bundle import Bundle
from ncpl.model.config import FitConfig
from ncpl.model.gaussian_process import Features
from ncpl.train import gaussian_process, inducing
from ncpl.train.blocks import Blocks
from ncpl.train.calibrate import left_out_errors
from ncpl.train.fit import fit_family, settled
from ncpl.train.gaussian_process import RecipeKernel
from ncpl.train.inducing import KeptRuns, ToldOfKept


@pytest.mark.parametrize("has_own", [False, True])
def test_a_block_taken_out_of_the_sums_is_a_process_without_it(has_own: bool) -> None:
    draw = np.random.default_rng(0)
    x = draw.normal(size=(90, 4))
    place = draw.integers(0, 2, 90) if has_own else np.zeros(90, dtype=np.int64)
    runs = Features(*(torch.from_numpy(a) for a in (x, x[:, :2], place, x[:, :2])))
    kernel, values = RecipeKernel.of(runs), torch.from_numpy(np.sin(x[:, 2]))
    noise = torch.from_numpy(draw.uniform(0.05, 0.2, 90))
    logs, places = kernel.bounded(kernel.start), torch.arange(0, 90, 5)
    left_out = torch.arange(90) % 7 == 0
    found = ToldOfKept.of(KeptRuns.of(kernel, runs, places, logs), noise).without(left_out, values)
    # The same kept places, told by the runs that stay alone.
    whole = KeptRuns.of(kernel, runs, places, logs)
    told = dataclasses.replace(
        whole, told_mn=whole.told_mn[:, ~left_out], left_n=whole.left_n[~left_out]
    )
    alone, _ = told.solved(values[~left_out], noise[~left_out])
    cross = kernel.covariance(runs, runs.take(places), logs)
    assert torch.allclose(cross @ found, cross @ alone, atol=1e-9)


@pytest.mark.slow
def test_blocks_miss_left_out_groups_by_as_much_as_fits_without_them(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """StepLaw's training groups, a third of them left out; the process keeps 600 of 1,517 runs."""
    monkeypatch.setattr(gaussian_process, "EXACT_RUNS", 100)
    monkeypatch.setattr(inducing, "KEPT", 600)
    config = dataclasses.replace(FitConfig.preset("tiny"), members=1, steps=60, curve_steps=0)
    train = runs.where(split="train")
    fit = fit_family(train, config, seed=0)
    assert fit.process is not None
    settings = settled(config, fit).of_a_fold(60)
    blocks = Blocks.of(fit, train, settings)
    assert blocks is not None
    names = sorted({group or "" for group in train.group})
    left_out = np.isin([group or "" for group in train.group], names[::3])
    kept, asked = train.take(~left_out), train.take(left_out)
    folds = (
        blocks.without(left_out, seed=7),
        fit_family(kept, settings, seed=7, kernel=fit.process.logs, whole=fit),
    )
    assert not set(folds[0].known.run_ids) & set(asked.run_ids)
    missed = [np.abs(left_out_errors(fold, kept, asked).error).mean() for fold in folds]
    assert missed[0] == pytest.approx(missed[1], rel=0.1)


def test_where_a_process_keeps_every_run_there_are_no_blocks(runs: Runs, bundle: Bundle) -> None:
    assert Blocks.of(bundle.fits[0], runs.where(split="train"), bundle.config) is None
