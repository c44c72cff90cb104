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


SEVERAL_MEANINGS = {
    "n": "Which count? params_total with the embeddings, params_non_embedding without them.",
    "d": "Tokens? train_tokens were trained on. The width is d_model.",
    "dataset_size": "In tokens? train_tokens were trained on; unique_tokens are there before "
    "repetition.",
    "params": "Which count? params_total with the embeddings, params_non_embedding without them.",
    "n_params": "Which count? params_total with the embeddings, params_non_embedding without.",
    "parameters": "Which count? params_total with the embeddings, params_non_embedding without.",
    "size": "Which count? params_total with the embeddings, params_non_embedding without them.",
    "model_size": "Which count? params_total with the embeddings, params_non_embedding without.",
    "batch": "Of what? batch_size_sequences counts the sequences of one step on all devices; a "
    "batch in tokens is divided by sequence_length.",
    "batch_size": "Of what? batch_size_sequences counts the sequences of one step on all devices, "
    "accumulation included; a batch in tokens is divided by sequence_length.",
    "tokens": "Which tokens? train_tokens were trained on; nominal_train_tokens is the rounded "
    "budget the run is named by; unique_tokens are there before repetition.",
    "loss": "Which loss? final_loss is that at the end, with final_loss_metric and "
    "final_loss_unit beside it; a course goes to curves.",
    "hidden": 'Did you mean "d_model"? The width inside the feed-forward layer is "d_ff".',
    "dim": 'Did you mean "d_model"? The width of one head is "head_dim".',
    "width": 'Did you mean "d_model"? The width inside the feed-forward layer is "d_ff".',
    "heads": 'Did you mean "n_heads"? Heads of keys and values go to "n_kv_heads".',
    "experts": 'Did you mean "n_experts"? Those a token is sent to go to "experts_per_token".',
    "warmup": "Counted in what? warmup_steps counts steps; a share is multiplied by train_steps.",
    "bits": "Of what? weight_bits are those of a weight, activation_bits those of an activation.",
}
"""Names that mean several of our fields, and what to ask oneself."""


def question(key: str) -> str | None:
    """Return what to ask oneself about a name that means several fields; None for another."""
    return SEVERAL_MEANINGS.get(key[:100].lower().replace("-", "_").replace(" ", "_"))


EMPTY_CELLS = frozenset(
    (
        "#n/a",
        "#ref!",
        "#value!",
        "#div/0!",
        "#name?",
        "#null!",
        "#num!",
        "n/a",
        "na",
        "-",
        "--",
        "?",
    )
)
"""What spreadsheets and people put where there is no value."""

DATE = re.compile(
    r"\d{1,4}[-/.]\d{1,2}[-/.]\d{2,4}|\d{1,2}[-. ]{1,2}[A-Za-z]{3,9}\.?|[A-Za-z]{3}[- ]\d{1,4}"
)
DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+(?:[eE][-+]?\d+)?")
DOTTED_THOUSANDS = re.compile(r"[-+]?\d{1,3}(?:\.\d{3}){2,}(?:,\d+)?")
COMMA_THOUSANDS = re.compile(r"[-+]?\d{1,3}(?:,\d{3}){2,}(?:\.\d+)?")
MINUS = str.maketrans({"\u2212": "-", "\u2013": "-"})
SPACED_THOUSANDS = re.compile(r"[-+]?\d{1,3}(?: \d{3})+(?:[.,]\d+)?")
TEXT_MINUS = re.compile(r"[-+]?[\d.,]*[eE]?[\u2212\u2013]\d[\d.,]*(?:[eE][-+]?\d+)?")
"""A minus sign or a dash of a text, where a hyphen is meant."""
PERCENT = re.compile(r"[-+]?\d+(?:[.,]\d+)?\s*%")


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
        if number is None or "," in value:
            return spreadsheet_hint(value) or "Leave the field out if the value is not known."
        text = f"{number:.0f}" if number == int(number) else f"{number:g}"
        return f"Write the number {text}, without quotes."
    if isinstance(value, list) and name == "learning_rate":
        return 'Peak rates of several parameter groups go to "learning_rate_groups".'
    if isinstance(value, bool):
        return "true and false are no numbers."
    return f"{name} is a whole number." if isinstance(value, float) else None


def spreadsheet_hint(value: str) -> str | None:
    """Return what a spreadsheet, or the habits of a country, made of a number; None if nothing."""
    text = value.strip().lstrip("'").replace("\u00a0", " ").replace("\u202f", " ").strip()
    if not text or text.lower() in EMPTY_CELLS:
        return "An empty cell: leave the field out."
    for pattern, told in (
        (DATE, told_date),
        (PERCENT, told_percent),
        (DOTTED_THOUSANDS, told_dots),
        (DECIMAL_COMMA, told_comma),
        (SPACED_THOUSANDS, told_spaces),
        (COMMA_THOUSANDS, told_commas),
        (TEXT_MINUS, told_minus),
    ):
        if pattern.fullmatch(text):
            return told(text)
    if value.lstrip().startswith("'"):
        return f"An apostrophe of a spreadsheet: write {text}."
    number = count_of(text)
    return f"Write {number:g}." if number is not None and text[-1:].isalpha() else None


def told_date(_: str) -> str:
    """Return what to do about a number that became a date."""
    return "A spreadsheet made a date of it: give the column the format text, and write it anew."


def told_percent(text: str) -> str:
    """Return what a percentage is as a share."""
    share = float(text.rstrip("% ").replace(",", ".")) / 100
    return f"A percentage: as a share it is {share:g}."


def told_dots(text: str) -> str:
    """Return a number without the dots between its thousands."""
    whole, _, rest = text.partition(",")
    return f"Dots between thousands: write {whole.replace('.', '')}{'.' + rest if rest else ''}."


def told_comma(text: str) -> str:
    """Return a number with a decimal point, or ask which of two it is."""
    point = text.replace(",", ".")
    if re.fullmatch(r"[-+]?[1-9]\d{0,2},\d{3}", text):
        joined = text.replace(",", "")
        return f"Is the comma for thousands or for decimals? Write {joined} or {point}."
    return f"A decimal comma: write {point}."


def told_commas(text: str) -> str:
    """Return a number without the commas between its thousands."""
    return f"Commas between thousands: write {text.replace(',', '')}."


def told_minus(text: str) -> str:
    """Return a number with a hyphen for its minus."""
    return f"A minus sign of a text: write {text.translate(MINUS)}."


def told_spaces(text: str) -> str:
    """Return a number without the spaces between its thousands."""
    return f"Spaces between thousands: write {text.replace(' ', '')}."


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
