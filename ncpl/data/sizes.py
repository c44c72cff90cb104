"""Size and data as a law across families needs them: without embeddings, and for what they add."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ncpl.data.fields import Config

FLOP_PER_PARAMETER_TOKEN = 6.0
"""Of training, forward and backward; attention left out."""
RATE_LEFT = "rate_left_frac"
"""Learning rate at a point along a run, over its peak, less that at the end: what a loss there has
still to fall."""
REPEATED_WORTH = 15.39
"""Epochs in which repeated tokens lose their worth (Muennighoff et al. 2023, appendix A: R_D*)."""
EXCESS_WORTH = 5.31
"""Times the parameters that unique tokens can use beyond which more are worth nothing (Muennighoff
et al. 2023, appendix A: R_N*)."""
USEFUL_TOKENS = 19.5
"""Unique tokens that one parameter can use: the compute-optimal ratio of the same fit (appendix A:
A 521, B 1488, both exponents .353)."""
USUAL_VOCABULARY, USUAL_ASPECT = 50_000, 64.0
"""Tokens, and width over depth, of a model whose source tells neither."""


def size_of(row: Config) -> float:
    """Return non-embedding parameters; NaN where no size is stated.

    Of a mixture of experts those that are active count: its total says nothing of them.
    Where only the total is stated, the embedding is taken off: of the stated width and vocabulary,
    by depth and width, else as models of that total usually have it (50,000 tokens; width over
    depth 64). Sizes with and without it do not follow one law; small models differ most.
    """
    size = row.get("params_active_non_embedding") or row.get("params_non_embedding")
    if size:
        return float(size)
    total = row.get("params_active") or row.get("params_total")
    sparse = (row.get("n_experts") or 1) > 1 and not row.get("params_active")
    if not total or sparse:
        return math.nan
    width, depth = float(row.get("d_model") or 0), float(row.get("n_layers") or 0)
    table = float(row.get("vocab_size") or 0) * width
    if 0 < table < 0.9 * total:
        return float(total) - table
    of_shape = 12 * depth * width**2
    if 0.05 * total < of_shape <= total:
        return float(of_shape)
    return without_embedding(float(total), float(row.get("vocab_size") or USUAL_VOCABULARY))


def useful_size_of(row: Config) -> float:
    """Return non-embedding parameters, excess ones for what they are worth on repeated tokens.

    Muennighoff et al. 2023, equation 6: beyond what unique tokens can use, R times as many are
    worth R* (1 - exp(-R / R*)) times. Where no token is repeated every parameter counts.
    """
    size = size_of(row)
    unique, tokens = row.get("unique_tokens"), row.get("data_tokens") or row.get("train_tokens")
    if not unique or not tokens or unique >= tokens or not size * USEFUL_TOKENS > unique:
        return size
    usable = float(unique) / USEFUL_TOKENS
    excess = size / usable - 1.0
    return usable * (1 + EXCESS_WORTH * -math.expm1(-excess / EXCESS_WORTH))


def without_embedding(total: float, vocabulary: float) -> float:
    """Return N with N + vocabulary x width = total, where N = 12 width^3 / 64."""
    width: float = (total * USUAL_ASPECT / 12) ** (1 / 3)
    for _ in range(50):  # Newton, from above
        excess = 12 / USUAL_ASPECT * width**3 + vocabulary * width - total
        width -= excess / (36 / USUAL_ASPECT * width**2 + vocabulary)
    return 12 / USUAL_ASPECT * width**3


def worth_of(row: Config) -> float:
    """Return training tokens, repeated ones for what they are worth; NaN where unknown.

    Muennighoff et al. 2023, equation 5: unique tokens U seen R + 1 times are worth
    U + U R* (1 - exp(-R / R*)).
    """
    tokens = row.get("data_tokens") or row.get("train_tokens")
    if not tokens:
        return math.nan
    unique = row.get("unique_tokens")
    if not unique or unique >= tokens:
        return float(tokens)
    repeats = tokens / unique - 1.0
    return float(unique * (1 + REPEATED_WORTH * -math.expm1(-repeats / REPEATED_WORTH)))


def is_mixture(config: Mapping[str, Any]) -> bool:
    """Return whether a configuration is a mixture of experts."""
    experts = config.get("n_experts")
    return isinstance(experts, int | float) and experts > 1


def mixture_sizes(config: Mapping[str, Any], *, matrices: int = 3) -> tuple[float, float] | None:
    """Return all and active parameters of a mixture without embeddings; None where not told.

    As stated, else of the shape: attention, and feed-forward layers of so many matrices (three with
    a gate, two without); routers are left out. StepLaw's 708 mixtures, which state
    both, agree with their shapes to the last parameter.
    """
    stated = config.get("params_non_embedding"), config.get("params_active_non_embedding")
    if stated[0] and stated[1]:
        return float(stated[0]), float(stated[1])
    needed = ("n_layers", "d_model", "n_experts", "experts_per_token")
    width = config.get("d_ff_expert") or config.get("d_ff")
    if not width or not all(config.get(name) for name in needed):
        return None
    layers, d, experts, chosen = (float(config[name]) for name in needed)
    dense = float(config.get("n_dense_layers") or 0)
    if dense and not config.get("d_ff"):
        return None
    shared = float(config.get("d_ff_shared_expert") or 0)
    if not shared and config.get("n_shared_experts"):
        shared = float(config["n_shared_experts"]) * float(width)
    heads = config.get("n_heads")
    head = float(config.get("head_dim") or (d / heads if heads else 0))
    kv = float(config.get("n_kv_heads") or heads or 0)
    attention = 2 * d * head * (float(heads) + kv) if heads else 4 * d**2
    always = layers * attention + matrices * d * dense * float(config.get("d_ff") or 0)
    total, active = (
        always + matrices * d * (layers - dense) * (n * float(width) + shared)
        for n in (experts, chosen)
    )
    return total, active
