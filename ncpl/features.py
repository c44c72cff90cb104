"""Configuration fields as numbers: one table, and the encoder fitted on the training runs.

Legend: B runs, F fields.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ncpl.errors import ConfigError

Config = Mapping[str, Any]


@dataclass(frozen=True)
class Field:
    """One field: scaled value = (transform(value) - transform(centre)) / scale."""

    name: str
    unit: str
    kind: Literal["number", "category"] = "number"
    transform: Literal["log", "linear"] = "log"
    centre: float = 1.0
    scale: float = 1.0
    low: float = 0.0
    high: float = math.inf

    def scaled(self, value: float) -> float:
        """Return the scaled value; zero on a log scale counts as the smallest positive step."""
        if self.transform == "linear":
            return (value - self.centre) / self.scale
        return (math.log(max(value, 1e-12)) - math.log(self.centre)) / self.scale


# One row a field. Centres are round numbers near the middle of the public logs, so that bundles
# share coordinates; ranges are those of a sane run, and catch a wrong unit.
FIELDS: dict[str, Field] = {
    entry.name: entry
    for entry in (
        Field("params_non_embedding", "parameters", centre=250e6, low=1e5, high=1e13),
        Field("data_tokens", "tokens", centre=15e9, low=1e6, high=1e15),
        Field("learning_rate", "per step, peak", centre=2e-3, low=1e-8, high=1.0),
        Field("batch_tokens", "tokens", centre=5e5, low=1, high=1e10),
        Field("ffn_ratio", "d_ff / d_model", centre=4.0, low=1e-3, high=1e4),
        Field("n_layers", "layers", centre=10, low=1, high=1e4),
        Field("d_model", "features", centre=1024, low=8, high=1e6),
        Field("d_ff", "features", centre=4096, low=8, high=1e7),
        Field("n_heads", "heads", centre=16, low=1, high=1e4),
        Field("sequence_length", "tokens", centre=2048, low=8, high=1e8),
        Field("batch_size_sequences", "sequences", centre=256, low=1, high=1e7),
        Field("train_steps", "steps", centre=2e4, low=1, high=1e9),
        Field("train_tokens", "tokens", centre=15e9, low=1e6, high=1e15),
        Field("nominal_train_tokens", "tokens", centre=15e9, low=1e6, high=1e15),
        Field("warmup_steps", "steps", centre=2000, low=0, high=1e8),
        Field("warmup_frac", "share of the steps", centre=0.1, low=0, high=1e4),
        Field("min_learning_rate", "per step", centre=1e-5, low=0, high=1.0),
        Field("weight_decay", "", transform="linear", centre=0.1, scale=0.1, low=0, high=10),
        Field("adam_beta1", "", transform="linear", centre=0.9, scale=0.05, low=0, high=1),
        Field("adam_beta2", "", transform="linear", centre=0.95, scale=0.05, low=0, high=1),
        Field("adam_epsilon", "", centre=1e-8, scale=5.0, low=0, high=1),
        Field("grad_clip_norm", "", transform="linear", centre=1.0, low=0, high=1e6),
        Field("momentum", "", transform="linear", centre=0.9, scale=0.05, low=0, high=1),
        Field("optimizer", "name", kind="category"),
        Field("schedule", "name", kind="category"),
    )
}
DERIVED = ("data_tokens", "batch_tokens", "warmup_frac", "ffn_ratio")
SILENT = (
    "run_id", "source", "source_run", "status", "model_family", "n_kv_heads", "head_dim",
    "vocab_size", "n_experts", "experts_per_token", "params_total", "params_active",
    "optimizer_extra", "decay_steps", "dataset", "tokenizer", "precision",
)  # fmt: skip
"""Fields a configuration may carry although no model reads them."""


def check_config(config: Config, *, where: str = "configuration") -> dict[str, Any]:
    """Return a copy without nulls. Raises ConfigError for an unknown field or a value out of range.

    `where` names the configuration in the error.
    """
    known = [name for name in FIELDS if name not in DERIVED] + list(SILENT)
    kept: dict[str, Any] = {}
    for name, value in config.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"; the nearest known field is {near[0]}" if near else ""
            raise ConfigError(f"{where}: unknown field {name!r}{hint}")
        if value is None:
            continue
        kept[name] = _checked(FIELDS[name], value, where) if name in FIELDS else value
    return kept


def _checked(field: Field, value: Any, where: str) -> Any:
    if field.kind == "category":
        if isinstance(value, str):
            return value
        raise ConfigError(f"{where}: {field.name} is {value!r}; expected a name in quotes")
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError(f"{where}: {field.name} is {value!r}; expected a number")
    if not field.low <= value <= field.high:
        unit = f" ({field.unit})" if field.unit else ""
        raise ConfigError(
            f"{where}: {field.name} is {value:g}; expected {field.low:g} to {field.high:g}{unit}"
        )
    return value


def derive(config: Config) -> dict[str, Any]:
    """Return the configuration with derived fields: model size, data, batch and warm-up share.

    Non-embedding size is layers x (4 hidden^2 + 3 hidden ffn), the count of the published split.
    """
    full = dict(config)
    get = full.get
    if get("params_non_embedding") is None and all(get(k) for k in ("n_layers", "d_model", "d_ff")):
        full["params_non_embedding"] = full["n_layers"] * (
            4 * full["d_model"] ** 2 + 3 * full["d_model"] * full["d_ff"]
        )
    batch, length, steps = get("batch_size_sequences"), get("sequence_length"), get("train_steps")
    if batch and length:
        full["batch_tokens"] = batch * length
    tokens = get("nominal_train_tokens") or get("train_tokens")
    if tokens is None and steps and "batch_tokens" in full:
        tokens = steps * full["batch_tokens"]
    full["data_tokens"] = tokens
    if steps is None and tokens and "batch_tokens" in full:
        steps = tokens / full["batch_tokens"]
    if get("d_ff") and get("d_model"):
        full["ffn_ratio"] = full["d_ff"] / full["d_model"]
    if steps and get("warmup_steps") is not None:
        full["warmup_frac"] = full["warmup_steps"] / steps
    return full


@dataclass(frozen=True)
class Encoded:
    """Encoded configurations, ready for the network."""

    numbers: npt.NDArray[np.float32]
    """(B, F) scaled values; 0 for categories and absent fields."""
    codes: npt.NDArray[np.int64]
    """(B, F) 0 absent, 1 a number, 2.. a category's place in the vocabulary."""
    law: npt.NDArray[np.float64]
    """(B, 5) scaled logs of LAW_FIELDS; NaN where absent."""

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


