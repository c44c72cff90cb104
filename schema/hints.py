"""What most likely went wrong with a value: units, spellings, types."""

from __future__ import annotations

import difflib
import math
import re
from typing import Any

RATIO_FIELDS = ("warmup_steps", "decay_steps")
COUNT = re.compile(
    r"([-+]?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9][0-9_]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)"
    r"\s*([kKmMbBgGtT]?)"
)
SUFFIXES = {"k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12}

SPELLINGS = {
    "completed": "finished",
    "complete": "finished",
    "done": "finished",
    "success": "finished",
    "crashed": "failed",
    "killed": "truncated",
    "stopped": "truncated",
    "nan": "diverged",
    "nats": "nats_per_token",
    "nats/token": "nats_per_token",
    "cross_entropy": "nats_per_token",
    "bits": "bits_per_token",
    "bpb": "bits_per_byte",
    "bits/byte": "bits_per_byte",
    "ppl": "perplexity",
    "acc": "accuracy",
    "pretraining": "pretrain",
    "pre-training": "pretrain",
    "continued_pretraining": "cpt",
    "midtraining": "cpt",
    "finetune": "sft",
    "fine-tuning": "sft",
    "rlhf": "rl",
    "decoder-only": "decoder",
    "encoder-decoder": "encoder_decoder",
    "val": "validation",
    "valid": "validation",
    "eval": "validation",
}
"""Words people use for the values of our enumerations."""


def value_hint(pointer: str, rule: str, value: Any, wanted: Any) -> str | None:
    """Return one sentence on how to mend a value, if its shape tells; None if it does not."""
    name = pointer.rsplit("/", 1)[-1]
    if isinstance(value, str):
        value = value[:200]  # long enough for any hint, short enough to compare
    if name in RATIO_FIELDS and is_number(value) and 0 < value < 1:
        return f"A value below 1 is a ratio; {name} counts steps: multiply it by train_steps."
    if name.endswith("_frac") and is_number(value) and value > 1:
        return "A share lies between 0 and 1; divide a percentage by 100."
    if rule == "type":
        return type_hint(name, value, wanted)
    if rule == "enum" and isinstance(value, str):
        return enum_hint(value, [w for w in wanted if isinstance(w, str)])
    if rule == "pattern" and isinstance(value, str):
        return pattern_hint(name, value, str(wanted))
    return None


def is_number(value: Any) -> bool:
    """Return whether a value is a number; true and false are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def enum_hint(value: str, wanted: list[str]) -> str | None:
    """Return the value of an enumeration a word most likely means."""
    meant = SPELLINGS.get(value.lower().strip())
    if meant not in wanted:
        close = difflib.get_close_matches(value.lower().strip(), wanted, n=1, cutoff=0.6)
        meant = close[0] if close else None
    return f'Did you mean "{meant}"?' if meant else None


def type_hint(name: str, value: Any, wanted: Any) -> str | None:
    """Return how to write a value of the wrong type."""
    types = wanted if isinstance(wanted, list) else [wanted]
    if "number" in types or "integer" in types:
        return number_hint(name, value)
    if "string" in types and is_number(value):
        return f'Write it as text: "{value}".'
    if "boolean" in types:
        return "Write true or false, without quotes."
    return None


def number_hint(name: str, value: Any) -> str | None:
    """Return how to write a number that was given as something else."""
    if isinstance(value, str):
        number = count_of(value)
        if number is None:
            return "Leave the field out if the value is not known."
        text = f"{number:.0f}" if number == int(number) else f"{number:g}"
        return f"Write the number {text}, without quotes."
    if isinstance(value, list) and name == "learning_rate":
        return 'Peak rates of several parameter groups go to "learning_rate_groups".'
    if isinstance(value, bool):
        return "true and false are no numbers."
    return f"{name} is a whole number." if isinstance(value, float) else None


def count_of(text: str) -> float | None:
    """Return the finite number a text such as "1.5B" means, or None."""
    match = COUNT.fullmatch(text.strip())
    if match is None or len(text) > 40:
        return None
    number = float(match[1].replace(",", "").replace("_", ""))
    number *= SUFFIXES.get(match[2].lower(), 1.0)
    return number if math.isfinite(number) else None


def pattern_hint(name: str, value: str, pattern: str) -> str | None:
    """Return how to spell a text of the wrong form."""
    leaves_folder = ".." in value or value.startswith("/") or ":" in value
    hints = (
        (value != value.strip(), "Remove the space or line break at its ends."),
        (re.search(pattern, value.lower()), f'Write it in lower case: "{value.lower()}".'),
        (
            name == "run_id" and "/" not in value,
            f'Put the source before it: "<source>/{value[:60]}".',
        ),
        (name == "schema_version", 'This program reads version "1.0".'),
        (
            name == "file" and leaves_folder,
            "Name a file in the document's own folder or below it.",
        ),
        (name == "url", "Start it with https://."),
    )
    return next((hint for applies, hint in hints if applies), None)
