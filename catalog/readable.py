"""What a model can read of a run, and runs of one readable configuration with losses far apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ncpl_data.schema.indistinct import Indistinct, indistinct

READABLE = (
    "optimizer", "params_non_embedding", "params_total", "n_layers", "d_model", "d_ff", "n_heads",
    "n_experts", "experts_per_token", "n_recurrent_steps", "n_parallel_streams",
    "parametrization", "weight_bits", "activation_bits", "learning_rate", "learning_rate_groups",
    "weight_decay", "adam_beta1", "adam_beta2", "adam_epsilon", "momentum", "grad_clip_norm",
    "optimizer_extra", "schedule", "warmup_steps", "decay_steps", "min_learning_rate",
    "learning_rate_knots", "train_steps", "batch_size_sequences", "sequence_length", "batch_ramp",
    "train_tokens", "nominal_train_tokens", "mixture", "unique_tokens", "epochs", "filter", "seed",
    "stage", "initial_weights", "parent_run_id", "branch_step",
)  # fmt: skip
"""Columns that tell two configurations apart; what else differs, no model learns."""

SCALE = ("source", "final_loss_metric", "final_loss_unit", "dataset", "tokenizer")
"""Columns that losses compare within."""


def indistinct_runs(rows: Iterable[Mapping[str, Any]]) -> list[Indistinct]:
    """Return the readable configurations of runs whose losses lie far apart."""
    in_nats = (row for row in rows if row.get("final_loss_unit") == "nats_per_token")
    return indistinct(in_nats, READABLE, SCALE)


def advice(found: Iterable[Indistinct]) -> str | None:
    """Return what to state where numeric precision is what differs."""
    named = {name.rpartition("/")[2] for one in found for name in one.fields}
    if not any("precision" in name or "bits" in name or "quant" in name for name in named):
        return None
    return "numeric precision has fields of its own: model.weight_bits and model.activation_bits"
