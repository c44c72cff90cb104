"""The fields of a configuration: one table, what a value may be, and what follows from others."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ncpl.data.unread import SILENT, UNREAD
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
KNOWN = frozenset((*FIELDS, *SILENT, *UNREAD)) - frozenset(DERIVED)


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
