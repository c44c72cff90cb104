"""Rows that programs print or write as JSON, or as a Python dictionary, one a line: one table."""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

TRAIN, HELD_OUT = "train/loss", "validation/loss"
BAR = re.compile(r"(?P<step>\d+)/(?P<of>\d+) \[\d+:\d\d")
"""A progress bar of tqdm."""

NOT_CURVES = frozenset(
    (
        *("epoch", "percentage", "elapsed_time", "remaining_time", "predict_loss", "reward"),
        *("memory(GiB)", "train_speed(iter/s)", "train_speed(s/it)", "throughput", "update"),
        *("total_tokens", "wps", "ups", "wpb", "bsz", "wall", "train_wall", "gb_free", "oom"),
        *("total_flos", "train_runtime", "train_loss", "clip", "best_loss", "valid_best_loss"),
    )
)


@dataclass(frozen=True)
class RowForm:
    """One form of row."""

    program: str
    needs: tuple[str, ...]
    """Keys that make it this form."""
    step: str = ""
    """Key of the step; "" where a progress bar beside it tells the step."""
    of: str = ""
    """Key of the planned steps."""
    split: str = ""
    """What parts a step from the planned steps inside one key."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Our names of its metrics; others keep theirs under `train/`."""
    tokens: str = ""
    units: Mapping[str, str] = field(default_factory=dict)


TRAINER = {"loss": TRAIN, "eval_loss": "eval/loss", "learning_rate": "train/learning_rate"}
FAIRSEQ = {
    "loss": TRAIN,
    "train_loss": TRAIN,
    "nll_loss": "train/nll_loss",
    "ppl": "train/ppl",
    "lr": "train/learning_rate",
    "gnorm": "train/grad_norm",
    "valid_loss": HELD_OUT,
    "valid_nll_loss": "validation/nll_loss",
    "valid_ppl": "validation/ppl",
}
OWN = {
    **dict.fromkeys(("loss", "train_loss", "train/loss"), TRAIN),
    **dict.fromkeys(("val_loss", "valid_loss", "validation_loss", "val/loss"), HELD_OUT),
    "eval_loss": "eval/loss",
    **dict.fromkeys(("lr", "learning_rate"), "train/learning_rate"),
}
BITS = dict.fromkeys((TRAIN, HELD_OUT, "train/nll_loss", "validation/nll_loss"), "bits_per_token")

ROWS: tuple[RowForm, ...] = (
    RowForm(
        "llamafactory",
        ("current_steps", "total_steps"),
        "current_steps",
        "total_steps",
        names=TRAINER,
    ),
    RowForm(
        "ms-swift", ("global_step/max_steps",), "global_step/max_steps", split="/", names=TRAINER
    ),
    RowForm(
        "ms-swift", ("iteration", "loss", "consumed_samples"), "iteration", split="/", names=TRAINER
    ),
    RowForm(
        "fairseq",
        ("valid_num_updates", "valid_loss"),
        "valid_num_updates",
        names=FAIRSEQ,
        units=BITS,
    ),
    RowForm("fairseq", ("num_updates", "loss"), "num_updates", names=FAIRSEQ, units=BITS),
    # A program's own lines: {"step": 10, "loss": 3.2, "val_loss": 3.3, "lr": 1e-3}
    *(
        RowForm("json", (step, loss), step, names=OWN)
        for step in ("step", "iter", "iteration", "global_step")
        for loss in ("loss", "train_loss", "val_loss", "train/loss", "val/loss")
    ),
    # The Trainer's console: {'loss': 3.2, 'grad_norm': 1.2, 'learning_rate': 5e-05, 'epoch': 0.1}
    RowForm("trainer", ("loss", "epoch", "learning_rate"), names=TRAINER),
    RowForm("trainer", ("eval_loss", "eval_runtime"), names=TRAINER),
)


def row_of(line: str) -> dict[str, Any] | None:
    """Return the row that a line holds, as JSON or as a Python dictionary; None for any other."""
    at = line.find("{")
    text = line[at:].strip()
    if at < 0 or not text.endswith("}") or len(text) > 20_000:
        return None
    found: Any
    try:
        found = json.loads(text)
    except ValueError:
        try:
            found = ast.literal_eval(re.sub(r"(?<=: )(nan|inf|-inf)\b", r"'\1'", text))
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            return None
    return found if isinstance(found, dict) else None


def form_of(row: Mapping[str, Any]) -> RowForm | None:
    """Return the form of a row, None if it is of none."""
    return next((form for form in ROWS if all(key in row for key in form.needs)), None)


def step_of(form: RowForm, row: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Return the step of a row and the planned steps, where it states them."""
    text = row.get(form.step)
    if form.split and isinstance(text, str):
        own, _, planned = text.partition(form.split)
        return whole(own), whole(planned)
    return whole(text), whole(row.get(form.of)) if form.of else None


def whole(value: Any) -> int | None:
    """Return a whole number, from a number or its text; None for anything else."""
    number = number_in(value)
    return int(number) if number is not None and number == int(number) else None


def number_in(value: Any) -> float | None:
    """Return the number of a value, NaN included; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value.replace("%", "") if isinstance(value, str) else value)
    except ValueError:
        return None
    return number if not math.isinf(number) or isinstance(value, (str, float)) else None


def values_of(form: RowForm, row: Mapping[str, Any]) -> dict[str, float]:
    """Return the metrics of a row, by our names."""
    found = {}
    for key, value in row.items():
        if key in (form.step, form.of, "num_updates", "valid_num_updates", form.tokens):
            continue
        if (key in NOT_CURVES and key not in form.names) or key.endswith(
            ("_runtime", "_per_second", "_time")
        ):
            continue
        number = number_in(value)
        if number is not None:
            name = form.names.get(key) or (
                f"eval/{key[5:]}" if key.startswith("eval_") else f"train/{key}"
            )
            found[name] = number
    return found
