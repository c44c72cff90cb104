"""Size and data with an interaction and priors: where a few sizes leave the floor open."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from ncpl.laws.base import Array, Inputs, Law, LawFit, Parameter, columns_of
from ncpl.laws.fitting import fit_law

NEAR_BEST = 0.2
"""Quantile of each group's losses that the law follows."""
MIN_GROUP = 3


def log_loss(theta_KP: Array, inputs: Inputs) -> Array:
    """Return log predictions (K, n)."""
    a, alpha, b, gamma, beta, c = columns_of(theta_KP)
    n = np.log(inputs["params_non_embedding"] / 3e8)
    d = np.log(inputs["train_tokens"] / 1e10)
    model, data = np.exp(np.log(a) - alpha * n), np.exp(np.log(b) + gamma * n - beta * d)
    return np.asarray(np.log(model + data + c))


LAW = Law(
    name="interaction",
    title="Size and data with an interaction, literature priors",
    formula="L = a n^-alpha + b n^gamma d^-beta + c; n = N/3e8, d = D/1e10",
    citation="this project; priors after Hoffmann et al. 2022, arXiv 2203.15556: floor 1.7 +- .1, "
    "alpha .34 +- .05, beta .3 +- .15, gamma 0 +- .2",
    inputs={"params_non_embedding": "parameters", "train_tokens": "tokens"},
    parameters=(
        Parameter("a", "nats per token at 300M", 1e-3, 10.0, (0.2, 1.0), "log"),
        Parameter("alpha", "", 0.01, 2.0, (0.2, 0.5), prior=(0.34, 0.05)),
        Parameter("b", "nats per token at 300M, 10B", 1e-3, 10.0, (0.2, 1.0), "log"),
        Parameter("gamma", "", -1.0, 1.0, (-0.1, 0.1), prior=(0.0, 0.2)),
        Parameter("beta", "", 0.01, 2.0, (0.2, 0.5), prior=(0.3, 0.15)),
        Parameter("c", "nats per token", 0.01, 5.0, (1.5, 1.9), prior=(1.7, 0.1)),
    ),
    function=log_loss,
    huber_delta=5e-3,
)


def fit(
    params_non_embedding: Array,
    train_tokens: Array,
    loss: Array,
    groups: Sequence[str | None],
    *,
    seed: int = 0,
) -> LawFit:
    """Return the law fitted to near-best losses, one a group of (optimizer, N, D).

    The priors weigh as one observation each. Raises ValueError with fewer than 6 groups of 3 runs.
    """
    names = np.array([g or "" for g in groups])
    points = []
    for name in sorted(set(names.tolist()) - {""}):
        rows = np.flatnonzero(names == name)
        if len(rows) >= MIN_GROUP:
            near_best = float(np.quantile(loss[rows], NEAR_BEST))
            points.append((params_non_embedding[rows[0]], train_tokens[rows[0]], near_best))
    if len(points) < len(LAW.parameters):
        raise ValueError(f"law interaction needs 6 groups of 3 runs, found {len(points)}")
    n, d, best = np.array(points).T
    law = dataclasses.replace(LAW, prior_weight=1 / len(points))
    inputs = {"params_non_embedding": n, "train_tokens": d}
    return fit_law(law, inputs, best, seed=seed, n_starts=10)
