"""The encoder: configurations as arrays, with the ranges and values training has seen.

Legend: B runs, F fields. A row is a configuration after `features.derive`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ncpl.data.columns import centres_of, column, lr_shift_of, scaled_by
from ncpl.data.fields import FIELDS, KNOWN, Config, derive
from ncpl.errors import ConfigError


@dataclass(frozen=True)
class Encoded:
    """Encoded configurations, ready for the network."""

    numbers: npt.NDArray[np.float32]
    """(B, F) scaled values; 0 for categories and absent fields."""
    codes: npt.NDArray[np.int64]
    """(B, F) 0 absent, 1 a number, 2.. a category's place in the vocabulary."""
    law: npt.NDArray[np.float64]
    """(B, 6) scaled logs of LAW_FIELDS, then the optimizer's place; NaN where absent or unknown."""

    def __len__(self) -> int:
        """Return B."""
        return len(self.numbers)


LAW_FIELDS = (
    "params_non_embedding",
    "data_tokens",
    "learning_rate",
    "batch_tokens",
    "ffn_ratio",
)
TOLD_BY_OTHERS = frozenset(
    (
        "train_tokens", "nominal_train_tokens", "train_steps", "warmup_frac", "ffn_ratio",
        "decay_frac", "timescale_frac",
    )
)  # fmt: skip
"""Fields whose range says nothing that the range of another does not."""
SHAPE = frozenset(("n_layers", "d_model", "d_ff", "n_heads"))
"""Fields that grow with the size: where the size itself lies outside, they say it again."""
COUNTED_ONCE = SHAPE | {"batch_size_sequences"}
"""Fields that count the same however odd: a shape matters little beside the size, and how odd a
batch is its tokens tell."""
UNSEEN_NAME = 3.0
"""Distance of a name that training has not seen: Marin's optimizers, left out one at a time, are
missed by up to three times what the left-out largest size is (the card tells both)."""
RISING = 3.0
"""Distance of each log of a learning rate above the highest in training, where runs may diverge."""
LEFT_OPEN = frozenset(("learning_rate", "batch_size_sequences", "sequence_length"))
"""Fields whose absence a prediction tells, and so never fills in."""
AT_ZERO, MOST_ODD = 1.0, 4.0
"""Distance of a number at zero, where no training run had it, and the most that one number adds."""
TOLERANCE = 1e-6
"""Relative slack of a range."""


