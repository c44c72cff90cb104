"""A process of many runs, told by a few of them: what an exact one costs grows with power 2.5.

    covariance = V'V + diagonal(k(x, x) - V'V + noise / weight),   V = L^-1 k(z, x),   LL' = k(z, z)

z are the runs kept. What they do not tell of a run counts as noise of that run alone (FITC: Snelson
and Ghahramani 2006, Sparse Gaussian processes using pseudo-inputs), so cost and memory grow with
the number of runs. Kept is, each time, the run of which those kept so far tell least: a greedy
Cholesky factorization (Fine and Scheinberg 2001).

Legend: n runs, m kept ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ncpl.model.gaussian_process import Features
from ncpl.model.marginal_likelihood import Kernel, trust

KEPT = 1000
"""Runs that tell of all others."""
POOL = 6000
"""Seeded runs among which they are chosen."""
BLOCK = 2000
"""Runs whose covariances with the kept ones are made at once."""
LEAST_VARIANCE = 1e-6
"""Share of a run's variance still untold below which it tells nothing of its own."""


class StatedKernel(Kernel[Features], Protocol):
    """A kernel that tells a run's own variance without its covariance with others."""

    def variance(self, a: Features, logs: Tensor) -> Tensor:
        """Return the variance of each run (n,), noise left out."""
        ...


def kept_runs(kernel: StatedKernel, rows: Features, logs: Tensor, *, seed: int) -> Tensor:
    """Return places (m,), in order, of the runs of which the others kept tell least."""
    logs = kernel.bounded(logs)
    generator = torch.Generator().manual_seed(seed)
    pool = torch.randperm(len(rows.place), generator=generator)[:POOL].sort().values
    own = rows.take(pool)
    whole = kernel.variance(own, logs)
    left = whole.clone()
    factor = torch.zeros((min(KEPT, len(pool)), len(pool)), dtype=left.dtype)
    chosen: list[int] = []
    for i in range(len(factor)):
        at = int(left.argmax())
        if left[at] <= LEAST_VARIANCE * whole[at]:
            break
        column = kernel.covariance(own.take([at]), own, logs)[0]
        factor[i] = (column - factor[:i, at] @ factor[:i]) / left[at].sqrt()
        left = (left - factor[i] ** 2).clamp_min(0)
        left[at] = 0.0
        chosen.append(at)
    return pool[torch.tensor(chosen)].sort().values


@dataclass(frozen=True)
class KeptRuns:
    """What the kept runs tell of all runs under one kernel."""

    factor_mm: Tensor
    """L, of the kept runs' own covariance."""
    told_mn: Tensor
    """V."""
    left_n: Tensor
    """Variance of each run that the kept ones do not tell."""

    @classmethod
    def of(cls, kernel: StatedKernel, rows: Features, places: Tensor, logs: Tensor) -> KeptRuns:
        """Return what the runs at places tell under bounded logs."""
        kept, n = rows.take(places), len(rows.place)
        own = kernel.covariance(kept, kept, logs)
        own = own + torch.diag(own.diagonal() * LEAST_VARIANCE + kernel.jitter)
        factor = torch.linalg.cholesky(own)
        told = torch.empty((len(places), n), dtype=own.dtype)
        for begin in range(0, n, BLOCK):
            block = slice(begin, begin + BLOCK)
            cross = kernel.covariance(kept, rows.take(block), logs)
            told[:, block] = torch.linalg.solve_triangular(factor, cross, upper=False)
        left = kernel.variance(rows, logs) - told.square().sum(0)
        return cls(factor, told, left.clamp_min(0))

    def solved(self, values_n: Tensor, noise_n: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weights of the kept runs (m,), and what is missed of each run left out (n,).

        `noise_n` is the variance of each run's noise. The mean at other runs is their covariance
        with the kept ones times the weights.
        """
        own_n = self.left_n + noise_n
        system = torch.eye(len(self.told_mn), dtype=own_n.dtype)
        for begin in range(0, len(own_n), BLOCK):
            block = slice(begin, begin + BLOCK)
            part = self.told_mn[:, block]
            system += (part / own_n[block]) @ part.T
        inner = torch.linalg.cholesky(system)
        right = self.told_mn @ (values_n / own_n)
        middle = torch.cholesky_solve(right[:, None], inner)[:, 0]
        weight_m = torch.linalg.solve_triangular(self.factor_mm.T, middle[:, None], upper=True)
        missed_n = torch.empty_like(values_n)
        for begin in range(0, len(own_n), BLOCK):
            block = slice(begin, begin + BLOCK)
            part, own = self.told_mn[:, block], own_n[block]
            solved = torch.linalg.solve_triangular(inner, part, upper=False).square().sum(0)
            residual = (values_n[block] - middle @ part) / own
            missed_n[block] = residual / (1 / own - solved / own**2).clamp_min(1e-12)
        return weight_m[:, 0], missed_n


def solve_with_trust(
    kernel: StatedKernel,
    rows: Features,
    values_n: Tensor,
    places: Tensor,
    logs: Tensor,
    *,
    rounds: int,
) -> tuple[Tensor, Tensor]:
    """Return the weights of the kept runs (m,) and the trust in each run (n,).

    Trust is taken `rounds` times from what is missed of each run left out.
    """
    logs = kernel.bounded(logs)
    told = KeptRuns.of(kernel, rows, places, logs)
    trust_n = torch.ones_like(values_n)
    weight_m, missed_n = told.solved(values_n, kernel.noise(logs) / trust_n + kernel.jitter)
    for _ in range(rounds):
        trust_n = trust(missed_n)
        weight_m, missed_n = told.solved(values_n, kernel.noise(logs) / trust_n + kernel.jitter)
    return weight_m, trust_n
