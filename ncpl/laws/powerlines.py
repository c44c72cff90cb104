"""Power Lines: AdamW's timescale and the best batch size as power laws.

Bergsma et al. 2025, arXiv 2505.13738: the best timescale is a power of tokens per parameter, the
best and the critical batch size are powers of the tokens alone. The forms were read in the paper's
abstract and overview pages, the batch exponent in public training code that quotes it (25 November
2026); the timescale's exponent was noted at an earlier reading and not found again. Amplitudes
could not be read: lines are fitted, never taken from the paper.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ncpl.laws.base import Array, Inputs, Law, Parameter, columns_of

PUBLISHED_TIMESCALE_EXPONENT = -0.527
"""Of the best timescale in D / N."""
PUBLISHED_BATCH_EXPONENT = 0.383
"""Of the best batch size in D."""


def timescale(
    batch_tokens: npt.ArrayLike,
    learning_rate: npt.ArrayLike,
    weight_decay: npt.ArrayLike,
    train_tokens: npt.ArrayLike,
) -> Array:
    """Return AdamW's timescale as a share of the run: tau = B / (lr x weight decay x D)."""
    rate = np.asarray(learning_rate, dtype=np.float64) * np.asarray(weight_decay)
    return np.asarray(np.asarray(batch_tokens) / (rate * np.asarray(train_tokens)))


def log_value(theta_KP: Array, inputs: Inputs) -> Array:
    """Return log predictions (K, n)."""
    log_scale, exponent = columns_of(theta_KP)
    return np.asarray(log_scale + exponent * np.log(inputs["x"]))


LAW = Law(
    name="power_line",
    title="Power line, no constant",
    formula="y = scale x^exponent",
    citation="Bergsma et al. 2025, arXiv 2505.13738: best timescale over D / N, best and critical "
    "batch size over D",
    inputs={"x": "any positive quantity: tokens per parameter, or tokens"},
    parameters=(
        Parameter("log_scale", "log y at x = 1", -100.0, 100.0, (-10.0, 10.0)),
        Parameter("exponent", "", -5.0, 5.0, (-1.0, 1.0)),
    ),
    function=log_value,
    huber_delta=0.1,
)
