"""Configurations that contradict themselves, or whose units are wrong: refused with the reason.

What a value may be by itself is in features.py; here is what it may be beside the others. Every
published run passes.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ncpl.data.checks import check_config
from ncpl.data.fields import FIELDS, Config, derive, size_of_shape
from ncpl.data.slips import unknown_names
from ncpl.errors import ConfigError

MAX_BATCH_TOKENS = 2**27
"""Tokens of one step beyond any published run: a batch counted in tokens looks like this."""
MAX_SEQUENCES = 2**17
"""The same for sequences whose length is not given."""
TOKENS_SLACK = 0.05
"""How far batch x sequence x steps may lie from the tokens."""
SHAPE_FACTOR = 4.0
"""How far the parameters may lie from those of the shape: definitions differ, not by this much."""
WHOLE = (
    "n_layers", "d_model", "d_ff", "n_heads", "sequence_length", "batch_size_sequences",
    "train_steps", "warmup_steps",
)  # fmt: skip
LEAST_BITS = 8
"""Of weights and activations. What fewer bits cost is not in the published runs a bundle holds."""
QUANTIZED = re.compile(r"w(\d+(?:\.\d+)?)a(\d+(?:\.\d+)?)")
LARGEST = 1e300
MAX_BELOW_LAW_NATS = 0.5


def checked(config: Any, *, where: str, read: Collection[str] = ()) -> dict[str, Any]:
    """Return the configuration without nulls. Raises ConfigError, naming `where`.

    `read` are the fields the model reads, beyond those of every model.
    """
    return checked_row(config, where=where, read=read)[0]


def checked_row(
    config: Any, *, where: str, read: Collection[str] = ()
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what `checked` does, and the same with derived fields."""
    if not isinstance(config, Mapping):
        raise ConfigError(
            f"{where} is {config!r}; expected a list of configurations, each an object of names "
            "and values"
        )
    if slips := unknown_names(config):
        raise ConfigError(f"{where}: {slips}")
    for name, value in config.items():
        if type(value) in (float, str):  # the common case, first
            continue
        if isinstance(value, dict | list) and name in FIELDS:
            kind = "an object" if isinstance(value, dict) else "a list"
            raise ConfigError(f"{where}: {name} is {kind}; expected one value, fields are flat")
        if isinstance(value, int) and abs(value) > LARGEST:
            raise ConfigError(f"{where}: {name} has {len(str(abs(value)))} digits; expected less")
    kept = check_config(config, where=where)
    row = derive(kept)
    found = _units(kept, row) or _contradiction(kept, row) or _unknown_kind(kept, read)
    if found:
        raise ConfigError(f"{where}: {found}")
    return kept, row


def check_prediction(prediction: Mapping[str, Any], *, where: str) -> str | None:
    """Return a doubt about a prediction far below the law of size and data, None without one.

    The best published run lies .13 nats below its refitted Chinchilla law. Raises ConfigError
    for a loss that no run can reach: there the model says nothing.
    """
    loss, law = prediction["loss"], prediction["baseline"]
    if loss <= 0:
        raise ConfigError(
            f"{where}: so far outside the training runs that the model gives a loss of {loss:.3g}; "
            "it can not predict this one"
        )
    if law - loss > MAX_BELOW_LAW_NATS:
        return (
            f"{law - loss:.2f} nats below the law of size and data alone: no training run was; do "
            "not rely on this prediction"
        )
    return None


def other_data(row: Config, family: Sequence[str]) -> list[str]:
    """Return what makes losses of this row others than those of a family of comparable losses."""
    if not (row.get("dataset") or row.get("tokenizer")):
        return []
    source, _, dataset, tokenizer, _ = family
    return [
        f"{name} is {row[name]!r}, that of {source} is {known or 'not stated'}: the loss given is "
        f"{source}'s, and losses of other data or tokens are not comparable"
        for name, known in (("dataset", dataset), ("tokenizer", tokenizer))
        if row.get(name) not in (None, "", known)
    ]


def _units(config: Config, row: Mapping[str, Any]) -> str | None:
    """Return what looks like another unit."""
    return _steps(config, row) or _batch(config, row) or _names(config)


def _steps(config: Config, row: Mapping[str, Any]) -> str | None:
    warmup, steps = config.get("warmup_steps"), _length(row)
    if warmup is not None and 0 < warmup < 1:
        return f"warmup_steps is {warmup:g}; expected steps, not a share of the run"
    for name in WHOLE:
        value = config.get(name)
        if value is not None and float(value) != round(float(value)):
            return f"{name} is {value:g}; expected a whole number ({FIELDS[name].unit})"
    if warmup is not None and steps and warmup > 10 * max(1.0, steps) and warmup > 1e5:
        return (
            f"warmup_steps is {warmup:g} and the run has {steps:.6g} steps; is the warm-up "
            "in tokens?"
        )
    return None


