"""Tokens, batch, sequence length and steps from each other."""

from __future__ import annotations

from typing import Any

import pytest

from ncpl_data.catalog.budget import budget, flops

RUN = {
    "batch_size_sequences": 128, "sequence_length": 4096, "train_steps": 5120,
    "train_tokens": 2_684_354_560,
}  # fmt: skip
"""Marin's 130m at 1x Chinchilla."""


@pytest.mark.parametrize("column", list(RUN))
def test_each_follows_from_the_other_three(column: str) -> None:
    """Whatever is missing is what the others say."""
    row = {k: v for k, v in RUN.items() if k != column}
    value, rule = budget(row)[column]
    assert value == RUN[column]
    assert rule.startswith("budget/1: ")


def test_a_ramp_is_summed_stage_by_stage() -> None:
    """A batch that doubles half-way gives one and a half times the tokens."""
    ramp = [{"step": 0, "batch_size_sequences": 64}, {"step": 50, "batch_size_sequences": 128}]
    row = {"batch_ramp": ramp, "sequence_length": 1024, "train_steps": 100}
    assert budget(row)["train_tokens"][0] == (50 * 64 + 50 * 128) * 1024


@pytest.mark.parametrize(
    "row",
    [
        RUN,
        {"train_tokens": 10**9, "sequence_length": 1024},
        {"train_tokens": 1_000_000, "sequence_length": 1024, "train_steps": 7},
    ],
)
def test_nothing_is_made_up(row: dict[str, Any]) -> None:
    """Nothing is missing, too much is, or what comes out is no whole batch."""
    assert budget(row) == {}


def test_compute_counts_attention_where_the_shape_is_known() -> None:
    """6 N D, and 6 layers x width x sequence a token beside it."""
    row: dict[str, Any] = {"params_non_embedding": 10**8, "train_tokens": 10**9}
    assert flops(row) == (6e17, "budget/1: 6 N x tokens")
    shaped = row | {"n_layers": 12, "d_model": 768, "sequence_length": 1024}
    found = flops(shaped)
    assert found is not None
    assert found[0] == 6e17 + 6 * 12 * 768 * 1024 * 1e9
    assert flops({"params_non_embedding": 10**8}) is None
