"""The fields of a configuration: one table, what a value may be, and what follows from others."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ncpl.errors import ConfigError

Config = Mapping[str, Any]


@dataclass(frozen=True)
class InputField:
    """One field: scaled value = (transform(value) - transform(centre)) / scale."""

    name: str
    unit: str
    kind: Literal["number", "category"] = "number"
    transform: Literal["log", "linear"] = "log"
    centre: float = 1.0
    scale: float = 1.0
    low: float = 0.0
    high: float = math.inf


# One row a field. Centres are round numbers near the middle of the public logs, so that bundles
# share coordinates; ranges are those of a sane run, and catch a wrong unit.
FIELDS: dict[str, InputField] = {
    entry.name: entry
    for entry in (
        InputField("params_non_embedding", "parameters", centre=250e6, low=1e5, high=1e13),
        InputField("data_tokens", "tokens", centre=15e9, low=1e6, high=1e15),
        InputField("learning_rate", "per step, peak", centre=2e-3, low=1e-8, high=1.0),
        InputField("batch_tokens", "tokens", centre=5e5, low=1, high=1e10),
        InputField("ffn_ratio", "d_ff / d_model", centre=4.0, low=1e-3, high=1e4),
        InputField("n_layers", "layers", centre=10, low=1, high=1e4),
        InputField("d_model", "features", centre=1024, low=8, high=1e6),
        InputField("d_ff", "features", centre=4096, low=8, high=1e7),
        InputField("n_heads", "heads", centre=16, low=1, high=1e4),
        InputField("sequence_length", "tokens", centre=2048, low=8, high=1e8),
        InputField("batch_size_sequences", "sequences", centre=256, low=1, high=1e7),
        InputField("train_steps", "steps", centre=2e4, low=1, high=1e9),
        InputField("train_tokens", "tokens", centre=15e9, low=1e6, high=1e15),
        InputField("nominal_train_tokens", "tokens", centre=15e9, low=1e6, high=1e15),
        InputField("warmup_steps", "steps", centre=2000, low=0, high=1e8),
        InputField("warmup_frac", "share of the steps", centre=0.1, low=0, high=1e4),
        InputField("min_learning_rate", "per step", centre=1e-5, low=0, high=1.0),
        InputField("weight_decay", "", transform="linear", centre=0.1, scale=0.1, low=0, high=10),
        InputField("adam_beta1", "", transform="linear", centre=0.9, scale=0.05, low=0, high=1),
        InputField("adam_beta2", "", transform="linear", centre=0.95, scale=0.05, low=0, high=1),
        InputField("adam_epsilon", "", centre=1e-8, scale=5.0, low=0, high=1),
        InputField("grad_clip_norm", "", transform="linear", centre=1.0, low=0, high=1e6),
        InputField("momentum", "", transform="linear", centre=0.9, scale=0.05, low=0, high=1),
        InputField("decay_frac", "share of the steps", transform="linear", centre=1.0, scale=0.3),
        InputField("timescale_frac", "share of the run AdamW averages over", centre=0.1),
        InputField("second_rate_ratio", "second learning rate / main one", centre=0.2),
        InputField("second_epsilon", "", centre=1e-8, scale=5.0),
        InputField("gamma", "", centre=0.025),
        InputField("preconditioner_beta", "", transform="linear", centre=0.95, scale=0.05),
        InputField("preconditioner_period_steps", "steps", centre=10),
        InputField("preconditioner_learning_rate", "", centre=0.1),
        InputField("preconditioner_update_frac", "share of the steps", centre=0.05),
        InputField("optimizer", "name", kind="category"),
        InputField("schedule", "name", kind="category"),
    )
}
EXTRA = {
    "muon_to_adam_lr": "second_rate_ratio",
    "scion_to_signum_lr": "second_rate_ratio",
    "muon_epsilon": "second_epsilon",
    "scion_epsilon": "second_epsilon",
    "gamma": "gamma",
    "shampoo_beta": "preconditioner_beta",
    "precondition_frequency": "preconditioner_period_steps",
    "preconditioner_lr": "preconditioner_learning_rate",
    "preconditioner_update_probability": "preconditioner_update_frac",
}
"""Numbers in `optimizer_extra` that are read, and the field each is read as."""
DERIVED = (
    "data_tokens", "batch_tokens", "warmup_frac", "ffn_ratio", "decay_frac", "timescale_frac",
    *dict.fromkeys(EXTRA.values()),
)  # fmt: skip
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
KNOWN = frozenset((*FIELDS, *SILENT, *UNREAD)) - frozenset(DERIVED)


NUMBERS = (float, int)


def is_number(name: str) -> bool:
    """Return whether a known field holds a number, one no model reads included."""
    return name in COUNTS or (name in FIELDS and FIELDS[name].kind == "number")


def check_config(config: Config, *, where: str = "configuration") -> dict[str, Any]:
    """Return a copy without nulls. Raises ConfigError for an unknown field or a value out of range.

    `where` names the configuration in the error.
    """
    kept: dict[str, Any] = {}
    for name, value in config.items():
        if name not in KNOWN:
            near = difflib.get_close_matches(name, sorted(KNOWN), n=1, cutoff=0.5)
            hint = f"; the nearest known field is {near[0]}" if near else ""
            raise ConfigError(f"{where}: unknown field {name!r}{hint}")
        if value is None:
            continue
        if name in FIELDS:
            kept[name] = _checked(FIELDS[name], value, where)
        elif name in COUNTS:
            kept[name] = _counted(name, value, where)
        else:
            kept[name] = value
    extra_of(kept, where=where)
    return kept


def _counted(name: str, value: Any, where: str) -> Any:
    value = _plain(value)
    if type(value) in NUMBERS and 0 <= value < math.inf:
        return value
    raise ConfigError(f"{where}: {name} is {value!r}; expected a number, 0 or more")


def _plain(value: Any) -> Any:
    """Return a number of numpy, of a table say, as Python's own."""
    return value.item() if isinstance(value, np.generic) else value


