"""A process told by some of its runs: what it says is what all of them say, at a bounded cost."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ncpl.data.snapshot import Runs
from ncpl.model.bundle import Bundle
from ncpl.model.gaussian_process import Features
from ncpl.model.inputs import Inputs
from ncpl.model.marginal_likelihood import factor_of
from ncpl.train import gaussian_process, inducing
from ncpl.train.gaussian_process import START_LENGTH, START_LOGS, RecipeKernel, fit_process
from ncpl.train.inducing import KeptRuns, kept_runs


def made(n: int, *, has_own: bool) -> tuple[RecipeKernel, Features, torch.Tensor, torch.Tensor]:
    """Return a kernel at its start, n drawn runs of two optimizers, their values, and the logs."""
    draw = np.random.default_rng(0)
    sizes = np.repeat(draw.normal(size=(n // 10, 2)), 10, axis=0)
    x = np.concatenate([sizes, draw.normal(size=(n, 2))], axis=1)
    place = draw.integers(0, 2, n) if has_own else np.zeros(n, dtype=np.int64)
    runs = Features(*(torch.from_numpy(a) for a in (x, sizes, place, sizes)))
    start = torch.tensor([START_LENGTH] * 4 + list(START_LOGS), dtype=torch.float64)
    values = torch.from_numpy(np.sin(x[:, 2]) + 0.3 * sizes[:, 0] + 0.1 * draw.normal(size=n))
    return RecipeKernel(start, has_own), runs, values, start


@pytest.mark.parametrize("has_own", [False, True])
def test_a_variance_is_the_diagonal_of_the_covariance(has_own: bool) -> None:
    kernel, runs, _, logs = made(40, has_own=has_own)
    whole = kernel.covariance(runs, runs, logs).diagonal()
    assert torch.allclose(kernel.variance(runs, logs), whole, atol=1e-9)


@pytest.mark.parametrize("has_own", [False, True])
def test_where_every_run_is_kept_it_is_the_exact_process(has_own: bool) -> None:
    """Its weights, and what is missed of each run left out."""
    kernel, runs, values, logs = made(60, has_own=has_own)
    told = KeptRuns.of(kernel, runs, torch.arange(60), logs)
    noise = kernel.noise(logs) + kernel.jitter
    weight, missed = told.solved(values, torch.full((60,), float(noise), dtype=torch.float64))
    factor = factor_of(kernel, runs, torch.ones(60, dtype=torch.float64), logs)
    inverse = torch.cholesky_inverse(factor)
    exact = kernel.covariance(runs, runs, logs) @ inverse @ values
    assert torch.allclose(kernel.covariance(runs, runs, logs) @ weight, exact, atol=1e-3)
    assert torch.allclose(missed, (inverse @ values) / inverse.diagonal(), atol=1e-2)


def test_runs_kept_are_those_the_others_tell_least_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of twins only one is kept, and the same seed keeps the same runs."""
    kernel, runs, _, logs = made(60, has_own=True)
    twins = Features(*(torch.cat([column, column]) for column in runs))
    kept = kept_runs(kernel, twins, logs, seed=0)
    assert len(kept) <= 60
    assert len(set((kept % 60).tolist())) == len(kept)
    monkeypatch.setattr(inducing, "KEPT", 7)
    few = kept_runs(kernel, twins, logs, seed=0)
    assert len(few) == 7
    assert torch.equal(few, kept_runs(kernel, twins, logs, seed=0))


def test_told_by_some_it_predicts_left_out_runs_as_told_by_all(
    bundle: Bundle, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """StepLaw's held-out sizes and data, by 400 of its 1,517 training runs."""
    fit = bundle.fits[0]
    assert fit.process is not None
    train, asked = runs.where(split="train"), runs.where(split="id")
    inputs, others = (Inputs.of(fit.encoder.encode(r.configs)) for r in (train, asked))
    law, beyond = (
        fit.surface.value(fit.surface.coefficients(i.law), i.law) for i in (inputs, others)
    )
    residual = train.loss.astype(np.float32) - law
    missed = {}
    for limit, count in ((2000, 1517), (100, 400)):
        monkeypatch.setattr(gaussian_process, "EXACT_RUNS", limit)
        monkeypatch.setattr(inducing, "KEPT", 400)
        process, places = fit_process(
            inputs, residual, fit.surface, fit.encoder, seed=0, logs=fit.process.logs
        )
        assert len(places) == len(process.solved) == count
        said = beyond + process.mean(others, fit.surface)
        missed[count] = np.abs(said - asked.loss).mean()
    assert missed[400] == pytest.approx(missed[1517], rel=0.1)
