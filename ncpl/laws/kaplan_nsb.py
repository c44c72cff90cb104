"""Kaplan: loss from model size, steps and batch size through the critical batch size."""

from __future__ import annotations

import numpy as np

from ncpl.laws.base import Array, Inputs, Law, Parameter, columns_of

ROUNDS = 8
"""Newton rounds; the equation is increasing in log L, so they converge from any start."""


def log_loss(theta_KP: Array, inputs: Inputs) -> Array:
    """Return log predictions (K, n); the loss stands on both sides and is solved for in log space.

    S_min = S / (1 + B_crit(L) / B) with B_crit = B* / L^(1/alpha_B): a lower loss needs a larger
    batch.
    """
    log_nc, alpha_n, log_sc, alpha_s, log_b, alpha_b = columns_of(theta_KP)
    log_share = log_b - np.log(inputs["batch_tokens"])
    size = np.exp(alpha_n * (log_nc - np.log(inputs["params_non_embedding"])))
    fast = np.exp(alpha_s * (log_sc - np.log(inputs["train_steps"])))
    log_l = np.log(size + fast)
    for _ in range(ROUNDS):
        ratio = np.exp(np.clip(log_share - log_l / alpha_b, -50, 50))
        time = fast * np.exp(alpha_s * np.log1p(ratio))
        total = size + time
        slope = 1 + time / total * alpha_s / alpha_b * ratio / (1 + ratio)
        log_l = log_l - (log_l - np.log(total)) / slope
    return np.asarray(log_l)


LAW = Law(
    name="kaplan_nsb",
    title="Kaplan, size x steps x batch",
    formula="L = (N_c/N)^alpha_N + (S_c/S_min)^alpha_S; S_min = S/(1 + B_crit/B); "
    "B_crit = B_star/L^(1/alpha_B)",
    citation="Kaplan et al. 2020, arXiv 2001.08361, equations 1.4, 1.6, 5.4",
    inputs={
        "params_non_embedding": "parameters",
        "train_steps": "steps",
        "batch_tokens": "tokens per step",
    },
    parameters=(
        Parameter("log_N_c", "log parameters", 5.0, 80.0, (20.0, 40.0)),
        Parameter("alpha_N", "", 1e-3, 1.0, (0.05, 0.15)),
        Parameter("log_S_c", "log steps", -10.0, 30.0, (4.0, 10.0)),
        Parameter("alpha_S", "", 0.05, 2.0, (0.3, 1.0)),
        Parameter("log_B_star", "log tokens", 0.0, 40.0, (12.0, 20.0)),
        Parameter("alpha_B", "", 0.05, 2.0, (0.15, 0.6)),
    ),
    function=log_loss,
)

# Kaplan et al. 2020: N_c, S_c and their exponents from table 3 (fits to L(N, S)), B_star and
# alpha_B from the appendix's table and figure 10 (equation 1.4 rounds B_star to 2e8); WebText2 and
# its own tokenizer. Checked against transcriptions of the paper, 25 November 2026.
PUBLISHED = {
    "log_N_c": float(np.log(6.5e13)),
    "alpha_N": 0.077,
    "log_S_c": float(np.log(2.1e3)),
    "alpha_S": 0.76,
    "log_B_star": float(np.log(2.1e8)),
    "alpha_B": 0.21,
}
