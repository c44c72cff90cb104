"""What a family's law reads of configurations: logs, few steps, places in size and data, a rule.

Legend: B runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import numpy.typing as npt

from ncpl.data.fields import Config
from ncpl.data.sizes import size_of, worth_of

Array = npt.NDArray[np.float64]
N_REFERENCE, D_REFERENCE, BATCH_REFERENCE = 250e6, 15e9, 5e5
RATE_REFERENCE = 2e-3
FEW_STEPS, MOST_FEW, FEW_POWER = 1000.0, 5.0, 1.5
"""Optimizer steps of which a run has few, the most they are over its own, and the power of that:
losses of runs this short lie above any law of size and data."""
LEAST_OF_HABIT, LEAST_RANGE_OF_HABIT, SPREAD_OF_HABIT = 4, 0.3, 0.15
"""Runs, range in log learning rate, and largest spread about it as a share of the range, of what
counts as a rule."""
STEEPEST_HABIT = -1.2
"""Least slope of a rule in size or data; rates that rise with them are hardly ever meant."""
PLACES = tuple(product((-4.5, -2.5, -0.5, 1.5, 3.5), repeat=2))
"""Places in log size and data (n, d) where losses may lie off the law: 3 to 8,000 million
parameters, 0.2 to 500 billion tokens."""
AROUND = 2.0
"""How far about a place they lie off together, in log units."""


def numbers(rows: Sequence[Config], name: str) -> Array:
    """Return a field of every row, NaN where it is absent."""
    return np.array([np.nan if row.get(name) is None else row[name] for row in rows], dtype=float)


def logs(rows: Sequence[Config], name: str, reference: float) -> Array:
    """Return log(field / reference) of every row, NaN where it is absent or zero."""
    values = numbers(rows, name)
    values[~(values > 0)] = np.nan
    return np.asarray(np.log(values / reference))


def fewness(rows: Sequence[Config]) -> Array:
    """Return how few optimizer steps every row has, about 1 at 1,000; zero where unknown."""
    steps = numbers(rows, "data_tokens") / numbers(rows, "batch_tokens")
    return np.nan_to_num(np.minimum(FEW_STEPS / steps, MOST_FEW) ** FEW_POWER)


def nearby(n: Array, d: Array) -> Array:
    """Return how near each run is to each of PLACES, (B, places), 1 at it."""
    at = np.array(PLACES)
    far = np.square(n[:, None] - at[:, 0]) + np.square(d[:, None] - at[:, 1])
    return np.asarray(np.exp(-far / (2 * AROUND**2)))


def habit_of(rows: Sequence[Config]) -> tuple[float, float, float] | None:
    """Return the rule by which runs set their learning rate: its level, and slopes in n and d.

    None where rates do not follow size and data, or are one for all: then they are what they are.
    """
    rate = logs(rows, "learning_rate", RATE_REFERENCE)
    there = np.flatnonzero(np.isfinite(rate)).tolist()
    if len(there) < LEAST_OF_HABIT:
        return None
    rate = rate[there]
    most = SPREAD_OF_HABIT * float(np.ptp(rate))
    if np.ptp(rate) < LEAST_RANGE_OF_HABIT:
        return None
    n = np.log([size_of(rows[i]) / N_REFERENCE for i in there])
    d = np.log([worth_of(rows[i]) / D_REFERENCE for i in there])
    best: tuple[float, tuple[float, float, float]] = (most, (0.0, 0.0, 0.0))
    for columns in ((n,), (d,), (n + d,), (n, d)):
        x = np.column_stack([np.ones(len(rate)), *columns])
        freedom = len(rate) - x.shape[1]
        if freedom < 2:
            continue
        found = np.linalg.lstsq(x, rate, rcond=None)[0]
        spread = float(np.sqrt(np.square(rate - x @ found).sum() / freedom))
        if spread < best[0]:
            slopes = found[1:].tolist()
            pair = (
                tuple(slopes) if len(slopes) == 2
                else (slopes[0] * (columns[0] is not d), slopes[0] * (columns[0] is not n))
            )  # fmt: skip
            if min(pair) >= STEEPEST_HABIT and max(pair) <= -STEEPEST_HABIT / 4:
                best = (spread, (float(found[0]), *pair))
    return best[1] if best[0] < most else None