def _batch(config: Config, row: Mapping[str, Any]) -> str | None:
    batch, length = config.get("batch_size_sequences"), config.get("sequence_length")
    tokens = row.get("batch_tokens")
    if tokens and tokens > MAX_BATCH_TOKENS:
        return (
            f"batch_size_sequences is {batch:g}, with sequences of {length:g} that is {tokens:.3g} "
            "tokens a step, more than any published run; if it is in tokens, divide it by "
            "sequence_length"
        )
    if batch and not length and batch > MAX_SEQUENCES:
        return (
            f"batch_size_sequences is {batch:g}; expected sequences; if it is in tokens, divide it "
            "by sequence_length"
        )
    return None


def _names(config: Config) -> str | None:
    for name in ("optimizer", "schedule"):
        value = config.get(name)
        if value == "":
            return f"{name} is empty; leave it out where it is not known"
        if value and value != value.strip().lower():
            return f"{name} is {value!r}; names are lower case: {value.strip().lower()!r}"
    return None


def _contradiction(config: Config, row: Mapping[str, Any]) -> str | None:
    """Return which values can not be true together."""
    batch, steps, tokens = row.get("batch_tokens"), _length(row), row.get("data_tokens")
    told = config.get("train_tokens")
    nominal = config.get("nominal_train_tokens")
    if batch and tokens and batch > tokens * (1 + TOKENS_SLACK):
        return f"one step is {batch:.4g} tokens, the whole run {tokens:.4g}"
    if batch and config.get("train_steps"):
        product = batch * (steps or 0)
        for name, value in (("train_tokens", told), ("nominal_train_tokens", nominal)):
            if value and not 1 - TOKENS_SLACK <= product / value <= 1 + TOKENS_SLACK:
                return (
                    f"{name} is {value:.4g}, but batch x sequence x steps is {product:.4g}; leave "
                    "one of them out or mend it"
                )
    if told and nominal and not 1 - TOKENS_SLACK <= told / nominal <= 1 + TOKENS_SLACK:
        return f"train_tokens is {told:.4g}, but nominal_train_tokens is {nominal:.4g}"
    low, peak = config.get("min_learning_rate"), config.get("learning_rate")
    if low is not None and peak is not None and low > peak:
        return f"min_learning_rate is {low:g}, above the learning_rate of {peak:g}"
    decay = config.get("decay_steps")
    if isinstance(decay, int | float) and steps and decay > steps * (1 + TOKENS_SLACK):
        return f"decay_steps is {decay:g}, the run has {steps:.6g} steps"
    return _shape(config)


def _length(row: Mapping[str, Any]) -> float | None:
    """Return the steps of a run, given or as its tokens over those of a batch."""
    if row.get("train_steps"):
        return float(row["train_steps"])
    if row.get("data_tokens") and row.get("batch_tokens"):
        return float(row["data_tokens"] / row["batch_tokens"])
    return None


def _shape(config: Config) -> str | None:
    width, heads = config.get("d_model"), config.get("n_heads")
    if width and heads and heads > width:
        return f"n_heads is {heads:g}, more than d_model of {width:g}"
    size, total = config.get("params_non_embedding"), config.get("params_total")
    if size and isinstance(total, int | float) and total < size:
        return f"params_total is {total:.4g}, below params_non_embedding of {size:.4g}"
    of_shape = size_of_shape(config)
    is_dense = not config.get("n_experts")
    if size and of_shape and is_dense and not 1 / SHAPE_FACTOR < size / of_shape < SHAPE_FACTOR:
        return (
            f"params_non_embedding is {size:.4g}, but n_layers x (4 d_model^2 + 3 d_model d_ff) is "
            f"{of_shape:.4g}"
        )
    return None


def _fewest_bits(config: Config) -> float | None:
    """Return the bits of weights or activations, whichever are fewer; None where nobody says.

    Stated, or in a precision such as w4a8.
    """
    stated = [config.get(name) for name in ("weight_bits", "activation_bits")]
    found = [float(value) for value in stated if isinstance(value, int | float)]
    named = QUANTIZED.fullmatch(str(config.get("precision") or "").lower())
    found += map(float, named.groups()) if named else []
    return min(found, default=None)


def _unknown_kind(config: Config, read: Collection[str]) -> str | None:
    """Return what makes this run one of a kind that no training run was of."""
    bits = _fewest_bits(config)
    if bits is not None and bits < LEAST_BITS and not {"precision", "weight_bits"} & set(read):
        return (
            f"its weights or activations have {bits:g} bits; this model knows runs of {LEAST_BITS} "
            "bits and more, and can not tell what fewer cost"
        )
    experts, active = config.get("n_experts"), config.get("experts_per_token")
    if not isinstance(experts, int | float):
        return None
    if isinstance(active, int | float) and active > experts:
        return f"experts_per_token is {active}, n_experts is {experts}"
    if experts > 1 and "n_experts" not in read:
        return (
            f"n_experts is {experts}; this model knows dense runs only and can not predict a "
            "mixture of experts"
        )
    return None
