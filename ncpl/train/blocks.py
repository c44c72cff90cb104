"""Folds of many runs: the process is told once, and blocks of runs are taken out of it.

Above `EXACT_RUNS` training runs a process is told by kept ones (inducing.py), and what all runs say
is one sum over them: without a block it is that sum less the block's, and one factorization of the
kept runs' size. Only groups inside the trained range are left out so: there the kernel, the kept
runs and the scales of features are those of the whole. The law is fitted anew to the runs that
stay, the network trained anew.

Legend: n training runs, m kept ones.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import torch

from ncpl.data.snapshot import Runs
from ncpl.model.arrays import Array
from ncpl.model.config import FitConfig
from ncpl.model.ensemble import Fit
from ncpl.model.gaussian_process import Features, Process
from ncpl.model.inputs import Inputs
from ncpl.model.neighbours import KnownRuns
from ncpl.model.response_surface import Surface
from ncpl.train.gaussian_process import ROUNDS, RecipeKernel
from ncpl.train.inducing import KeptRuns, ToldOfKept
from ncpl.train.members import fresh_network, train_members
from ncpl.train.response_surface import fit_surface

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Blocks:
    """A fit of many runs from which blocks of them can be taken out."""

    fit: Fit
    process: Process
    train: Runs
    config: FitConfig
    inputs: Inputs
    is_kept: Mask
    """Which runs (n,) the process keeps."""
    sums: ToldOfKept

    @classmethod
    def of(cls, fit: Fit, train: Runs, config: FitConfig) -> Self | None:
        """Return the blocks of a fit's own training runs; None where its process keeps all runs.

        `config` is that of a fold: see `FitConfig.of_a_fold` and `fit.settled`.
        """
        process = fit.process
        if process is None or len(process.x) == len(train):
            return None
        inputs = Inputs.of(fit.encoder.encode(train.configs))
        kept = set(fit.known.run_ids)
        is_kept = np.array([run_id in kept for run_id in train.run_ids], dtype=bool)
        rows = Features(*map(torch.from_numpy, process.features(inputs, fit.surface)))
        kernel = RecipeKernel.of(rows)
        logs = kernel.bounded(torch.from_numpy(process.logs))
        noise = kernel.noise(logs)
        told = KeptRuns.of(kernel, rows, torch.from_numpy(np.flatnonzero(is_kept)), logs)
        values = torch.from_numpy(residual_of(fit.surface, inputs, train) / float(process.unit))
        _, trust = told.with_trust(values, noise, kernel.jitter, rounds=ROUNDS)
        sums = ToldOfKept.of(told, noise / trust + kernel.jitter)
        return cls(fit, process, train, config, inputs, is_kept, sums)

    def without(self, left_out_n: Mask, *, seed: int) -> Fit:
        """Return the fit of the runs that stay."""
        kept, config = ~left_out_n, self.config
        inputs, train = self.inputs.take(kept), self.train.take(kept)
        encoder = self.fit.encoder
        surface = fit_surface(
            inputs.law, train.loss.astype(np.float32), floor=config.floor,
            delta=config.huber_delta, penalty=config.surface_penalty, margin=config.hull_margin,
            n_optimizers=len(encoder.optimizers),
        )  # fmt: skip
        values = residual_of(surface, self.inputs, self.train) / float(self.process.unit)
        solved = self.sums.without(torch.from_numpy(left_out_n), torch.from_numpy(values))
        process = dataclasses.replace(self.process, solved=solved.numpy())
        seeds = [seed * 1000 + i for i in range(config.members)]
        network = fresh_network(config, encoder, surface, seeds)
        network = train_members(
            network.with_hull(inputs, config.hull_margin), inputs,
            train.loss.astype(np.float32), config, seeds=seeds,
        )  # fmt: skip
        known = KnownRuns.of(self.train.take(kept & self.is_kept))
        return dataclasses.replace(
            self.fit, network=network, seeds=seeds, process=process, heads=None, risk=None,
            known=known, calibration={},
        )  # fmt: skip


def residual_of(surface: Surface, inputs: Inputs, train: Runs) -> Array:
    """Return what a surface leaves over of the runs (n,), nats."""
    return np.asarray(
        train.loss - surface.value(surface.coefficients(inputs.law), inputs.law), dtype=np.float64
    )
