"""ParScale: loss from model size and the number of parallel streams."""

from __future__ import annotations

import numpy as np

from ncpl.laws.base import Array, Inputs, Law, Parameter, columns_of


def log_loss(theta_KP: Array, inputs: Inputs) -> Array:
    """Return log predictions (K, n): P streams act as k log P + 1 times the parameters."""
    a, alpha, k, e = columns_of(theta_KP)
    effective = inputs["params"] / 1e9 * (k * np.log(inputs["parallel_streams"]) + 1)
    return np.asarray(np.log((a / effective) ** alpha + e))


LAW = Law(
    name="parscale",
    title="ParScale, parallel streams",
    formula="L = (A / (N/1e9 (k ln P + 1)))^alpha + E",
    citation="Chen et al. 2025, arXiv 2505.10475; the form of PlanarG/active-sl "
    "(parallel_scaling_law, law 5)",
    inputs={"params": "parameters", "parallel_streams": "streams"},
    parameters=(
        Parameter("A", "1e9 parameters", 1e-8, 1e6, (1e-3, 10.0), "log"),
        Parameter("alpha", "", 1e-3, 3.0, (0.1, 0.5)),
        Parameter("k", "per e-fold of streams", 1e-4, 1e2, (0.1, 1.0), "log"),
        Parameter("E", "nats per token", 1e-3, 1e2, (0.5, 2.0), "log"),
    ),
    function=log_loss,
)
