"""Whether the parts of a model fit its whole, and its parameter counts its shape."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ncpl_data.ingest.submissions.sections import Section, section
from ncpl_data.schema.validate import Problem

SHAPE_FACTOR = 2.0
"""A stated parameter count may differ from the one the shape gives by this factor."""

SMALLEST_MODEL = 1_000
"""Parameters. Below it the count was given in millions or billions."""


def check_model(document: Section) -> Iterator[Problem]:
    """Parts are not larger than wholes, and parameter counts fit the shape."""
    model = section(document, "model")
    for small, large in SMALLER_THAN:
        a, b = model.get(small), model.get(large)
        if a is not None and b is not None and a > b:
            yield Problem(
                f"/model/{small}", "parts", f"{a:,}, more than {large} {b:,}", f"at most {b:,}"
            )
    heads, kv_heads = model.get("n_heads"), model.get("n_kv_heads")
    if heads and kv_heads and heads % kv_heads:
        yield Problem(
            "/model/n_kv_heads", "parts", f"{kv_heads} for {heads} heads", f"a divisor of {heads}"
        )
    encoder, decoder = model.get("n_encoder_layers"), model.get("n_decoder_layers")
    layers = model.get("n_layers")
    if encoder is not None and decoder is not None and layers not in (None, encoder + decoder):
        yield Problem(
            "/model/n_layers",
            "parts",
            f"{layers}; the stacks have {encoder} and {decoder}",
            f"{encoder + decoder}, both stacks together",
        )
    for name in PARAMETER_FIELDS:
        count = model.get(name)
        if count is not None and count < SMALLEST_MODEL:
            yield Problem(
                f"/model/{name}",
                "unit",
                f"{count} parameters",
                f"at least {SMALLEST_MODEL:,}",
                "Parameters are counted one by one, not in millions or billions.",
            )
            return
    yield from check_shape(model)


PARAMETER_FIELDS = (
    "params_total",
    "params_active",
    "params_non_embedding",
    "params_active_non_embedding",
)
SMALLER_THAN = (
    ("params_active", "params_total"),
    ("params_non_embedding", "params_total"),
    ("params_active_non_embedding", "params_non_embedding"),
    ("params_active_non_embedding", "params_active"),
    ("n_kv_heads", "n_heads"),
    ("experts_per_token", "n_experts"),
    ("n_dense_layers", "n_layers"),
)


def check_shape(model: Section) -> Iterator[Problem]:
    """Parameter counts of a plain transformer are what its shape gives, up to a factor."""
    layers, width = model.get("n_layers"), model.get("d_model")
    unusual = (
        (model.get("architecture") or "decoder") not in ("decoder", "encoder", "encoder_decoder")
        or (model.get("n_recurrent_steps") or 1) > 1
        or (model.get("n_parallel_streams") or 1) > 1
        or model.get("n_experts")
    )
    if unusual or not layers or not width:
        return
    inner = (model["head_dim"] * model["n_heads"]) if has_heads(model) else width
    ff = model.get("d_ff")
    # Attention: queries and output, keys and values shared by groups or not, a second attention
    # in a decoder that reads an encoder. Feed-forward: two or three matrices.
    low = layers * (2 * width * inner + 2 * width * (ff or width))
    high = layers * (8 * width * inner + 3 * width * (ff or 8 * width))
    table = (model.get("vocab_size") or 0) * width
    ranges = {
        "params_non_embedding": (low, high),
        "params_total": (low + table, high + 2 * table if table else math.inf),
    }
    for name, (smallest, largest) in ranges.items():
        count = model.get(name)
        if count and not smallest / SHAPE_FACTOR <= count <= largest * SHAPE_FACTOR:
            yield Problem(
                f"/model/{name}",
                "shape",
                f"{count:,}; {layers} layers of width {width} give {smallest:,} to {largest:,}",
                "what the shape gives",
                "Are they in thousands or millions, or the shape of another model?",
            )


def has_heads(model: Section) -> bool:
    """Return whether the width of attention is stated."""
    return bool(model.get("head_dim") and model.get("n_heads"))
