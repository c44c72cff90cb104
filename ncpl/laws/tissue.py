"""Learning-rate annealing (Tissue): a whole loss curve from the area and the drops of its rate."""

from __future__ import annotations

import numpy as np

from ncpl.laws.base import Array, Inputs, Law, Parameter, columns_of
from ncpl.laws.schedules import Curves


def tissue(curves: Curves) -> Law:
    """Return the law over these curves; the input is the row number (`curves.rows`).

    S1 is the sum of learning rates, S2 the sum of the annealing momentum m_i = lambda m_(i-1) +
    (eta_(i-1) - eta_i); a drop of age t adds (1 - lambda^t) / (1 - lambda) times its size. The
    warm-up's rise is no drop.

    Formula, recurrence and the last point were read in a public copy of the authors' fitting script
    (25 November 2026). It differs in three choices: lambda is held at 0.999 (here it is fitted,
    through its memory 1 / (1 - lambda) in steps); the warm-up counts in S1 at its end rate (here as
    it was run, which predicts unseen schedules better: docs/laws.md); residuals are on log loss.
    """
    area, drops = curves.area, curves.drops()

    def loss(theta_KP: Array, inputs: Inputs) -> Array:
        l0, a, alpha, c, memory = columns_of(theta_KP)
        fade = np.log1p(-1 / memory)
        s2 = drops.total(drops.size * -np.expm1(fade * drops.age) * memory, len(curves))
        row = inputs["row"].astype(np.int64)
        return np.asarray(l0 + a * area[row] ** -alpha - c * s2[..., row])

    return Law(
        name="tissue",
        title="Learning-rate annealing, S1 and S2",
        formula="L(s) = L0 + A S1^-alpha - C S2; S2 = sum_i sum_(k<=i) (eta_(k-1) - eta_k) "
        "lambda^(i-k)",
        citation="Tissue, Wang, Wang 2024, arXiv 2408.11029",
        inputs={"row": "row of the curves"},
        parameters=(
            Parameter("L0", "nats per token", 0.0, 20.0, (1.5, 3.5)),
            Parameter("A", "nats per token at S1 = 1", 1e-3, 1e2, (0.2, 1.5), "log"),
            Parameter("alpha", "", 1e-2, 3.0, (0.2, 0.8)),
            Parameter("C", "nats per token per unit of S2", 1e-6, 1e3, (0.05, 2.0), "log"),
            Parameter("memory", "steps", 2.0, 1e6, (100.0, 5000.0), "log"),
        ),
        function=loss,
        space="linear",
        may_be_zero=True,
        huber_delta=1e-3,
    )