@dataclass(frozen=True)
class Encoder:
    """The fields a model reads, with the range or values each had in training."""

    context: tuple[str, ...]
    recipe: tuple[str, ...]
    ranges: dict[str, tuple[float, float]]
    """Smallest and largest value seen in training, of every number in the table."""
    categories: dict[str, tuple[str, ...]]
    lr_shift: dict[str, float] = field(default_factory=dict)
    """Log of each optimizer's median learning rate over that of the most frequent one: the law sees
    learning rates on the latter's scale. An optimizer not seen in training is not shifted."""

    @property
    def fields(self) -> tuple[str, ...]:
        """Return the fields in the order in which the network reads them."""
        return self.context + self.recipe

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

    @classmethod
    def fit(
        cls, configs: Sequence[Config], context: Sequence[str], recipe: Sequence[str]
    ) -> Encoder:
        """Return the encoder of training configurations; fields that never vary are left out."""
        unknown = [name for name in (*context, *recipe) if name not in FIELDS]
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
            ranges,
            categories,
            _lr_shift(rows),
        )

    def encode(self, configs: Sequence[Config]) -> Encoded:
        """Return the arrays of already checked configurations."""
        vocabulary = self.vocabulary
        numbers = np.zeros((len(configs), len(self.fields)), dtype=np.float32)
        codes = np.zeros((len(configs), len(self.fields)), dtype=np.int64)
        law = np.full((len(configs), len(LAW_FIELDS)), np.nan)
        for i, config in enumerate(configs):
            row = derive(config)
            for j, name in enumerate(self.fields):
                value = row.get(name)
                if value is None:
                    continue
                if FIELDS[name].kind == "category":
                    codes[i, j] = vocabulary.get((name, value), 0)
                else:
                    numbers[i, j], codes[i, j] = FIELDS[name].scaled(value), 1
            for j, name in enumerate(LAW_FIELDS):
                if row.get(name) is not None:
                    law[i, j] = FIELDS[name].scaled(row[name])
            law[i, LAW_FIELDS.index("learning_rate")] -= self.lr_shift.get(
                str(row.get("optimizer")), 0.0
            )
        return Encoded(numbers, codes, law)

    def outside(self, config: Config) -> list[str]:
        """Return one sentence for each value outside what training has seen."""
        found = []
        row = derive(config)
        for name, (low, high) in self.ranges.items():
            if name in (
                "train_tokens",
                "nominal_train_tokens",
                "train_steps",
                "warmup_frac",
                "ffn_ratio",
            ):
                continue  # told by other fields
            value = row.get(name)
            if value is None or low * (1 - 1e-6) <= value <= high * (1 + 1e-6):
                continue
            seen = f"always {low:g}" if low == high else f"{low:g} to {high:g}"
            effect = "" if name in LAW_FIELDS else "; the prediction does not follow it there"
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
            {name: (low, high) for name, (low, high) in raw["ranges"].items()},
            {name: tuple(values) for name, values in raw["categories"].items()},
            dict(raw["lr_shift"]),
        )


def _lr_shift(rows: Sequence[Config]) -> dict[str, float]:
    rates: dict[str, list[float]] = {}
    for row in rows:
        if row.get("optimizer") and row.get("learning_rate"):
            rates.setdefault(row["optimizer"], []).append(math.log(row["learning_rate"]))
    if not rates:
        return {}
    medians = {name: float(np.median(values)) for name, values in rates.items()}
    common = max(sorted(rates), key=lambda name: len(rates[name]))
    return {name: median - medians[common] for name, median in sorted(medians.items())}
