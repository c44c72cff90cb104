"""Tokens, batch, sequence length and steps from each other, and training compute, by rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

RULE = "budget/1"
WHOLE_TOLERANCE = 1e-3
"""How far from a whole number a batch may come out and still be that number."""

Row = Mapping[str, Any]


def ramp_sequences(ramp: Sequence[Row], steps: int) -> int:
    """Return the sequences of a run whose batch changes in stages."""
    starts = [int(entry["step"]) for entry in ramp] + [steps]
    return sum(
        max(0, min(after, steps) - min(int(entry["step"]), steps))
        * int(entry["batch_size_sequences"])
        for entry, after in zip(ramp, starts[1:], strict=True)
    )


def budget(row: Row) -> dict[str, tuple[int, str]]:
    """Return which of tokens, steps, batch and sequence length follow: column to value and rule."""
    length, batch = row.get("sequence_length"), row.get("batch_size_sequences")
    steps, ramp = row.get("train_steps"), row.get("batch_ramp")
    told = row.get("train_tokens")
    tokens = told or row.get("nominal_train_tokens")
    found: dict[str, tuple[int, str]] = {}
    if told is None and length and steps and (ramp or batch):
        sequences = ramp_sequences(ramp, steps) if ramp else (batch or 0) * steps
        how = "sum over the batch ramp x sequence" if ramp else "batch x sequence x steps"
        found = {"train_tokens": (sequences * length, f"{RULE}: {how}")}
    elif ramp or not tokens:
        pass
    elif steps is None and length and batch:
        found = whole(
            "train_steps", tokens // (batch * length), "floor(tokens / (batch x sequence))"
        )
    elif batch is None and length and steps:
        rule = "tokens / (sequence x steps)"
        found = whole("batch_size_sequences", tokens / (length * steps), rule)
    elif length is None and batch and steps:
        found = whole("sequence_length", tokens / (batch * steps), "tokens / (batch x steps)")
    return found


def whole(column: str, value: float, rule: str) -> dict[str, tuple[int, str]]:
    """Return a value by its column, if it is a whole number of at least one."""
    count = round(value)
    if count < 1 or abs(value - count) > WHOLE_TOLERANCE * count:
        return {}
    return {column: (count, f"{RULE}: {rule}")}


def flops(row: Row) -> tuple[float, str] | None:
    """Return the training compute in FLOP and its rule; None without size or tokens.

    6 N D; where the shape is known, attention's 6 x n_layers x sequence x d_model a token beside
    it. Source: Kaplan et al. 2020, arXiv:2001.08361, table 1 (forward pass, times three).
    """
    size = row.get("params_active_non_embedding") or row.get("params_non_embedding")
    tokens = row.get("train_tokens") or row.get("nominal_train_tokens")
    if not size or not tokens:
        return None
    base = 6.0 * size * tokens
    layers, width, length = (row.get(n) for n in ("n_layers", "d_model", "sequence_length"))
    if (row.get("architecture") or "decoder") == "decoder" and layers and width and length:
        attention = 6.0 * layers * width * length * tokens
        return base + attention, f"{RULE}: (6 N + 6 n_layers d_model sequence_length) x tokens"
    return base, f"{RULE}: 6 N x tokens"
