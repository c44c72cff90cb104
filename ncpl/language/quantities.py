"""The numbers a language model reads: their words and their scale, one row each."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ncpl.data.fields import FIELDS, Config
from ncpl.errors import ConfigError


@dataclass(frozen=True)
class Quantity:
    """One number: the words before it, and what its raw value is multiplied with."""

    name: str
    words: str
    factor: float
    is_reference: bool = True
    """False: the reference has no such number, the row is ours."""


# Words and factors: src/generate_dataset.py of zhqwqwq/Configuration-to-Performance-Scaling-Law
# (MIT, commit 869842b), there for N in millions and D in billions, here for raw counts.
QUANTITIES: dict[str, Quantity] = {
    entry.name: entry
    for entry in (
        Quantity("params_non_embedding", "model size", 1e-8),
        Quantity("data_tokens", "data size", 1e-9),
        Quantity("n_layers", "num layers", 1.0),
        Quantity("n_heads", "num heads", 1.0),
        Quantity("d_model", "hidden dim", 1e-2),
        Quantity("learning_rate", "learning rate", 1e4),
        Quantity("warmup_steps", "warmup", 1e-2),
        Quantity("weight_decay", "weight decay", 1e2),
        Quantity("batch_size_sequences", "batch size", 0.1),
        Quantity("grad_clip_norm", "max_grad_norm", 1.0),
        Quantity("min_learning_rate", "minlr", 1e4),
        Quantity("min_lr_ratio", "minlr ratio", 200.0),
        Quantity("train_steps", "max step", 1e-3),
        Quantity("fraction", "frac", 1.0),
        Quantity("d_ff", "ffn dim", 1e-2, is_reference=False),
        Quantity("sequence_length", "sequence length", 1e-3, is_reference=False),
        Quantity("adam_beta1", "beta1", 1.0, is_reference=False),
        Quantity("adam_beta2", "beta2", 1.0, is_reference=False),
        Quantity("adam_epsilon", "epsilon", 1e8, is_reference=False),
        Quantity("momentum", "momentum", 1.0, is_reference=False),
    )
}
CATEGORIES = {"source": "source", "optimizer": "optimizer", "schedule": "schedule"}
"""Fields read as text, with the words before them."""
KEPT = frozenset(("source", "params_non_embedding", "data_tokens"))
"""Field dropout never hides these: without them there is no law to correct."""


def scaled(name: str, value: float, units: str) -> float:
    """Return what the number encoder is given for a raw value, in `linear` or `log` units."""
    if units == "log" and name in FIELDS:
        entry = FIELDS[name]
        if entry.transform == "linear":
            return (value - entry.centre) / entry.scale
        return (math.log(max(value, 1e-12)) - math.log(entry.centre)) / entry.scale
    return value * QUANTITIES[name].factor


def value_of(name: str, row: Config) -> float | str | None:
    """Return a field of a derived configuration; None where it is absent."""
    if name == "min_lr_ratio":
        low, peak = row.get("min_learning_rate"), row.get("learning_rate")
        return None if low is None or not peak else low / peak
    found: float | str | None = row.get(name)
    return found


def check_fields(fields: tuple[str, ...]) -> None:
    """Raise ConfigError where a field has no row in the tables of this module."""
    for name in fields:
        if name not in QUANTITIES and name not in CATEGORIES:
            known = ", ".join((*CATEGORIES, *QUANTITIES))
            raise ConfigError(f"fields: {name!r} cannot be read by a language model; known {known}")
