"""Multi-power law: a whole loss curve, each drop of the rate paying off as a power law."""

from __future__ import annotations

import numpy as np

from ncpl.laws.base import Array, Inputs, Law, Parameter, columns_of
from ncpl.laws.schedules import Curves

WARMUP_KNOTS = 16
"""The sum over k begins at step 1: the warm-up's rise is a negative drop of the whole peak, which
lifts every prediction by about B x peak (the published constants need it)."""


def multipower(curves: Curves) -> Law:
    """Return the law over these curves; the input is the row number (`curves.rows`)."""
    area, drops = curves.area, curves.drops(WARMUP_KNOTS)
    log_after = np.log(np.maximum(drops.rate_after, 1e-12))
    log_between = np.log(np.maximum(drops.area, 1e-12))

    def loss(theta_KP: Array, inputs: Inputs) -> Array:
        l0, a, alpha, b, c, beta, gamma = columns_of(theta_KP)
        x = np.exp(np.clip(np.log(c) - gamma * log_after + log_between, -50, 50))
        paid = -np.expm1(-beta * np.log1p(x))
        gain = drops.total(drops.size * paid, len(curves))
        row = inputs["row"].astype(np.int64)
        return np.asarray(l0 + a * area[row] ** -alpha - b * gain[..., row])

    return Law(
        name="multipower",
        title="Multi-power law",
        formula="L(t) = L0 + A S1^-alpha - B sum_k (eta_(k-1) - eta_k) "
        "(1 - (1 + C eta_k^-gamma S_k(t))^-beta)",
        citation="Luo et al. 2025, arXiv 2503.12811; repository thu-yao-01-luo/MultiPowerLaw",
        inputs={"row": "row of the curves"},
        parameters=(
            Parameter("L0", "nats per token", 0.0, 20.0, (1.5, 3.5)),
            Parameter("A", "nats per token at S1 = 1", 1e-3, 1e2, (0.2, 1.5), "log"),
            Parameter("alpha", "", 1e-2, 3.0, (0.2, 0.8)),
            Parameter("B", "nats per token per unit of rate", 1e-2, 1e6, (100.0, 1000.0), "log"),
            Parameter("C", "", 1e-4, 1e4, (0.5, 5.0), "log", prior=(1.0, 1.0)),
            Parameter("beta", "", 1e-3, 1e2, (0.2, 1.0), "log", prior=(0.5, 0.5)),
            Parameter("gamma", "", 0.0, 3.0, (0.2, 1.0), prior=(0.5, 0.2)),
        ),
        function=loss,
        space="linear",
        huber_delta=1e-3,
    )


# Repository thu-yao-01-luo/MultiPowerLaw, README and logs/*.log: its own fits on its curves.
PUBLISHED = {
    "25M": {
        "L0": 3.040,
        "A": 0.525,
        "alpha": 0.508,
        "B": 363.788,
        "C": 2.066,
        "beta": 0.583,
        "gamma": 0.641,
    },
    "100M": {
        "L0": 2.651,
        "A": 0.601,
        "alpha": 0.453,
        "B": 437.946,
        "C": 2.132,
        "beta": 0.598,
        "gamma": 0.655,
    },
    "400M": {
        "L0": 2.375,
        "A": 0.654,
        "alpha": 0.429,
        "B": 523.425,
        "C": 2.025,
        "beta": 0.594,
        "gamma": 0.635,
    },
}
