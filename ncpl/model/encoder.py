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
from ncpl.data.fields import EXTRA, FIELDS, KNOWN, Config, derive, extra_of
from ncpl.data.unread import ALWAYS, NOT_READ
from ncpl.errors import ConfigError
from ncpl.model.seen import ANY_DENSITY, LAW_FIELDS, SHAPE, TOLD_BY_OTHERS, Seen


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


LEFT_OPEN = frozenset(("learning_rate", "batch_size_sequences"))
"""Fields that are drawn, not filled in, where they are absent: see completion.py."""


@dataclass(frozen=True, kw_only=True)
class Encoder(Seen):
    """The fields a model reads, with the range or values each had in training."""

    context: tuple[str, ...]
    recipe: tuple[str, ...]
    compared: tuple[str, ...]
    """Fields of the recipe that only the process reads: each token costs the network time."""
    lr_shift: dict[str, float] = field(default_factory=dict)
    """Log of each optimizer's median learning rate over that of the most frequent one: the law sees
    learning rates on the latter's scale. An optimizer not seen in training is not shifted."""
    centres: dict[str, dict[str, float]] = field(default_factory=dict)
    """Median scaled value of each recipe number, by optimizer ("" for any other): the network reads
    how far a run is from what is usual with its optimizer."""
    stated: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Fields that training runs state, by optimizer ("" for all of them): what none of them had is
    not read, since no run shows its effect."""

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

    def read_part(self, config: Config) -> tuple[Config, list[str]]:
        """Return a configuration without what no training run like it had, and those names.

        What the schema knows and no model reads is named too.
        """
        optimizer = config.get("optimizer")
        own = self._read.get(str(optimizer or ""), self._read.get("", ALWAYS))
        if own.issuperset(config) and config.get("optimizer_extra") is None:  # the common case
            return config, []
        left = [name for name in config if name not in own and name not in NOT_READ]
        given = extra_of(config)
        extra = {
            name: value
            for name, value in given.items()
            if EXTRA.get(name) in self.fields
            and (optimizer not in self.optimizers or optimizer in self.centres[EXTRA[name]])
        }
        unread = sorted(set(given) - set(extra))
        if not left and not unread:
            return config, [name for name in config if name in NOT_READ]
        kept = {name: v for name, v in config.items() if name not in left}
        if unread:
            kept["optimizer_extra"] = extra
        told = [name for name in config if name in left or name in NOT_READ]
        return kept, told + [f"optimizer_extra.{name}" for name in unread]

    @cached_property
    def _read(self) -> dict[str, frozenset[str]]:
        """Return what is read and need not be told, by optimizer."""
        return {name: (ALWAYS | set(found)) - NOT_READ for name, found in self.stated.items()}

    @cached_property
    def _usual(self) -> dict[str, Any]:
        return {name: value for name, value in self.constants.items() if name not in LEFT_OPEN}

    def completed(self, row: Config) -> Config:
        """Return a row whose absent fields have the value they had in all training runs, if one.

        What the network says of an absent field is then no guess of its own. A warm-up longer than
        any run had or a final learning rate above the peak is left out.
        """
        lacking = {name: v for name, v in self._usual.items() if row.get(name) is None}
        longest = max(1.0, self.ranges.get("warmup_frac", (0.0, 1.0))[1])
        if lacking.get("warmup_steps", 0) > longest * (row.get("train_steps") or math.inf):
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

        densities = [
            row["data_tokens"] / row["params_non_embedding"]
            for row in rows
            if row.get("data_tokens") and row.get("params_non_embedding")
        ]
        density = ANY_DENSITY
        if densities:
            density = (float(min(densities)), float(max(densities)))
        stated: dict[str, set[str]] = {"": set()}
        for config in configs:
            names = [name for name, value in config.items() if value is not None]
            stated[""].update(names)
            stated.setdefault(str(config.get("optimizer") or ""), set()).update(names)

        def varies(name: str) -> bool:
            low, high = ranges.get(name, (0.0, 0.0))
            return low < high or len(categories.get(name, ())) > 1

        return cls(
            context=tuple(filter(varies, context)),
            recipe=tuple(filter(varies, recipe)),
            compared=tuple(filter(varies, compared)),
            ranges=ranges,
            categories=categories,
            lr_shift=lr_shift_of(rows),
            centres={
                name: centres_of(name, rows)
                for name in (*recipe, *compared)
                if varies(name) and FIELDS[name].kind == "number"
            },
            stated={name: tuple(sorted(found)) for name, found in stated.items()},
            density=density,
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

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a card."""
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Encoder:
        """Return the encoder of a card."""
        return cls(
            context=tuple(raw["context"]),
            recipe=tuple(raw["recipe"]),
            compared=tuple(raw["compared"]),
            ranges={name: (low, high) for name, (low, high) in raw["ranges"].items()},
            categories={name: tuple(values) for name, values in raw["categories"].items()},
            lr_shift=dict(raw["lr_shift"]),
            centres={name: dict(values) for name, values in raw["centres"].items()},
            stated={name: tuple(values) for name, values in raw["stated"].items()},
            density=tuple(raw["density"]),
        )
