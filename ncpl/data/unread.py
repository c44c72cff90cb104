"""Fields a configuration may carry although no model reads them as they are."""

from __future__ import annotations

COUNTS = (
    "n_kv_heads", "head_dim", "vocab_size", "n_experts", "experts_per_token", "params_total",
    "params_active", "decay_steps", "weight_bits", "activation_bits",
)  # fmt: skip
"""Numbers that no model reads as they are: others are derived from them, or checked by them."""
SILENT = (
    "run_id", "source", "source_run", "status", "model_family", "optimizer_extra", "dataset",
    "tokenizer", "precision", *COUNTS,
)  # fmt: skip
"""Fields a configuration may carry although no model reads them as they are."""
UNREAD = (
    "schema_version", "same_as", "parent_run_id", "branch_step", "stage", "modality", "seed",
    "extra", "architecture", "n_encoder_layers", "n_decoder_layers", "is_embedding_tied",
    "activation", "norm", "position_encoding", "n_shared_experts", "d_ff_expert",
    "d_ff_shared_expert", "n_dense_layers", "n_recurrent_steps", "n_parallel_streams",
    "params_active_non_embedding", "parametrization", "init_std", "dropout",
    "learning_rate_groups", "is_nesterov", "learning_rate_knots", "batch_ramp",
    "dataset_revision", "unique_tokens", "epochs", "filter", "mixture", "perturbations",
    "accelerator", "n_devices", "tensor_parallel", "pipeline_parallel", "tokens_per_second",
    "mfu_frac", "step_time_seconds", "wall_time_seconds", "train_flops", "framework",
    "code_revision", "final_loss", "final_loss_metric", "final_loss_unit", "final_step",
    "metrics", "licence", "citation", "url", "revision", "file", "file_sha256", "record",
    "is_copy", "contributor", "notes", "flags", "origins", "raw_config", "initial_weights",
    "attention", "is_ffn_gated", "has_bias", "weight_bits", "activation_bits", "bytes_per_token",
    "loss_family",
)  # fmt: skip
"""The other fields of the schema: a configuration may carry them, a prediction says they are not
read."""
NOT_READ = frozenset(
    (*UNREAD, "model_family", "n_kv_heads", "head_dim", "vocab_size", "params_active", "precision")
)
"""Fields a prediction says it did not read."""
ALWAYS = frozenset(
    (
        "run_id", "source", "source_run", "status", "params_non_embedding", "train_tokens",
        "nominal_train_tokens", "train_steps", "n_layers", "d_model", "d_ff", "n_heads",
        "batch_size_sequences", "sequence_length", "learning_rate", "optimizer", "schedule",
        "dataset", "tokenizer", "params_total", "n_experts", "experts_per_token",
        "optimizer_extra", "precision",
    )
)  # fmt: skip
"""Fields that are read or checked whatever the training runs state: size, data, shape, names."""
