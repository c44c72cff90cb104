"""What few runs leave open of a law: draws from its posterior.

A bootstrap of few runs is too sure: all refits end where the start and the flat pull lead. Here
each draw is a fit to losses with noise added and to what was known before with noise added, the
ranges that starts are drawn from, a Gaussian of one half range each (Bardsley et al. 2014,
Randomize-then-optimize). The size of the noise is drawn too.

Legend: K draws, n rows, P parameters.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from ncpl.laws.base import Array
from ncpl.laws.fitting import STEP, FitProblem

NOISE, NOISE_RUNS = 0.003, 3.0
"""What is known of the noise before: as much as so many runs that spread by so much (log loss, or
nats for laws fitted on the loss itself); two runs of one configuration differ by .001 to .002 nats
of 3."""
MOST_ROWS = 200
"""Rows beyond this many say little more: evenly picked ones stand for all."""
ROUNDS = 80


def sample(
    problem: FitProblem, fitted_P: Array, n_groups: int, *, n_draws: int, seed: int
) -> tuple[Array, Array]:
    """Return draws of the coordinates (K, P) and of the noise (K,).

    Rows of one group err together: all rows count as much as `n_groups` of them.
    """
    law = problem.law
    n_rows = len(problem.target)
    rows = np.unique(np.linspace(0, n_rows - 1, min(n_rows, MOST_ROWS)).round().astype(int))
    some = dataclasses.replace(
        problem,
        inputs={name: column[rows] for name, column in problem.inputs.items()},
        target=problem.target[rows],
        weight=problem.weight[rows],
    )
    ends = np.array([[p.inner(v) for v in p.start] for p in law.parameters]).T
    centre, reach = ends.mean(0), np.maximum((ends[1] - ends[0]) / 2, 1e-9)
    generator = np.random.default_rng(seed)
    missed = float((some.residuals(fitted_P[None])[0] ** 2).mean()) * n_groups
    free = max(NOISE_RUNS, n_groups + NOISE_RUNS - len(fitted_P))
    noise_K = np.sqrt((NOISE_RUNS * NOISE**2 + missed) / generator.chisquare(free, n_draws))
    # A row counts as n_groups / n rows do: its noise is the larger for it.
    row_noise_K = noise_K * np.sqrt(len(rows) / n_groups)
    shift_Kn = row_noise_K[:, None] * generator.normal(size=(n_draws, len(rows)))
    centre_KP = centre + reach * generator.normal(size=(n_draws, len(centre)))
    return _descend(some, fitted_P, shift_Kn, row_noise_K, centre_KP, reach), noise_K


def _descend(
    problem: FitProblem, start_P: Array, shift_Kn: Array, noise_K: Array, centre_KP: Array,
    reach_P: Array,
) -> Array:  # fmt: skip
    """Return the best coordinates (K, P) of each draw: damped Gauss-Newton, all in one batch."""
    low, high = np.array([(p.inner(p.lower), p.inner(p.upper)) for p in problem.law.parameters]).T
    n_draws, n_parameters = centre_KP.shape
    z_KP = np.repeat(np.clip(start_P, low, high)[None], n_draws, axis=0)
    damping = np.full(n_draws, 1e-2)
    moves = STEP * np.concatenate([np.eye(n_parameters), -np.eye(n_parameters)])
    at = np.arange(n_parameters)

    def cost(residual_Kn: Array, z: Array) -> Array:
        data = (((residual_Kn + shift_Kn) / noise_K[:, None]) ** 2).sum(-1)
        return np.asarray(data + (((z - centre_KP) / reach_P) ** 2).sum(-1))

    residual = problem.residuals(z_KP)
    value = cost(residual, z_KP)
    for _ in range(ROUNDS):
        around = problem.residuals((z_KP[:, None, :] + moves).reshape(-1, n_parameters))
        around = around.reshape(n_draws, 2 * n_parameters, -1)
        slope = (around[:, :n_parameters] - around[:, n_parameters:]) / (2 * STEP)
        slope /= noise_K[:, None, None]
        off = (residual + shift_Kn) / noise_K[:, None]
        gram = np.einsum("kpn,kqn->kpq", slope, slope) + np.diag(reach_P**-2)
        gradient = np.einsum("kpn,kn->kp", slope, off) + (z_KP - centre_KP) / reach_P**2
        gram[:, at, at] *= 1 + damping[:, None]
        new = np.clip(z_KP - np.linalg.solve(gram, gradient[..., None])[..., 0], low, high)
        new_residual = problem.residuals(new)
        after = cost(new_residual, new)
        better = after < value
        z_KP[better], residual[better], value[better] = (
            new[better],
            new_residual[better],
            after[better],
        )
        damping = np.clip(np.where(better, damping / 4, damping * 6), 1e-9, 1e9)
    return z_KP
