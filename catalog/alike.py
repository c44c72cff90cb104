"""Runs that share the settings of another: its size, data, batch and learning rate, nearly.

Such a run is a repetition of the other, or gives its loss away, whatever it calls its optimizer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ncpl_data.catalog.groups import is_near, tokens_of

Row = Mapping[str, Any]

SAME_FRAC = 0.02
"""How far learning rates and batches of two runs with the same settings may differ: rounding."""
TOKENS_FACTOR = 1.25
"""How far their tokens may: a run that is a little longer ends at the other's loss, nearly."""
LESSER = {"weight_decay": 0.05, "adam_beta1": 0.02, "adam_beta2": 0.02, "warmup_steps": 0.3}
"""Settings that two such runs must not contradict each other in, and how far they may differ."""

COLUMNS = (
    "run_id", "source", "optimizer", "params_non_embedding", "n_layers", "d_model",
    "nominal_train_tokens", "train_tokens", "train_steps", "batch_size_sequences",
    "sequence_length", "learning_rate", *LESSER,
)  # fmt: skip
"""Columns of `runs` that are compared."""


class Alike:
    """Runs by their learning rate and batch, to find those that share a run's settings."""

    def __init__(self, rows: Iterable[Row]) -> None:
        """Index rows with the columns `COLUMNS`; those without the settings are left out."""
        self.cells: dict[tuple[int, int], list[Row]] = {}
        for row in rows:
            self.add(row)

    def add(self, row: Row) -> None:
        """Remember one row; one without the settings is left out."""
        cell = cell_of(row)
        if cell is not None:
            self.cells.setdefault(cell, []).append(row)

    def find(self, row: Row) -> Iterator[Row]:
        """Yield the rows that share the settings of a row."""
        cell = cell_of(row)
        if cell is None:
            return
        for dx in (-1, 0, 1):
            for dy in (-1, 0, 1):
                for other in self.cells.get((cell[0] + dx, cell[1] + dy), ()):
                    if shares_settings(row, other):
                        yield other


def cell_of(row: Row) -> tuple[int, int] | None:
    """Return the place of a run by learning rate and batch; None where one is not known."""
    rate, batch = row.get("learning_rate"), batch_of(row)
    if not rate or not batch:
        return None
    return math.floor(math.log(rate) / SAME_FRAC), math.floor(math.log(batch) / SAME_FRAC)


def batch_of(row: Row) -> float | None:
    """Return the tokens of one step; None where they are not known."""
    batch, length = row.get("batch_size_sequences"), row.get("sequence_length")
    if batch and length:
        return float(batch * length)
    tokens, steps = tokens_of(row), row.get("train_steps")
    return tokens / steps if tokens and steps else None


def length_of(row: Row) -> float | None:
    """Return the tokens of the whole run; None where they are not known."""
    tokens, batch, steps = tokens_of(row), batch_of(row), row.get("train_steps")
    return tokens or (batch * steps if batch and steps else None)


def shares_settings(row: Row, other: Row) -> bool:
    """Return whether two runs have one size, data, batch and learning rate, up to rounding.

    False where one of these is not known of both.
    """
    return (
        have_one_size(row, other)
        and within(row.get("learning_rate"), other.get("learning_rate"), SAME_FRAC)
        and within(batch_of(row), batch_of(other), SAME_FRAC)
        and within(length_of(row), length_of(other), math.log(TOKENS_FACTOR))
        and not any(contradicts(row.get(c), other.get(c), frac) for c, frac in LESSER.items())
    )


def have_one_size(row: Row, other: Row) -> bool:
    """Return whether two runs are of one size, by parameters or, without them, by shape."""
    sizes = row.get("params_non_embedding"), other.get("params_non_embedding")
    if sizes[0] and sizes[1]:
        return is_near(sizes[0], sizes[1])
    shapes = [(r.get("n_layers"), r.get("d_model")) for r in (row, other)]
    return all(shapes[0]) and shapes[0] == shapes[1]


def within(one: float | None, other: float | None, frac: float) -> bool:
    """Return whether two values are known and lie within a share of each other."""
    return bool(one and other and abs(math.log(one / other)) <= frac)


def contradicts(one: float | None, other: float | None, frac: float) -> bool:
    """Return whether two values are known and lie further apart than a share."""
    if one is None or other is None or one == other:
        return False
    return not within(one, other, frac)
