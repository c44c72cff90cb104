"""The best weight decay by Power Lines, where measured sweeps of it tell the level.

Bergsma et al. 2025 (arXiv 2505.13738): AdamW's best timescale B / (lr x weight decay x D) is a
power of tokens per parameter. The exponent is theirs, the level that of the measured optima.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ncpl.data.fields import derive
from ncpl.laws.powerlines import PUBLISHED_TIMESCALE_EXPONENT, timescale
from ncpl.plan.measured import MeasuredRuns
from ncpl.plan.optima import cells_of

LEAST_CELLS = 2


@dataclass(frozen=True)
class WeightDecay:
    """The best weight decay at a rate and batch."""

    value: float
    low: float
    high: float
    """By the measured optimum that asks for the least, and for the most."""
    n_cells: int

    def sentence(self) -> str:
        """Return what is told of it."""
        return (
            f"Power Lines (timescale ~ (tokens / parameters)^{PUBLISHED_TIMESCALE_EXPONENT}, its "
            f"level from {self.n_cells} measured optima): best weight decay {self.value:.3g} at "
            f"this rate and batch, single optima say {self.low:.3g} to {self.high:.3g}"
        )


def best_weight_decay(known: MeasuredRuns, config: Mapping[str, Any]) -> WeightDecay | None:
    """Return the best weight decay of a configuration's rate and batch.

    None for another optimizer than AdamW, without rate or batch, or where fewer than two sweeps of
    the weight decay have their optimum between measured values.
    """
    row = derive(config)
    if row.get("optimizer") not in (None, "adamw") or not row.get("learning_rate"):
        return None
    cells = [c for c in cells_of(known, "adamw", "weight_decay") if c.other]
    if len(cells) < LEAST_CELLS or not row.get("batch_tokens"):
        return None
    levels = [
        math.log(float(timescale(c.batch_tokens, c.other or 1.0, c.value, c.tokens)))
        - PUBLISHED_TIMESCALE_EXPONENT * math.log(c.tokens / c.params)
        for c in cells
    ]
    size, tokens = row["params_non_embedding"], row["data_tokens"]
    scale = row["batch_tokens"] / (row["learning_rate"] * tokens)
    power = PUBLISHED_TIMESCALE_EXPONENT * math.log(tokens / size)
    middle, most, least = (
        scale / math.exp(level + power)
        for level in (float(np.mean(levels)), min(levels), max(levels))
    )
    return WeightDecay(middle, least, most, len(cells))
