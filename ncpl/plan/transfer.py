"""Settings carried from one run to another: rules people use, and what the catalog says of each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ncpl.errors import ConfigError
from ncpl.laws.steplaw import PUBLISHED
from ncpl.plan.measured import MeasuredRuns
from ncpl.plan.optima import Slope, cells_at_best_batch, cells_of, slopes

AT_BEST = "learning_rate at the best batch"
NEEDED = ("params_non_embedding", "train_tokens", "batch_tokens")


@dataclass(frozen=True)
class Rule:
    """A published rule of how an optimum moves, and the slope that measured optima have."""

    name: str
    what: str
    """The optimum, and what it moves with."""
    published: float
    """Power in the rule."""
    origin: str
    measured: Slope | None
    """None where too few sweeps tell."""
    agrees: bool | None
    """The published power lies inside the measured interval."""


@dataclass(frozen=True)
class Carried:
    """The learning rate that one rule gives for another run."""

    rule: str
    learning_rate: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Transfer:
    """Rules beside what was measured, and a setting carried by each."""

    source: str
    optimizer: str | None
    n_cells: int
    rules: list[Rule]
    carried: list[Carried]
    notes: list[str]

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


PUBLISHED_RULES = (
    ("square root of the batch", "learning_rate", "batch_tokens", 0.5,
     "Malladi et al. 2022, for Adam; Hoffer et al. 2017"),
    ("linear in the batch", "learning_rate", "batch_tokens", 1.0, "Goyal et al. 2017, for SGD"),
    ("Step Law, size", AT_BEST, "params_non_embedding", PUBLISHED.learning_rate[1],
     "Li et al. 2025"),
    ("Step Law, tokens", AT_BEST, "train_tokens", PUBLISHED.learning_rate[2], "Li et al. 2025"),
    ("standard parametrization by width", "learning_rate", "params_non_embedding", -1 / 3,
     "Yang et al. 2022: rate ~ 1 / width, for width ~ size^(1/3)"),
    ("muP", "learning_rate", "params_non_embedding", 0.0,
     "Yang et al. 2022: the rate of the base width stays"),
    ("AdamW timescale", "weight_decay", "batch_tokens", 1.0,
     "Bergsma et al. 2025, at fixed rate and data: batch / (rate x decay x tokens) stays"),
    ("weight decay by size", "weight_decay", "params_non_embedding", 1 / 6,
     "decay ~ sqrt(width), for width ~ size^(1/3)"),
)  # fmt: skip


def transfer(
    known: MeasuredRuns, source: str, optimizer: str | None,
    begin: Mapping[str, float] | None = None, end: Mapping[str, float] | None = None,
) -> Transfer:  # fmt: skip
    """Return the rules beside the catalog's slopes; with `begin` and `end`, a rate carried by each.

    `begin` holds a learning rate with size, tokens and batch, `end` the last three. Raises
    ConfigError where one is missing or not positive.
    """
    found = {
        field: cells_of(known, optimizer, field) for field in ("learning_rate", "weight_decay")
    }
    found[AT_BEST] = cells_at_best_batch(known, optimizer)
    measured = {
        (field, slope.name): slope for field, cells in found.items() for slope in slopes(cells)
    }
    rules = [
        Rule(
            name, f"{field} ~ {over}^p", published, origin, (own := measured.get((field, over))),
            None if own is None else own.low <= published <= own.high,
        )
        for name, field, over, published, origin in PUBLISHED_RULES
    ]  # fmt: skip
    notes = [
        f"too few measured sweeps of {field} tell how its optimum moves ({len(cells)} cells)"
        for field, cells in found.items()
        if not any(key[0] == field for key in measured)
    ]
    carried = [] if begin is None or end is None else _carried(measured, begin, end)
    return Transfer(source, optimizer, len(found["learning_rate"]), rules, carried, notes)


def _carried(
    measured: Mapping[tuple[str, str], Slope], begin: Mapping[str, float], end: Mapping[str, float]
) -> list[Carried]:
    for name, where in (
        *((n, begin) for n in (*NEEDED, "learning_rate")),
        *((n, end) for n in NEEDED),
    ):
        side = "--from" if where is begin else "--to"
        if not where.get(name, 0) > 0:
            raise ConfigError(f"{side} needs {name}, a positive number")
    rate = begin["learning_rate"]
    away = {name: math.log(end[name] / begin[name]) for name in NEEDED}
    size, tokens, batch = (away[name] for name in NEEDED)
    _, by_size, by_tokens = PUBLISHED.learning_rate
    found = [
        Carried("square root of the batch, no other change", rate * math.exp(0.5 * batch)),
        Carried("linear in the batch, no other change", rate * math.exp(batch)),
        Carried(
            "Step Law, both runs at their best batch",
            rate * math.exp(by_size * size + by_tokens * tokens),
        ),
        Carried("1 / width, square root of the batch", rate * math.exp(-size / 3 + 0.5 * batch)),
        Carried("muP, square root of the batch", rate * math.exp(0.5 * batch)),
    ]
    slopes_of = [(measured.get(("learning_rate", name)), away[name]) for name in NEEDED]
    if all(slope is not None or far == 0 for slope, far in slopes_of):
        given = [(slope, far) for slope, far in slopes_of if slope is not None]
        at = sum(slope.value * far for slope, far in given)
        half = math.sqrt(sum(((slope.high - slope.low) / 2 * far) ** 2 for slope, far in given))
        found.append(
            Carried("measured slopes of the catalog", rate * math.exp(at),
                    rate * math.exp(at - half), rate * math.exp(at + half))
        )  # fmt: skip
    return found
