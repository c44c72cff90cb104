"""How the best recipe moves with size and data: the Step Law and Power Lines refitted on groups."""

from __future__ import annotations

from typing import Any

import numpy as np

from ncpl.laws import powerlines, steplaw
from ncpl.laws.steplaw import Optima

NAMES = ("rate_scale", "rate_N", "rate_D", "batch_scale", "batch_D", "timescale_TPP")


def exponents(optima: Optima) -> dict[str, float]:
    """Return the numbers of the Step Law, and the timescale's exponent in tokens per parameter.

    The timescale is left out where a run states no weight decay. Raises ValueError with fewer than
    4 groups.
    """
    law = steplaw.fit_optima(optima)
    found = dict(zip(NAMES, (*law.learning_rate, *law.batch_tokens), strict=False))
    ratio = optima.train_tokens / optima.params_non_embedding
    if np.isfinite(optima.timescale).all() and len(np.unique(ratio)) > 1:  # else there is no line
        found[NAMES[-1]] = float(np.polyfit(np.log(ratio), np.log(optima.timescale), 1)[0])
    return found


def published() -> dict[str, float]:
    """Return the published numbers by the same names; scales of Power Lines could not be read."""
    law = steplaw.PUBLISHED
    found = dict(zip(NAMES, (*law.learning_rate, *law.batch_tokens), strict=False))
    return found | {NAMES[-1]: powerlines.PUBLISHED_TIMESCALE_EXPONENT}


def refit(optima: Optima, *, n_refits: int = 200, seed: int = 0) -> dict[str, Any]:
    """Return each number with its 90% interval over groups drawn with replacement.

    Raises ValueError with fewer than 4 groups, or one model size.
    """
    found = exponents(optima)
    if len(np.unique(optima.params_non_embedding)) < 2:
        raise ValueError("all groups have one model size; an exponent of size needs at least two")
    generator = np.random.default_rng(seed)
    draws: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(n_refits):
        rows = generator.integers(len(optima), size=len(optima))
        drawn = Optima(*(getattr(optima, name)[rows] for name in optima.__dataclass_fields__))
        # a draw with one size, or one budget, holds no exponent
        if len(np.unique(drawn.params_non_embedding)) < 2 or len(np.unique(drawn.train_tokens)) < 3:
            continue
        for name, value in exponents(drawn).items():
            draws.setdefault(name, []).append(value)
    known = published()
    rows_out = {}
    for name, value in found.items():
        ends = np.quantile(draws[name], [0.05, 0.95]) if draws[name] else None
        rows_out[name] = {
            "value": value,
            "interval_90": None if ends is None else [float(e) for e in ends],
            "published": known[name],
        }
    return {"groups": len(optima), "refits": len(draws["rate_N"]), "numbers": rows_out}
