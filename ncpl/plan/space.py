"""What a recommendation may vary: one axis a field, inside what training has seen."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ncpl.data.checks import is_number
from ncpl.data.fields import FIELDS, KNOWN, Config, derive
from ncpl.errors import ConfigError
from ncpl.plan.own_family import PlanFit

SIZE_FIELDS = ("params_non_embedding", "train_tokens", "nominal_train_tokens", "train_steps")
SHAPE_FIELDS = ("n_layers", "d_model", "d_ff", "n_heads", "n_kv_heads", "head_dim", "ffn_ratio")
HANDLES = {"batch_tokens": "batch_size_sequences", "warmup_frac": "warmup_steps"}
"""The field a user sets, by the derived field the model reads."""
HELD_AS = {"batch_size_sequences": "batch_tokens"}
"""Where the values of a field are kept, if not under its own name."""
PLAN_ONLY = ("decay_frac",)
"""Derived fields a plan chooses; `finish` turns them into fields of a configuration."""
DECAY_ALL = {"cosine", "linear"}
FOLLOWS = ("timescale_frac", "warmup_frac", "batch_tokens")
"""Derived fields that follow from what is chosen."""
WHOLE = ("batch_size_sequences", "warmup_steps", "decay_steps")
MIN_STATED_FRAC = 0.1
"""Share of an optimizer's runs that must state a field for it to be searched."""
TRIMMED_FRAC = 0.01
"""Share of runs at either end that a range does not count: one odd run supports nothing."""
DECADES_ABOVE_ZERO = 2.0
"""How far below the largest value the scale of a field that may be zero begins."""


@dataclass(frozen=True)
class Axis:
    """The values one field may take; numbers from `low` to `high`, or names."""

    name: str
    low: float = 0.0
    high: float = 0.0
    choices: tuple[str, ...] = ()
    has_zero: bool = False
    """Zero is a value of a field on a log scale, beside the range above it."""
    is_asked: bool = False
    """The range was asked for, and may lie outside what training has seen."""

    @property
    def is_log(self) -> bool:
        """Return whether steps are ratios."""
        return FIELDS[self.name].transform == "log"

    @property
    def ends(self) -> list[Any]:
        """Return the searched range, or the names."""
        return (
            list(self.choices) if self.choices else [0.0 if self.has_zero else self.low, self.high]
        )

    def at(self, shares: Sequence[float]) -> list[Any]:
        """Return the values at shares of the way along the axis, each in [0, 1]."""
        if self.choices:
            last = len(self.choices) - 1
            return [self.choices[min(last, int(share * (last + 1)))] for share in shares]
        return [self._number(share) for share in shares]

    def _number(self, share: float) -> float:
        if self.has_zero:  # the first tenth of the axis is zero
            if share < 0.1:
                return 0.0
            share = (share - 0.1) / 0.9
        if self.is_log:
            value = float(self.low * (self.high / self.low) ** share)
        else:
            value = self.low + (self.high - self.low) * share
        if self.name in WHOLE:
            smallest = math.ceil(self.low - 1e-9)
            return float(max(smallest, min(math.floor(self.high + 1e-9), round(value))))
        return value

    def grid(self, count: int) -> list[Any]:
        """Return at most `count` different values along the axis, its ends included."""
        if self.choices:
            return list(self.choices)
        return list(dict.fromkeys(self.at(np.linspace(0, 1, count).tolist())))


def axes_of(
    fit: PlanFit, optimizer: str | None, sequence_length: float, train: Sequence[Config] = ()
) -> dict[str, Axis]:
    """Return what a fit knows to vary in a recipe, by name; the optimizer itself is left out.

    With configurations of training runs, ranges are those of this optimizer's runs; else, and for
    fields these never state, of all runs together, the learning rate shifted as the fit shifts it.
    """
    encoder = fit.encoder
    found: dict[str, Axis] = {}
    given = {name for config in train for name in derive(config)}
    own = _stated(train, optimizer)
    for name in dict.fromkeys(HANDLES.get(read, read) for read in encoder.fields):
        if not is_searched(name):
            continue
        stated = own if HELD_AS.get(name, name) in given else None
        if stated is None and not _is_usual(fit, name, optimizer):
            continue
        if name == "decay_frac" and set(encoder.categories.get("schedule", ())) <= DECAY_ALL:
            continue  # the schedule decays from the warm-up to the end: nothing to choose
        if FIELDS[name].kind == "category":
            choices = encoder.categories.get(name, ())
            if stated is not None:
                choices = tuple(v for v in choices if v in stated.get(name, ()))
            if len(choices) > 1:
                found[name] = Axis(name, choices=choices)
            continue
        values: Sequence[float]
        if stated is not None:
            values = stated.get(HELD_AS.get(name, name), ())
        else:
            values = encoder.ranges.get(HELD_AS.get(name, name), ())
        if name == "learning_rate" and stated is None and values:
            values = _shifted(values, fit, optimizer)
        if name == "batch_size_sequences":
            values = [value / sequence_length for value in values]
        axis = _axis(name, values)
        if axis is not None:
            found[name] = axis
    return found


def is_searched(name: str) -> bool:
    """Return whether a plan may choose this field."""
    if name in (*SIZE_FIELDS, *SHAPE_FIELDS, "data_tokens", "optimizer", "sequence_length"):
        return False
    return name in FIELDS and (name in KNOWN or name in PLAN_ONLY)


