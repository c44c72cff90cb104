"""Broken neural scaling law: a power law whose slope changes smoothly at breaks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ncpl.laws.base import Array, Inputs, Law, Parameter, columns_of


def bnsl(x: npt.ArrayLike, n_breaks: int = 1) -> Law:
    """Return the law with `n_breaks` breaks, its ranges set from the x it will be fitted on.

    Breaks may lie at most a factor ten outside the data: beyond it a break cannot be seen. Raises
    ValueError if an x is not above 0.
    """
    values = np.asarray(x, dtype=np.float64)
    if not len(values) or not (values > 0).all():
        raise ValueError("law bnsl: x holds a value that is not above 0")
    log_low, log_high = float(np.log(values.min())), float(np.log(values.max()))

    def log_loss(theta_KP: Array, inputs: Inputs) -> Array:
        floor, log_b, c0, *breaks = columns_of(theta_KP)
        log_x = np.log(inputs["x"])
        value = log_b - c0 * (log_x - log_low)
        for i in range(n_breaks):
            c, log_d, f = breaks[3 * i : 3 * i + 3]
            value = value - c * f * np.logaddexp(0.0, np.clip((log_x - log_d) / f, -700, 700))
        return np.asarray(np.logaddexp(np.log(floor), value))

    per_break = (
        (
            Parameter(f"c{i}", "change of slope", -5.0, 5.0, (-0.3, 0.3)),
            Parameter(
                f"log_d{i}",
                "log x",
                log_low - np.log(10.0),
                log_high + np.log(10.0),
                (log_low, log_high),
            ),
            Parameter(f"f{i}", "width of the break", 1e-2, 10.0, (0.1, 1.0), "log"),
        )
        for i in range(1, n_breaks + 1)
    )
    return Law(
        name="bnsl",
        title=f"Broken neural scaling law, {n_breaks} break(s)",
        formula="L = a + b (x/x_min)^-c0 prod_i (1 + (x/d_i)^(1/f_i))^(-c_i f_i)",
        citation="Caballero et al. 2022, arXiv 2210.14891, equation 1; repository "
        "ethancaballero/broken_neural_scaling_laws",
        inputs={"x": "any positive quantity"},
        parameters=(
            Parameter("a", "loss", 1e-8, 1e2, (0.05, 3.0), "log"),
            Parameter("log_b", "log loss at the smallest x", -20.0, 20.0, (-2.0, 2.0)),
            Parameter("c0", "slope before the first break", -5.0, 5.0, (0.02, 0.6)),
            *(parameter for group in per_break for parameter in group),
        ),
        function=log_loss,
    )
