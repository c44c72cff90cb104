"""Mixtures: loss from domain shares (data mixing law) and from one domain's ratio (D-CPT)."""

from __future__ import annotations

import numpy as np

from ncpl.laws.base import Array, Inputs, Law, Parameter, columns_of


def mixing_law(n_domains: int) -> Law:
    """Return the mixing law of one validation domain over `n_domains` training domains.

    Shares sum to one, so adding a constant to every t rescales k: only differences of t are
    identified, and the last t is held at zero.
    """

    def loss(theta_KP: Array, inputs: Inputs) -> Array:
        c, log_k, *slopes = columns_of(theta_KP)
        exponent = log_k + sum(slope * inputs[f"share_{i + 1}"] for i, slope in enumerate(slopes))
        return np.asarray(c + np.exp(np.clip(exponent, -50, 50)))

    return Law(
        name="mixing",
        title=f"Data mixing law, {n_domains} domains",
        formula="L_i = c_i + k_i exp(sum_j t_ij r_j); t of the last domain is 0",
        citation="Ye et al. 2024, arXiv 2403.16952, equation 7",
        inputs={f"share_{i + 1}": "share of training tokens" for i in range(n_domains)},
        parameters=(
            Parameter("c", "nats per token", 0.0, 20.0, (0.5, 3.0)),
            Parameter("log_k", "log nats per token", -10.0, 10.0, (-2.0, 2.0)),
            *(
                Parameter(f"t_{i + 1}", "per unit share", -50.0, 50.0, (-5.0, 3.0))
                for i in range(n_domains - 1)
            ),
        ),
        function=loss,
        space="linear",
        may_be_zero=True,
        huber_delta=1e-2,
    )


def dcpt_log_loss(theta_KP: Array, inputs: Inputs) -> Array:
    """Return log predictions (K, n) of the D-CPT law."""
    e, a, alpha, b, beta, eta, c, gamma, epsilon = columns_of(theta_KP)
    n, d = inputs["params_non_embedding"] / 1e6, inputs["train_tokens"] / 1e9
    r = inputs["domain_share"]
    return np.asarray(
        np.log(e + a * n**-alpha + b * r**eta * d**-beta + c * (r + epsilon) ** -gamma)
    )


DCPT = Law(
    name="dcpt",
    title="D-CPT, domain ratio in continued pretraining",
    formula="L = E + A (N/1e6)^-alpha + B r^eta (D/1e9)^-beta + C (r + epsilon)^-gamma",
    citation="Que et al. 2024, arXiv 2406.01375 (the parametrization the paper prefers)",
    inputs={
        "params_non_embedding": "parameters",
        "train_tokens": "tokens",
        "domain_share": "share of the loss's own domain in the training mixture",
    },
    parameters=(
        Parameter("E", "nats per token", 1e-3, 1e2, (0.5, 2.5), "log"),
        Parameter("A", "nats per token", 1e-4, 1e3, (0.3, 20.0), "log"),
        Parameter("alpha", "", 1e-3, 3.0, (0.1, 0.8)),
        Parameter("B", "nats per token", 1e-4, 1e2, (0.1, 5.0), "log"),
        Parameter("beta", "", 1e-3, 3.0, (0.1, 0.8)),
        Parameter("eta", "", -3.0, 3.0, (-0.5, 0.5)),
        Parameter("C", "nats per token", 1e-6, 1e2, (0.01, 0.5), "log"),
        Parameter("gamma", "", 1e-3, 3.0, (0.1, 1.0)),
        Parameter("epsilon", "share", 1e-6, 1.0, (1e-3, 0.3), "log"),
    ),
    function=dcpt_log_loss,
)
