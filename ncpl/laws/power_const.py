"""Power law with a constant: loss from one quantity, L = a x^-b + c."""

from __future__ import annotations

import numpy as np

from ncpl.laws.base import Array, Inputs, Law, Parameter, columns_of


def log_loss(theta_KP: Array, inputs: Inputs) -> Array:
    """Return log predictions (K, n)."""
    a, b, c = columns_of(theta_KP)
    return np.asarray(np.log(a * (inputs["x"] / 1e18) ** -b + c))


LAW = Law(
    name="power_const",
    title="Power law with a constant",
    formula="L = a (x/1e18)^-b + c",
    citation="Hestness et al. 2017, arXiv 1712.00409; the one-quantity form of Gadre et al. 2024 "
    "(repository mlfoundations/scaling, scaling/laws.py)",
    inputs={"x": "any positive quantity, compute in FLOPs unless said otherwise"},
    parameters=(
        Parameter("a", "loss at x = 1e18", 1e-8, 1e8, (0.1, 10.0), "log"),
        Parameter("b", "", 1e-4, 5.0, (0.02, 0.6)),
        Parameter("c", "loss", 1e-4, 1e2, (0.5, 3.0), "log"),
    ),
    function=log_loss,
)
