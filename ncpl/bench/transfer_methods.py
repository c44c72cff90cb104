"""Baselines of the transfer board: what one can do with k runs and no other family.

Each takes sizes, data and losses of the known runs and sizes and data of those asked for, and
returns losses in nats; NaN where it can not be fitted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from ncpl.laws import chinchilla, interaction
from ncpl.laws.fitting import fit_law
from ncpl.model.family_law import BASE
from ncpl.model.law_inputs import D_REFERENCE, N_REFERENCE, Array
from ncpl.model.population import Population

Baseline = Callable[[Array, Array, Array, Array, Array, Population], Array]
STARTS = 8
GP_LENGTHS = np.array([1.0, 2.0, 4.0])
GP_NOISES = np.array([0.01, 0.05])


def chinchilla_fit(
    n: Array, d: Array, loss: Array, to_n: Array, to_d: Array, _: Population
) -> Array:
    """Return the law fitted to the runs alone; with fewer than five each run counts twice."""
    repeats = -(-5 // len(loss))
    law = chinchilla.fit(*(np.tile(v, repeats) for v in (n, d, loss)), n_starts=STARTS)
    return law.predict(to_n, to_d)


def interaction_fit(
    n: Array, d: Array, loss: Array, to_n: Array, to_d: Array, _: Population
) -> Array:
    """Return the law with literature priors, each worth one run."""
    repeats = -(-6 // len(loss))
    n, d, loss = (np.tile(v, repeats) for v in (n, d, loss))
    law = dataclasses.replace(interaction.LAW, prior_weight=1 / len(loss))
    fitted = fit_law(law, {"params_non_embedding": n, "train_tokens": d}, loss, n_starts=STARTS)
    return fitted.predict({"params_non_embedding": to_n, "train_tokens": to_d})


def compute_power(
    n: Array, d: Array, loss: Array, to_n: Array, to_d: Array, _: Population
) -> Array:
    """Return a power law in compute."""
    slope, level = np.polyfit(np.log(n * d), np.log(loss), 1)
    return np.asarray(np.exp(level + slope * np.log(to_n * to_d)))


def borrowed_exponents(
    n: Array, d: Array, loss: Array, to_n: Array, to_d: Array, population: Population
) -> Array:
    """Return Chinchilla with the exponents of other families; nothing negative.

    Choshen et al. 2024 (A Hitchhiker's Guide to Scaling Law Estimation).
    """
    from scipy.optimize import nnls

    alpha, beta = (
        float(np.exp(population.mean[BASE.index(f"log_{e}")])) for e in ("alpha", "beta")
    )

    def columns(size: Array, data: Array) -> Array:
        terms = ((size / N_REFERENCE) ** -alpha, (data / D_REFERENCE) ** -beta, np.ones_like(size))
        return np.column_stack(terms)

    return np.asarray(columns(to_n, to_d) @ nnls(columns(n, d), loss)[0])


def process(n: Array, d: Array, loss: Array, to_n: Array, to_d: Array, _: Population) -> Array:
    """Return a Gaussian process on log size and data about a plane, its scales by evidence."""
    known, asked = (np.column_stack([np.log(a), np.log(b)]) for a, b in ((n, d), (to_n, to_d)))
    centre = known.mean(0)
    x, y = (np.column_stack([np.ones(len(v)), v - centre]) for v in (known, asked))

    def kernel(a: Array, b: Array, length: float) -> Array:
        far = np.square(a[:, None, 1:] - b[None, :, 1:]).sum(-1) / length**2
        plane = 4 * a[:, :1] @ b[:, :1].T + 0.04 * a[:, 1:] @ b[:, 1:].T
        return np.asarray(0.25 * np.exp(-far / 2) + plane)

    best = (-np.inf, np.empty(0))
    mean = loss.mean()
    for length in GP_LENGTHS:
        for noise in GP_NOISES:
            gram = kernel(x, x, length) + noise**2 * np.eye(len(x))
            weights = np.linalg.solve(gram, loss - mean)
            evidence = -0.5 * float((loss - mean) @ weights + np.linalg.slogdet(gram)[1])
            if evidence > best[0]:
                best = (evidence, mean + kernel(y, x, length) @ weights)
    return best[1]


BASELINES: dict[str, Baseline] = {
    "Chinchilla, fitted to the runs": chinchilla_fit,
    "Size x data with priors": interaction_fit,
    "Power law in compute": compute_power,
    "Chinchilla, borrowed exponents": borrowed_exponents,
    "Gaussian process on the runs": process,
}
"""TabPFN is absent: its wheel comes without weights."""
