"""Reinforcement learning after pretraining: loss over data or compute, and reward that saturates.

Both are fitted to tables of one's own. No public log of such runs is in the catalog, so they are
tested on generated rows only.
"""

from __future__ import annotations

import numpy as np

from ncpl.laws.base import Array, Inputs, Law, Parameter, columns_of

REFERENCE_PARAMS = 1e9


def log_test_loss(theta_KP: Array, inputs: Inputs) -> Array:
    """Return log test losses (K, n): a power law of the amount used whose slope saturates in N."""
    k_max, half, level, slope = columns_of(theta_KP)
    size = inputs["params"] / REFERENCE_PARAMS
    efficiency = k_max / (1 + half / size)
    return np.asarray(level + slope * np.log(size) - efficiency * np.log(inputs["amount"]))


LAW = Law(
    name="post_training",
    title="Post-training by reinforcement, L(N, X)",
    formula="log L = -k(N) log X + E(N); k = K / (1 + N0 / N), E = E0 + e log(N / 1e9)",
    citation="Tan et al. 2025, arXiv 2509.25300; E(N) as a line in log N is ours",
    inputs={"params": "parameters", "amount": "data samples or FLOPs, one of them"},
    parameters=(
        Parameter("K", "", 1e-4, 2.0, (0.02, 0.5), "log"),
        Parameter("N0", "1e9 parameters", 1e-3, 1e3, (0.1, 20.0), "log"),
        Parameter("E0", "log loss", -10.0, 10.0, (-1.0, 1.0)),
        Parameter("e", "", -2.0, 2.0, (-0.5, 0.5)),
    ),
    function=log_test_loss,
    huber_delta=1e-2,
)


def reward(theta_KP: Array, inputs: Inputs) -> Array:
    """Return rewards (K, n): slow start, rise and plateau over the share of an epoch."""
    start, gain, middle, width = columns_of(theta_KP)
    z = np.clip((inputs["epoch_share"] - middle) / width, -50, 50)
    return np.asarray(start + gain / (1 + np.exp(-z)))


REWARD_LAW = Law(
    name="reward",
    title="Reward along GRPO",
    formula="R = R0 + G / (1 + exp(-(t - t0) / w)), t the share of an epoch",
    citation="Nimmaturi et al. 2025, arXiv 2507.18014: sigmoid of slow start, rise and plateau",
    inputs={"epoch_share": "share of an epoch"},
    parameters=(
        Parameter("R0", "reward", -1.0, 1.0, (0.0, 0.5)),
        Parameter("G", "reward", 1e-4, 2.0, (0.05, 0.8), "log"),
        Parameter("t0", "share of an epoch", -1.0, 2.0, (0.05, 0.5)),
        Parameter("w", "share of an epoch", 1e-3, 1.0, (0.02, 0.2), "log"),
    ),
    function=reward,
    space="linear",
    huber_delta=1e-2,
    may_be_zero=True,
)
