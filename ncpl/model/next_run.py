"""Which run to do next: the one whose loss would narrow the interval of the asked one most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ncpl.data.fields import Config
from ncpl.data.sizes import size_of, worth_of
from ncpl.model.adaptation import Adapted

SIZES = np.array([0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0])
"""Sizes and data tried, over those of the largest known run."""
MOST_COMPUTE = 4.0
"""Compute of a next run over the largest known; a larger one would be the answer, not evidence."""


@dataclass(frozen=True)
class NextRun:
    """A run to do next."""

    params_non_embedding: float
    train_tokens: float
    narrows_to: float
    """Width of the interval after it over that now."""


def next_run(adapted: Adapted, known: Sequence[Config], asked: Config) -> NextRun | None:
    """Return the run that would narrow the interval of `asked` most; None without known runs.

    Candidates have the recipe of the asked run and at most four times the largest known compute. By
    the draws: what is left of the variance of the one loss once the other is measured.
    """
    if not known:
        return None
    largest = max(known, key=lambda row: size_of(row) * worth_of(row))
    n, d = size_of(largest), worth_of(largest)
    pairs = [
        (float(n * a), float(d * b)) for a in SIZES for b in SIZES if 0.25 <= a * b <= MOST_COMPUTE
    ]
    rows = [
        dict(asked) | {"params_non_embedding": size, "data_tokens": data, "train_tokens": data}
        for size, data in pairs
    ]
    found = adapted.losses([asked, *rows])
    away = found - found.mean(0)
    target, others = away[:, 0], away[:, 1:]
    noise = float(np.square(adapted.noise).mean())
    shared = np.square(target @ others / len(target))
    left = np.square(target).mean() - shared / (np.square(others).mean(0) + noise)
    best = int(np.argmin(left))
    before, after = np.square(target).mean() + noise, max(float(left[best]), 0.0) + noise
    return NextRun(*pairs[best], narrows_to=float(np.sqrt(after / before)))
