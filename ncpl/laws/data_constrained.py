"""Data-constrained: loss when tokens repeat, through effective parameters and effective tokens."""

from __future__ import annotations

import numpy as np

from ncpl.laws.base import Array, Inputs, Law, Parameter, columns_of


def log_loss(theta_KP: Array, inputs: Inputs) -> Array:
    """Return log predictions (K, n).

    The form was read in the paper's appendix A (transcribed) and in the authors' fitting code, 25
    November 2026; there U_N is the compute-optimal size for U, here min(rho U, N) with rho fitted.
    No published constants are used. Repeats R_D = D/U - 1 and excess parameters R_N = N/U_N - 1
    lose value exponentially. One exponent serves both arms.
    """
    a, r_n, b, r_d, alpha, c, rho = columns_of(theta_KP)
    unique, tokens = inputs["unique_tokens"], inputs["train_tokens"]
    params = inputs["params"]
    useful = np.minimum(rho * unique, params)
    excess = np.maximum(params / useful - 1, 0.0)
    repeats = np.maximum(tokens / unique - 1, 0.0)
    effective_params = useful * (1 + r_n * -np.expm1(-excess / r_n))
    effective_tokens = np.minimum(unique, tokens) * (1 + r_d * -np.expm1(-repeats / r_d))
    model = a * (effective_params / 1e9) ** -alpha
    return np.asarray(np.log(model + b * (effective_tokens / 1e9) ** -alpha + c))


LAW = Law(
    name="data_constrained",
    title="Data-constrained, repeated tokens",
    formula="L = a (N'/1e9)^-alpha + b (D'/1e9)^-alpha + c; "
    "D' = U (1 + R_D* (1 - exp(-R_D/R_D*))), N' likewise from U_N = min(rho U, N)",
    citation="Muennighoff et al. 2023, arXiv 2305.16264, equations 5-7; with rho fitted as in the "
    "law benchmark PlanarG/active-sl (data_constrained_scaling_law, law 3)",
    inputs={
        "params": "parameters",
        "train_tokens": "tokens seen, repeats counted",
        "unique_tokens": "tokens",
    },
    parameters=(
        Parameter("a", "nats per token at N' = 1e9", 1e-4, 1e2, (0.1, 2.0), "log"),
        Parameter("R_N_star", "multiples of U_N", 1e-2, 1e4, (1.0, 30.0), "log"),
        Parameter("b", "nats per token at D' = 1e9", 1e-4, 1e2, (0.3, 3.0), "log"),
        Parameter("R_D_star", "epochs", 1e-2, 1e4, (3.0, 40.0), "log"),
        Parameter("alpha", "", 1e-3, 2.0, (0.2, 0.6)),
        Parameter("c", "nats per token", 1e-3, 1e2, (1.0, 2.5), "log"),
        Parameter("rho", "parameters per unique token", 1e-4, 1e3, (0.02, 2.0), "log"),
    ),
    function=log_loss,
)
