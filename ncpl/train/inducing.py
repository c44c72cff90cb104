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
        for block in blocks_of(n):
            cross = kernel.covariance(kept, rows.take(block), logs)
            told[:, block] = torch.linalg.solve_triangular(factor, cross, upper=False)
        left = kernel.variance(rows, logs) - told.square().sum(0)
        return cls(factor, told, left.clamp_min(0))

    def solved(self, values_n: Tensor, noise_n: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weights of the kept runs (m,), and what is missed of each run left out (n,).

        `noise_n` is the variance of each run's noise. The mean at other runs is their covariance
        with the kept ones times the weights.
        """
        sums = ToldOfKept.of(self, noise_n)
        inner = torch.linalg.cholesky(sums.system)
        right = self.told_mn @ (values_n / sums.own_n)
        middle = torch.cholesky_solve(right[:, None], inner)[:, 0]
        missed_n = torch.empty_like(values_n)
        for block in blocks_of(len(values_n)):
            part, own = self.told_mn[:, block], sums.own_n[block]
            solved = torch.linalg.solve_triangular(inner, part, upper=False).square().sum(0)
            residual = (values_n[block] - middle @ part) / own
            missed_n[block] = residual / (1 / own - solved / own**2).clamp_min(1e-12)
        return self.weight_of(middle), missed_n

    def weight_of(self, middle_m: Tensor) -> Tensor:
        """Return the weights of the kept runs (m,) from those of the columns of V."""
        right = middle_m[:, None]
        found: Tensor = torch.linalg.solve_triangular(self.factor_mm.T, right, upper=True)
        return found[:, 0]

    def with_trust(
        self, values_n: Tensor, noise: Tensor, jitter: float, *, rounds: int
    ) -> tuple[Tensor, Tensor]:
        """Return the weights of the kept runs (m,) and the trust in each run (n,).

        Trust is taken `rounds` times from what is missed of each run left out.
        """
        trust_n = torch.ones_like(values_n)
        weight_m, missed_n = self.solved(values_n, noise / trust_n + jitter)
        for _ in range(rounds):
            trust_n = trust(missed_n)
            weight_m, missed_n = self.solved(values_n, noise / trust_n + jitter)
        return weight_m, trust_n


@dataclass(frozen=True)
class ToldOfKept:
    """What all runs say of the kept ones, as sums over runs: blocks can be taken out of them."""

    kept: KeptRuns
    own_n: Tensor
    """Variance of each run that is its own."""
    system: Tensor
    """(m, m) of V weighted by own variances, and one on the diagonal."""

    @classmethod
    def of(cls, kept: KeptRuns, noise_n: Tensor) -> ToldOfKept:
        """Return the sums over all runs of these variances of noise."""
        own_n = kept.left_n + noise_n
        system = torch.eye(len(kept.told_mn), dtype=own_n.dtype)
        for block in blocks_of(len(own_n)):
            part = kept.told_mn[:, block]
            system += (part / own_n[block]) @ part.T
        return cls(kept, own_n, system)

    def without(self, left_out_n: Tensor, values_n: Tensor) -> Tensor:
        """Return the weights of the kept runs (m,) by all runs but those left out, exactly."""
        system = self.system.clone()
        places = torch.nonzero(left_out_n)[:, 0]
        for block in blocks_of(len(places)):
            part = self.kept.told_mn[:, places[block]]
            system -= (part / self.own_n[places[block]]) @ part.T
        stays_n = torch.where(left_out_n, 0.0, values_n / self.own_n)
        right = self.kept.told_mn @ stays_n
        middle = torch.cholesky_solve(right[:, None], torch.linalg.cholesky(system))[:, 0]
        return self.kept.weight_of(middle)


def blocks_of(count: int) -> list[slice]:
    """Return slices of BLOCK that hold `count` runs."""
    return [slice(begin, begin + BLOCK) for begin in range(0, count, BLOCK)]


def solve_with_trust(
    kernel: StatedKernel,
    rows: Features,
    values_n: Tensor,
    places: Tensor,
    logs: Tensor,
    *,
    rounds: int,
) -> tuple[Tensor, Tensor]:
    """Return the weights of the kept runs (m,) and the trust in each run (n,)."""
    logs = kernel.bounded(logs)
    told = KeptRuns.of(kernel, rows, places, logs)
    return told.with_trust(values_n, kernel.noise(logs), kernel.jitter, rounds=rounds)
