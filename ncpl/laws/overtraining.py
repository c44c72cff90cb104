"""Over-training: loss from compute and tokens per parameter, and task error from loss."""

from __future__ import annotations

import numpy as np

from ncpl.laws.base import Array, Inputs, Law, Parameter, columns_of

REFERENCE_FLOPS = 1e18
REFERENCE_MULTIPLIER = 20.0


def log_loss(theta_KP: Array, inputs: Inputs) -> Array:
    """Return log predictions (K, n): the Chinchilla form with equal exponents, by C and M."""
    a, b, eta, e = columns_of(theta_KP)
    compute = inputs["compute_flops"] / REFERENCE_FLOPS
    ratio = inputs["tokens_per_param"] / REFERENCE_MULTIPLIER
    return np.asarray(np.log(e + (a * ratio**eta + b * ratio**-eta) * compute**-eta))


LAW = Law(
    name="overtraining",
    title="Over-training, L(C, M)",
    formula="L = E + (a (M/20)^eta + b (M/20)^-eta) (C/1e18)^-eta; C = 6 N D, M = D/N",
    citation="Gadre et al. 2024, arXiv 2403.08540, equation 4; repository mlfoundations/scaling, "
    "scaling/laws.py",
    inputs={"compute_flops": "FLOPs", "tokens_per_param": "tokens per parameter"},
    parameters=(
        Parameter("a", "nats per token", 1e-4, 1e2, (0.1, 3.0), "log"),
        Parameter("b", "nats per token", 1e-4, 1e2, (0.1, 3.0), "log"),
        Parameter("eta", "", 1e-3, 1.0, (0.05, 0.3)),
        Parameter("E", "nats per token", 1e-3, 1e2, (1.0, 2.5), "log"),
    ),
    function=log_loss,
)


def error(theta_KP: Array, inputs: Inputs) -> Array:
    """Return predicted task errors (K, n) from validation losses."""
    epsilon, k, gamma = columns_of(theta_KP)
    return np.asarray(epsilon - k * np.exp(-gamma * inputs["loss"]))


ERROR_LAW = Law(
    name="overtraining_error",
    title="Over-training, Err(L)",
    formula="Err = epsilon - k exp(-gamma L)",
    citation="Gadre et al. 2024, arXiv 2403.08540, equation 5; repository mlfoundations/scaling, "
    "scaling/laws.py",
    inputs={"loss": "nats per token"},
    parameters=(
        Parameter("epsilon", "error share", 0.0, 1.5, (0.6, 1.0)),
        Parameter("k", "error share", 1e-4, 1e4, (0.5, 20.0), "log"),
        Parameter("gamma", "per nat", 1e-3, 10.0, (0.3, 2.0)),
    ),
    function=error,
    space="linear",
    huber_delta=1e-2,
)


def inputs_from(params: Array, train_tokens: Array) -> dict[str, Array]:
    """Return the law's inputs from raw counts of parameters and tokens."""
    return {"compute_flops": 6 * params * train_tokens, "tokens_per_param": train_tokens / params}