def _checked(field: InputField, value: Any, where: str) -> Any:
    if field.kind == "category":
        if isinstance(value, str):
            return value
        raise ConfigError(f"{where}: {field.name} is {value!r}; expected a name in quotes")
    if type(value) in NUMBERS and field.low <= value <= field.high:  # the common case, first
        return value
    value = _plain(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError(f"{where}: {field.name} is {value!r}; expected a number")
    if not field.low <= value <= field.high:
        unit = f" ({field.unit})" if field.unit else ""
        raise ConfigError(
            f"{where}: {field.name} is {value:g}; expected {field.low:g} to {field.high:g}{unit}"
        )
    return value


def derive(config: Config) -> dict[str, Any]:
    """Return the configuration with derived fields: model size, data, batch and warm-up share."""
    full = dict(config)
    get = full.get
    if get("params_non_embedding") is None and (size := size_of_shape(config)) is not None:
        full["params_non_embedding"] = size
    batch, length, steps = get("batch_size_sequences"), get("sequence_length"), get("train_steps")
    if batch and length:
        full["batch_tokens"] = batch * length
    tokens = get("nominal_train_tokens") or get("train_tokens")
    if tokens is None and steps and "batch_tokens" in full:
        tokens = steps * full["batch_tokens"]
    full["data_tokens"] = tokens
    if tokens and steps and "batch_tokens" not in full:
        full["batch_tokens"] = tokens / steps
    if steps is None and tokens and "batch_tokens" in full:
        steps = full["train_steps"] = tokens / full["batch_tokens"]
    if get("d_ff") and get("d_model"):
        full["ffn_ratio"] = full["d_ff"] / full["d_model"]
    if steps and get("warmup_steps") is not None:
        full["warmup_frac"] = full["warmup_steps"] / steps
    if steps and get("decay_steps") is not None:
        full["decay_frac"] = full["decay_steps"] / steps
    elif get("schedule") in ("cosine", "linear"):  # these decay from the warm-up to the end
        full["decay_frac"] = 1.0 - min(full.get("warmup_frac", 0.0), 1.0)
    pull = (get("learning_rate") or 0) * (get("weight_decay") or 0) * (tokens or 0)
    if pull and "batch_tokens" in full:
        full["timescale_frac"] = full["batch_tokens"] / pull
    for name, value in extra_of(config).items():
        if name in EXTRA:
            full[EXTRA[name]] = value
    return full


def size_of_shape(config: Config) -> float | None:
    """Return layers x (4 hidden^2 + 3 hidden ffn), None where one of them is not given.

    Non-embedding parameters as the published split counts them.
    """
    layers, width, ffn = (config.get(name) for name in ("n_layers", "d_model", "d_ff"))
    return layers * (4 * width**2 + 3 * width * ffn) if layers and width and ffn else None


def extra_of(config: Config, *, where: str = "configuration") -> dict[str, float]:
    """Return the numbers of `optimizer_extra`, an object or one written as JSON.

    Raises ConfigError when it is neither.
    """
    extra = config.get("optimizer_extra")
    if extra is None:
        return {}
    if isinstance(extra, str):
        try:
            extra = json.loads(extra)
        except json.JSONDecodeError:
            extra = None
    if not isinstance(extra, Mapping):
        raise ConfigError(f"{where}: optimizer_extra is not an object of names and numbers")
    return {
        str(name): float(value)
        for name, value in extra.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }
