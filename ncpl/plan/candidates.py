"""Candidate runs of a plan: configurations as given, or one varied over values of its fields."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from ncpl.data.fields import FIELDS, KNOWN
from ncpl.errors import ConfigError
from ncpl.plan.space import WHOLE

USUAL_COUNT = 5
MOST = 5000


def varied(configs: Sequence[Mapping[str, Any]], texts: Sequence[str]) -> list[dict[str, Any]]:
    """Return every configuration with every combination of values of NAME=VALUES texts.

    VALUES are LOW:HIGH or LOW:HIGH:COUNT, evenly on the field's own scale, or values with commas;
    batch_tokens sets the batch of the configuration's sequence length. Raises ConfigError for
    another form, or too many.
    """
    axes = [axis_of(text) for text in texts]
    count = len(configs) * math.prod(len(values) for _, values in axes)
    if count > MOST:
        raise ConfigError(f"{count:,} candidates; expected {MOST:,} at most: vary fewer values")
    found = []
    for config in configs:
        for chosen in itertools.product(*(values for _, values in axes)):
            own = dict(config) | dict(zip((name for name, _ in axes), chosen, strict=True))
            if axes:
                own.pop("run_id", None)
            if "batch_tokens" in own:
                length = own.get("sequence_length")
                if not length:
                    raise ConfigError("batch_tokens needs the sequence_length of a configuration")
                own["batch_size_sequences"] = max(1, round(own.pop("batch_tokens") / length))
                own.pop("train_steps", None)
            found.append(own)
    return found


def axis_of(text: str) -> tuple[str, list[Any]]:
    """Return the field and values of one NAME=VALUES text."""
    name, equals, said = (part.strip() for part in text.partition("="))
    if not equals or not said:
        raise ConfigError(f"--vary {text}: expected NAME=LOW:HIGH:COUNT or NAME=VALUE,VALUE")
    if name not in KNOWN and name != "batch_tokens":
        raise ConfigError(f"--vary {text}: {name} is no field; they are in schema/FIELDS.md")
    if ":" not in said:
        return name, [_value(name, part.strip(), text) for part in said.split(",") if part.strip()]
    parts = said.split(":")
    if len(parts) not in (2, 3) or FIELDS.get(name) is None or FIELDS[name].kind == "category":
        raise ConfigError(f"--vary {text}: expected NAME=LOW:HIGH:COUNT of a field with a number")
    low, high = (_value(name, part, text) for part in parts[:2])
    count = int(_value("n_layers", parts[2], text)) if len(parts) == 3 else USUAL_COUNT
    if not low < high or count < 2:
        raise ConfigError(f"--vary {text}: expected a low end below the high one, and 2 values")
    is_log = FIELDS[name].transform == "log" and low > 0
    steps = [i / (count - 1) for i in range(count)]
    values = [low * (high / low) ** s if is_log else low + (high - low) * s for s in steps]
    whole = name in (*WHOLE, "batch_tokens", "train_steps", "params_non_embedding", "train_tokens")
    return name, list(dict.fromkeys(round(v) if whole else float(f"{v:.4g}") for v in values))


def _value(name: str, said: str, text: str) -> Any:
    if name not in FIELDS or FIELDS[name].kind == "category":
        return said
    try:
        number = float(said)
    except ValueError as error:
        raise ConfigError(f"--vary {text}: {said!r} is not a number") from error
    return int(number) if number.is_integer() and abs(number) < 2**53 else number
