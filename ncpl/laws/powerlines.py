"""Power Lines: AdamW's timescale and the best batch size as power laws.

Bergsma et al. 2025, arXiv 2505.13738: the best timescale is a power of tokens per parameter, the
best and the critical batch size are powers of the tokens alone. Only the forms and the exponent
below could be read, so the lines are fitted, never taken from the paper.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ncpl.laws.base import Array


def timescale(
    batch_tokens: npt.ArrayLike,
    learning_rate: npt.ArrayLike,
    weight_decay: npt.ArrayLike,
    train_tokens: npt.ArrayLike,
) -> Array:
    """Return AdamW's timescale as a share of the run: tau = B / (lr x weight decay x D)."""
    rate = np.asarray(learning_rate, dtype=np.float64) * np.asarray(weight_decay)
    return np.asarray(np.asarray(batch_tokens) / (rate * np.asarray(train_tokens)))


def optimal_weight_decay(
    batch_tokens: npt.ArrayLike,
    learning_rate: npt.ArrayLike,
    train_tokens: npt.ArrayLike,
    best_timescale: npt.ArrayLike,
) -> Array:
    """Return the weight decay that gives the wanted timescale."""
    product = np.asarray(learning_rate, dtype=np.float64) * np.asarray(best_timescale)
    return np.asarray(np.asarray(batch_tokens) / (product * np.asarray(train_tokens)))


# Bergsma et al. 2025: exponent of the best timescale in D / N, for comparison with a fit.
PUBLISHED_TIMESCALE_EXPONENT = -0.527


@dataclass(frozen=True)
class PowerLine:
    """y = scale x^exponent."""

    scale: float
    exponent: float

    def at(self, x: npt.ArrayLike) -> Array:
        """Return the line's values."""
        return np.asarray(self.scale * np.asarray(x, dtype=np.float64) ** self.exponent)


def fit_line(x: npt.ArrayLike, y: npt.ArrayLike) -> PowerLine:
    """Return the least-squares line in logs: tau over D/N, or a batch size over D.

    Raises ValueError with fewer than two different x.
    """
    log_x, log_y = np.log(np.asarray(x, np.float64)), np.log(np.asarray(y, np.float64))
    if len(np.unique(log_x)) < 2:
        raise ValueError("a power line needs at least two different x")
    exponent, level = np.polyfit(log_x, log_y, 1)
    return PowerLine(float(np.exp(level)), float(exponent))