@dataclass(frozen=True)
class Encoder:
    """The fields a model reads, with the range or values each had in training."""

    context: tuple[str, ...]
    recipe: tuple[str, ...]
    compared: tuple[str, ...]
    """Fields of the recipe that only the process reads: each token costs the network time."""
    ranges: dict[str, tuple[float, float]]
    """Smallest and largest value seen in training, of every number in the table."""
    categories: dict[str, tuple[str, ...]]
    lr_shift: dict[str, float] = field(default_factory=dict)
    """Log of each optimizer's median learning rate over that of the most frequent one: the law sees
    learning rates on the latter's scale. An optimizer not seen in training is not shifted."""
    centres: dict[str, dict[str, float]] = field(default_factory=dict)
    """Median scaled value of each recipe number, by optimizer ("" for any other): the network reads
    how far a run is from what is usual with its optimizer."""

    @property
    def fields(self) -> tuple[str, ...]:
        """Return the fields in the order of the columns; the network reads the first ones."""
        return self.network_fields + self.compared

    @property
    def network_fields(self) -> tuple[str, ...]:
        """Return the fields in the order in which the network reads them."""
        return self.context + self.recipe

    @property
    def optimizers(self) -> tuple[str, ...]:
        """Return the optimizers seen in training, in the order of their places."""
        return self.categories.get("optimizer", ())

    @property
    def vocabulary(self) -> dict[tuple[str, str], int]:
        """Return the code of every (field, value) pair of the categories read."""
        pairs = [
            (name, value)
            for name in self.fields
            if FIELDS[name].kind == "category"
            for value in self.categories.get(name, ())
        ]
        return {pair: code for code, pair in enumerate(pairs, start=2)}

    @cached_property
    def constants(self) -> dict[str, Any]:
        """Return the recipe fields that had one value in all training runs, with that value."""
        skipped = TOLD_BY_OTHERS | SHAPE | {"params_non_embedding"}
        numbers = {
            name: int(low) if low.is_integer() else low
            for name, (low, high) in self.ranges.items()
            if low == high and name in KNOWN and name not in skipped
        }
        names = {name: values[0] for name, values in self.categories.items() if len(values) == 1}
        return numbers | names

    @cached_property
    def _usual(self) -> dict[str, Any]:
        return {name: value for name, value in self.constants.items() if name not in LEFT_OPEN}

    def completed(self, row: Config) -> Config:
        """Return a row whose absent fields have the value they had in all training runs, if one.

        What the network says of an absent field is then no guess of its own. A warm-up longer than
        the run or a final learning rate above the peak is left out.
        """
        lacking = {name: v for name, v in self._usual.items() if row.get(name) is None}
        if lacking.get("warmup_steps", 0) > (row.get("train_steps") or math.inf):
            del lacking["warmup_steps"]
        if lacking.get("min_learning_rate", 0) > (row.get("learning_rate") or math.inf):
            del lacking["min_learning_rate"]
        return derive({**row, **lacking}) if lacking else row

    @classmethod
    def fit(
        cls,
        configs: Sequence[Config],
        context: Sequence[str],
        recipe: Sequence[str],
        compared: Sequence[str] = (),
    ) -> Encoder:
        """Return the encoder of training configurations; fields that never vary are left out."""
        unknown = [name for name in (*context, *recipe, *compared) if name not in FIELDS]
        if unknown:
            raise ConfigError(f"fit configuration: {unknown[0]!r} is not in the table of fields")
        ranges: dict[str, tuple[float, float]] = {}
        categories: dict[str, tuple[str, ...]] = {}
        rows = [derive(config) for config in configs]
        for name, entry in FIELDS.items():
            values = [row[name] for row in rows if row.get(name) is not None]
            if not values:
                continue
            if entry.kind == "category":
                categories[name] = tuple(sorted(set(values)))
            else:
                ranges[name] = (float(min(values)), float(max(values)))

        def varies(name: str) -> bool:
            low, high = ranges.get(name, (0.0, 0.0))
            return low < high or len(categories.get(name, ())) > 1

        return cls(
            tuple(filter(varies, context)),
            tuple(filter(varies, recipe)),
            tuple(filter(varies, compared)),
            ranges,
            categories,
            lr_shift_of(rows),
            {
                name: centres_of(name, rows)
                for name in (*recipe, *compared)
                if varies(name) and FIELDS[name].kind == "number"
            },
        )

    def encode(self, configs: Sequence[Config]) -> Encoded:
        """Return the arrays of already checked configurations."""
        return self.encode_rows([derive(config) for config in configs])

    def encode_rows(self, rows: Sequence[Config]) -> Encoded:
        """Return the arrays of rows."""
        vocabulary = self.vocabulary
        numbers = np.zeros((len(rows), len(self.fields)), dtype=np.float32)
        codes = np.zeros((len(rows), len(self.fields)), dtype=np.int64)
        optimizers = [str(row.get("optimizer") or "") for row in rows]
        for j, name in enumerate(self.fields):
            if FIELDS[name].kind == "category":
                codes[:, j] = [vocabulary.get((name, str(row.get(name))), 0) for row in rows]
                continue
            scaled = scaled_by(FIELDS[name], column(rows, name))
            if name in self.centres:
                centre = self.centres[name]
                scaled -= [centre.get(optimizer, centre[""]) for optimizer in optimizers]
            codes[:, j] = np.isfinite(scaled)
            numbers[:, j] = np.nan_to_num(scaled)
        law = np.stack([scaled_by(FIELDS[name], column(rows, name)) for name in LAW_FIELDS], axis=1)
        if self.lr_shift:
            shifts = [self.lr_shift.get(optimizer, 0.0) for optimizer in optimizers]
            law[:, LAW_FIELDS.index("learning_rate")] -= shifts
        place = {name: float(i) for i, name in enumerate(self.optimizers)}
        places = [place.get(optimizer, np.nan) for optimizer in optimizers]
        return Encoded(numbers, codes, np.column_stack([law, places]))

    def distance(self, rows: Sequence[Config]) -> npt.NDArray[np.float64]:
        """Return how far each row (B) lies outside what training has seen; 0 inside.

        Logs of size, data, learning rate and batch beyond their range, summed; more for each name
        that training has not seen, and if any other number is outside, half one more and how odd it
        is in units of its field. A shape counts only where the size is within its range: a larger
        model is deeper or wider.
        """
        far = np.zeros(len(rows))
        other = np.zeros(len(rows))
        sized = self._beyond("params_non_embedding", rows) > 0
        given = set().union(*rows)
        for name in self.ranges:
            if name not in given or name in TOLD_BY_OTHERS:
                continue
            if name in LAW_FIELDS:
                far += self._beyond(name, rows)
                continue
            odd = self._odd(name, rows)
            other = np.maximum(other, np.where(sized, 0.0, odd) if name in SHAPE else odd)
        for name in given & set(self.categories):
            far += UNSEEN_NAME * ~self.knows(name, rows)
        return far + other

    def knows(self, name: str, rows: Sequence[Config]) -> npt.NDArray[np.bool_]:
        """Return for which rows (B) a name is one training has seen, or absent."""
        known = {None, *self.categories.get(name, ())}
        return np.fromiter((row.get(name) in known for row in rows), bool, len(rows))

    def _odd(self, name: str, rows: Sequence[Config]) -> npt.NDArray[np.float64]:
        """Return half one, and more where it is counted, for a number outside its range (B)."""
        ends = np.array(self.ranges[name])
        values = np.nan_to_num(column(rows, name), nan=ends[0])
        slack = TOLERANCE * np.abs(values)
        odd = (values < ends[0] - slack) | (values > ends[1] + slack)
        if name in COUNTED_ONCE or not odd.any():
            return np.where(odd, 0.5, 0.0)
        scaled, (low, high) = (scaled_by(FIELDS[name], v) for v in (values, ends))
        away = np.maximum(scaled - high, low - scaled)
        if FIELDS[name].transform == "log":  # zero has no place on it
            away[(values == 0) | (ends[1] == 0)] = AT_ZERO
        return np.where(odd, 0.5 + np.minimum(away, MOST_ODD), 0.0)

    def _beyond(self, name: str, rows: Sequence[Config]) -> npt.NDArray[np.float64]:
        """Return the logs by which a number lies beyond its range (B); 0 where it is absent."""
        if name not in self.ranges:
            return np.zeros(len(rows))
        low, high = np.log(self.ranges[name])
        logs = np.log(np.maximum(np.nan_to_num(column(rows, name), nan=np.exp(low)), 1e-300))
        above = RISING if name == "learning_rate" else 1.0
        beyond = above * np.maximum(logs - high, 0) + np.maximum(low - logs, 0)
        return np.where(beyond < TOLERANCE, 0.0, beyond)

    def outside(self, row: Config) -> list[str]:
        """Return one sentence for each value of a row outside what training has seen."""
        found = []
        for name, (low, high) in self.ranges.items():
            if name in TOLD_BY_OTHERS:
                continue
            value = row.get(name)
            if value is None or low * (1 - TOLERANCE) <= value <= high * (1 + TOLERANCE):
                continue
            seen = f"always {low:g}" if low == high else f"{low:g} to {high:g}"
            effect = "" if name in LAW_FIELDS else "; no training run shows its effect there"
            found.append(f"{name} is {value:g}, in training it was {seen}{effect}")
        for name, values in self.categories.items():
            if row.get(name) is not None and row[name] not in values:
                found.append(f"{name} is {row[name]!r}, in training it was {', '.join(values)}")
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a card."""
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Encoder:
        """Return the encoder of a card."""
        return cls(
            tuple(raw["context"]),
            tuple(raw["recipe"]),
            tuple(raw["compared"]),
            {name: (low, high) for name, (low, high) in raw["ranges"].items()},
            {name: tuple(values) for name, values in raw["categories"].items()},
            dict(raw["lr_shift"]),
            {name: dict(values) for name, values in raw["centres"].items()},
        )
