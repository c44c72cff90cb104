"""Recommendations: the learning rate and batch size (and the size) with the lowest predicted loss.

Legend: B candidates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ncpl.bundle import Bundle, Prediction
from ncpl.errors import ConfigError

FLOP_PER_PARAMETER_TOKEN = 6.0
RATES, BATCHES = 41, 25
"""Steps of the grid, on log scales over what training has seen."""


@dataclass(frozen=True)
class Recommendation:
    """The chosen configuration, what it is predicted to give, and the published law beside it."""

    config: dict[str, Any]
    prediction: Prediction
    step_law: dict[str, Any]
    """The same for the learning rate and batch size of the published Step Law."""
    step_law_prediction: Prediction
    ties: tuple[int, int]
    """How many candidates lie within 0.1% of the best predicted loss, of how many."""


def step_law(params_non_embedding: float, train_tokens: float) -> tuple[float, float]:
    """Return the learning rate and the batch size in tokens of the Step Law.

    arXiv 2503.04715: lr = 1.79 N^-0.713 D^0.307, batch = 0.58 D^0.571.
    """
    return 1.79 * params_non_embedding**-0.713 * train_tokens**0.307, 0.58 * train_tokens**0.571


def recommend(
    bundle: Bundle,
    *,
    params_non_embedding: float | None = None,
    train_tokens: float | None = None,
    flop: float | None = None,
    fixed: Mapping[str, Any] | None = None,
) -> Recommendation:
    """Return the best learning rate and batch size for a size and a number of tokens.

    With a compute budget (`flop` = 6 N D) the missing size, data, or both are searched too. `fixed`
    holds further fields of the run, such as sequence_length (2048 if not given). The search stays
    inside the learning rates, batches and sizes that training has seen. Raises ConfigError when
    the request does not determine a search.
    """
    fixed = {"sequence_length": 2048, **(fixed or {})}
    fit = bundle.fit_for({**fixed, "params_non_embedding": 1e8, "data_tokens": 1e9})
    ranges = fit.encoder.ranges
    pairs = _sizes(params_non_embedding, train_tokens, flop, ranges["params_non_embedding"])
    rates = np.geomspace(*ranges["learning_rate"], RATES)
    batches = np.geomspace(*ranges["batch_tokens"], BATCHES) / fixed["sequence_length"]
    candidates = [
        {
            **fixed,
            "params_non_embedding": float(n),
            "train_tokens": float(d),
            "learning_rate": float(rate),
            "batch_size_sequences": int(size),
        }
        for n, d in pairs
        for rate in rates
        for size in np.unique(np.maximum(1, np.round(batches)))
    ]
    found = bundle.intervals(fit, candidates)
    best = int(found.loss.argmin())
    chosen = candidates[best]
    rate, batch = step_law(chosen["params_non_embedding"], chosen["train_tokens"])
    published = chosen | {
        "learning_rate": min(rate, 1.0),
        "batch_size_sequences": max(1, round(batch / fixed["sequence_length"])),
    }
    prediction, published_prediction = bundle.predict([chosen, published])
    near = int((found.loss < found.loss[best] * 1.001).sum())
    return Recommendation(
        chosen, prediction, published, published_prediction, (near, len(candidates))
    )


def _sizes(
    n: float | None, d: float | None, flop: float | None, seen: tuple[float, float]
) -> list[tuple[float, float]]:
    given = sum(value is not None for value in (n, d, flop))
    if n is not None and d is not None and flop is None:
        return [(n, d)]
    if flop is None or given == 3:
        raise ConfigError(
            "give a size and tokens, or a compute budget, or a budget with one of the two"
        )
    budget = flop / FLOP_PER_PARAMETER_TOKEN
    if n is not None:
        return [(n, budget / n)]
    if d is not None:
        return [(budget / d, d)]
    return [(size, budget / size) for size in np.geomspace(*seen, 13)]
