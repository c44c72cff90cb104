"""What other programs log, in our spelling: names, numbers, units."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any

from ncpl_data.schema.aliases import schedule_shape
from ncpl_data.schema.fields import run_fields

UNIT_PATTERNS = (
    (re.compile(r"bpb$|bits_per_byte"), "bits_per_byte"),
    (re.compile(r"bpc$|bits|char"), "other"),
    (re.compile(r"ppl$|perplexity"), "perplexity"),
    (re.compile(r"(^|[/_])acc(uracy)?$"), "accuracy"),
    (
        re.compile(
            r"(^|[/_.])(ce_|lm_)?loss(_smoothed|_validation|_train|_val)?$"
            r"|(^|[/_.])loss/(train|val|valid|validation|eval|test)$|total_loss$"
            r"|cross_?entropy|nll|(^|/)loss/train/total$"
        ),
        "nats_per_token",
    ),
)
"""Units by name. Frameworks log the mean cross-entropy, which is in nats per token."""

NOT_THE_LOSS = re.compile(
    r"balanc|z_loss|router|aux|moe|(^|[/_])gate|mtp|kl_|/kl|distil|contrastive|reward|value_loss|policy"
    r"|best|scale|_count|std|min$|max$"
)
"""Losses that are added to the language model's, and numbers about a loss."""

EVALUATION = re.compile(r"(^|[/_.])(eval|evaluation|val|valid|validation|dev|test)([/_.]|$)")
OTHER_AXIS = re.compile(
    r"[ _](vs|versus)[ _.](samples|tokens|flops|time|epochs?)|(^|/)epoch_(loss|acc)", re.IGNORECASE
)
"""A curve whose x is not the step: Megatron's `lm loss vs samples`, Keras's `epoch_loss`."""


def huggingface_optimizer(text: str) -> str:
    """Return the optimizer behind one of the many names of transformers' implementations."""
    name = text.lower().rsplit(".", 1)[-1]
    return "adamw" if name.startswith("adamw_") else name


WORDS = {
    "lower": str.lower,
    "shape": schedule_shape,
    "class_name": lambda text: text.rsplit(".", 1)[-1].lower(),
    "huggingface_optimizer": huggingface_optimizer,
}


@cache
def numeric_pointers() -> frozenset[str]:
    """Return the pointers whose values are numbers."""
    return frozenset(f.pointer for f in run_fields() if f.kind in ("integer", "number"))


def whole(pointer: str, value: Any) -> Any:
    """Return a count as a whole number, anything else as it is."""
    is_count = pointer in count_pointers() and isinstance(value, float)
    return int(value) if is_count and math.isfinite(value) and value == int(value) else value


@cache
def count_pointers() -> frozenset[str]:
    """Return the pointers whose values are whole numbers."""
    return frozenset(f.pointer for f in run_fields() if f.kind == "integer")


def number_of(value: Any) -> Any:
    """Return a number that was logged as text; None for text that is none."""
    if not isinstance(value, str):
        return value
    try:
        number = float(value)
    except ValueError:
        return None
    return int(value) if re.fullmatch(r"[-+]?\d+", value.strip()) else number


def is_zero(value: Any) -> bool:
    """Return whether a value is zero, as a number or as text."""
    return number_of(value) == 0 and not isinstance(value, bool)


def is_finite(value: Any) -> bool:
    """Return whether a value is a number one can reckon with."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and math.isfinite(value)


def flattened(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested configuration as dotted paths; list items by their number."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            found |= flattened(value, f"{name}.")
        elif isinstance(value, (list, tuple)):
            found |= flattened({str(i): v for i, v in enumerate(value)}, f"{name}.")
        else:
            found[name] = value
    return found


@lru_cache(10_000)
def metric_name(name: str) -> str:
    """Return a metric's name in our spelling: no spaces, no leading mark."""
    return re.sub(r"[^A-Za-z0-9._/:+-]+", "_", name.strip()).lstrip("._/:+-")[:200] or "metric"


def safe_name(name: str) -> str:
    """Return a run's name as the native part of an id."""
    return re.sub(r"[^A-Za-z0-9._@:+=,~-]+", "-", name).lstrip("._@:+=,~-")[:200] or "run"


@lru_cache(10_000)
def unit_of(metric: str) -> str:
    """Return the unit a metric's name tells, "other" if it tells none."""
    name = metric.lower()
    if NOT_THE_LOSS.search(name):
        return "other"
    return next((u for pattern, u in UNIT_PATTERNS if pattern.search(name)), "other")


@lru_cache(10_000)
def is_loss(metric: str) -> bool:
    """Return whether a metric is a loss of the language model, in whatever unit."""
    name = metric.lower()
    if NOT_THE_LOSS.search(name):
        return False
    return (
        "loss" in name
        or "bpc" in name
        or unit_of(name) in ("nats_per_token", "bits_per_byte", "perplexity")
    )


@lru_cache(10_000)
def is_evaluation(metric: str) -> bool:
    """Return whether a metric is measured on other data than the step's own batch."""
    return EVALUATION.search(metric.lower()) is not None


@lru_cache(10_000)
def is_over_steps(metric: str) -> bool:
    """Return whether a metric's name does not say that its x is another than the step."""
    return OTHER_AXIS.search(metric) is None


@lru_cache(10_000)
def split_of(metric: str) -> str | None:
    """Return the part of the data a metric's name tells."""
    parts = re.split(r"[/_.]", metric.lower())
    names = {
        **dict.fromkeys(("val", "valid", "validation", "eval", "dev"), "validation"),
        "train": "train",
        "test": "test",
    }
    return next((names[part] for part in (parts[0], parts[-1]) if part in names), None)


def jsonable(value: Any) -> Any:
    """Return a logged configuration as JSON types; a number that is not finite as its name."""
    if isinstance(value, dict):
        return {str(k): jsonable(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