def not_searched(fit: PlanFit) -> list[str]:
    """Return the fields a fit reads that a plan can neither choose nor derive from its choices."""
    told = (*SIZE_FIELDS, *SHAPE_FIELDS, *FOLLOWS, "data_tokens", "optimizer", "sequence_length")
    names = (HANDLES.get(read, read) for read in fit.encoder.fields)
    return [name for name in dict.fromkeys(names) if name not in told and not is_searched(name)]


def _is_usual(fit: PlanFit, name: str, optimizer: str | None) -> bool:
    """Return whether runs of an optimizer state a field, as far as the encoder tells."""
    centres = getattr(fit.encoder, "centres", {}).get(name)
    return centres is None or optimizer is None or optimizer in centres


def _axis(name: str, values: Sequence[float]) -> Axis | None:
    if not len(values) or min(values) == max(values):
        return None
    low, high = float(min(values)), float(max(values))
    if FIELDS[name].transform == "linear" or low > 0:
        return Axis(name, low, high)
    smallest = min((v for v in values if 0 < v < high), default=high / 10**DECADES_ABOVE_ZERO)
    return Axis(name, float(smallest), high, has_zero=True)


def _stated(train: Sequence[Config], optimizer: str | None) -> dict[str, list[Any]]:
    """Return the values that runs of one optimizer state, by field, without the odd few."""
    rows = [derive(config) for config in train if optimizer in (None, config.get("optimizer"))]
    found: dict[str, list[Any]] = {}
    for name, entry in FIELDS.items():
        values = [row[name] for row in rows if row.get(name) is not None]
        if len(values) < max(1.0, MIN_STATED_FRAC * len(rows)):
            continue
        if entry.kind == "category":
            common = [v for v in set(values) if values.count(v) > TRIMMED_FRAC * len(values)]
            found[name] = sorted(common)
        else:
            ends = np.quantile(values, [TRIMMED_FRAC, 1 - TRIMMED_FRAC], method="nearest")
            found[name] = sorted({float(v) for v in values if ends[0] <= v <= ends[1]})
    return found


def _shifted(values: Sequence[float], fit: PlanFit, optimizer: str | None) -> list[float]:
    """Return the learning rates whose place on the law's scale training has seen too."""
    factor = math.exp(getattr(fit.encoder, "lr_shift", {}).get(str(optimizer), 0.0))
    low, high = min(values), max(values)
    return [max(low, low * factor), min(high, high * factor)]


def unread(fit: PlanFit) -> list[str]:
    """Return one sentence for each name that varied in training and that the model ignores."""
    return [
        f"the model does not read {name} (in training {', '.join(values)}): it recommends none"
        for name, values in fit.encoder.categories.items()
        if len(values) > 1 and name not in fit.encoder.fields
    ]


def parse_fixed(texts: Sequence[str]) -> dict[str, Any]:
    """Return fields and values of NAME=VALUE texts. Raises ConfigError, with the nearest name."""
    found: dict[str, Any] = {}
    for text in texts:
        name, value = _split(text, "NAME=VALUE")
        found[name] = _number(value, name) if is_number(name) else value
    return found


def parse_ranges(texts: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Return fields and ranges of NAME=LOW:HIGH texts; raises ConfigError."""
    found: dict[str, tuple[float, float]] = {}
    for text in texts:
        name, value = _split(text, "NAME=LOW:HIGH")
        if name not in FIELDS or FIELDS[name].kind == "category":
            raise ConfigError(f"--range {text}: {name} is not a field with a number")
        low, colon, high = value.partition(":")
        if not colon:
            raise ConfigError(f"--range {text}: expected NAME=LOW:HIGH; for one value: --fix")
        ends = (_number(low, name), _number(high, name))
        if ends[0] >= ends[1]:
            raise ConfigError(f"--range {text}: {low} is not below {high}")
        entry = FIELDS[name]
        if ends[0] < entry.low or ends[1] > entry.high:
            raise ConfigError(
                f"--range {text}: expected {entry.low:g} to {entry.high:g} {entry.unit}".rstrip()
            )
        found[name] = ends
    return found


def _split(text: str, form: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    name = name.strip()
    if not equals or not name or not value.strip():
        raise ConfigError(f"{text!r} is not {form}")
    known = sorted({*KNOWN, "batch_tokens"})
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        raise ConfigError(
            f"unknown field {name!r}" + (f"; the nearest known field is {near[0]}" if near else "")
        )
    return name, value.strip()


def _number(text: str, name: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise ConfigError(f"{name} is {text!r}; expected a number") from error
    return int(value) if value.is_integer() and name in (*WHOLE, "sequence_length") else value


def restrict(
    axes: dict[str, Axis], fixed: Mapping[str, Any], ranges: Mapping[str, tuple[float, float]]
) -> dict[str, Axis]:
    """Return the axes without what is fixed, with the ranges asked for.

    Raises ConfigError for a range of a field that the fit does not know to vary.
    """
    found = {name: axis for name, axis in axes.items() if name not in fixed}
    for name, (low, high) in ranges.items():
        if name in SIZE_FIELDS:
            continue
        if name not in found:
            known = ", ".join(found) or "nothing"
            why = "it never varied in training"
            if name in fixed:
                why = "it is fixed, or had one value in all training runs"
            raise ConfigError(f"--range {name}: {why}; what can be searched: {known}")
        axis = found[name]
        positive = low if low > 0 else max(high / 10**DECADES_ABOVE_ZERO, 1e-30)
        found[name] = dataclasses.replace(
            axis,
            low=positive if axis.is_log else low,
            high=high,
            has_zero=axis.is_log and low == 0,
            is_asked=True,
        )
    return found
