"""Families of comparable losses: which runs a loss may be compared, or learned, with.

A family is publisher, metric, training data, tokenizer and unit. Names of data sets and tokenizers
are canonical first (catalog/data/names.toml). Losses of two publishers compare only on a fixed
public set of tokens: then the publisher is `public` and the metric the set. A training loss, or one
on a publisher's own held-out part, is the publisher's own. Bits per byte do not depend on the
tokenizer. Training data is part of it although losses on one set compare across it: how a loss
falls with size and data is another law for other data.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ncpl_data.catalog.budget import budget
from ncpl_data.catalog.names import canonical, is_public, publisher, table
from ncpl_data.catalog.sizes import sizes
from ncpl_data.catalog.twins import physical_runs

RULE = "families/1: publisher or public set, metric, training data, tokenizer, unit"
COMPARABLE_UNITS = ("nats_per_token", "bits_per_token", "bits_per_byte", "perplexity")
"""Units of a loss of text; others are scores."""
UNKNOWN = "?"
PUBLIC = "public"
MIN_USABLE = 10
"""Usable runs below which a family is not split: all of it is trained on."""
MIN_SIZES = 3
SAME_SIZE = 0.01
"""Sizes nearer than this share are one."""

Row = Mapping[str, Any]


@dataclass(frozen=True, order=True)
class Family:
    """What losses have in common that compare."""

    publisher: str
    """Whose losses they are; `public` on a fixed public set."""
    metric: str
    """The publisher's name of it; on a public set the set."""
    dataset: str
    """What was trained on."""
    tokenizer: str
    unit: str

    @property
    def key(self) -> str:
        """The family's name: its five parts, joined."""
        return "|".join((self.publisher, self.metric, self.dataset, self.tokenizer, self.unit))


def family_of(row: Row) -> Family | None:
    """Return the family of a run's final loss; None without a loss metric or a unit of loss."""
    metric, unit = row.get("final_loss_metric"), row.get("final_loss_unit")
    if metric is None or unit not in COMPARABLE_UNITS:
        return None
    source = str(row["source"])
    entry: Row = next((m for m in row.get("metrics") or () if m["name"] == metric), {})
    evaluation = canonical("datasets", entry.get("dataset"))
    data = canonical("datasets", row.get("dataset")) or UNKNOWN
    tokenizer = canonical("tokenizers", row.get("tokenizer"))
    if unit == "bits_per_byte":
        tokenizer = "any"
    if is_public(evaluation) and tokenizer is not None:
        return Family(PUBLIC, str(evaluation), data, tokenizer, unit)
    renamed = table()["metrics"].get(f"{source} {metric}", metric)
    parts = (publisher(source, metric), renamed, data, tokenizer or UNKNOWN, unit)
    return Family(*parts)


def bits_per_byte(nats_per_token: float, bytes_per_token: float) -> float:
    """Return a loss in bits per byte. Raises ValueError unless the bytes are positive."""
    if not bytes_per_token > 0:
        raise ValueError(f"bytes per token are {bytes_per_token}; expected more than 0")
    return nats_per_token / (math.log(2) * bytes_per_token)


def nats_per_token(bits: float, bytes_per_token: float) -> float:
    """Return a loss in nats per token. Raises ValueError unless the bytes are positive."""
    if not bytes_per_token > 0:
        raise ValueError(f"bytes per token are {bytes_per_token}; expected more than 0")
    return bits * math.log(2) * bytes_per_token


class Full(dict[str, Any]):
    """A row with what follows from it by rule; a column it lacks is None."""

    def __init__(self, row: Row) -> None:
        """Complete a row, unless it is one that was."""
        super().__init__(row)
        if not isinstance(row, Full):
            for rule in (sizes, budget):
                self.update({c: v for c, (v, _) in rule(self).items() if self[c] is None})

    def __missing__(self, key: str) -> None:
        """Return None for a column the row lacks."""
        return


def has_outcome(row: Row) -> bool:
    """Return whether a run ended with a loss that can be learned."""
    return row["final_loss"] is not None and row["status"] in (None, "finished")


def tokens_of(row: Row) -> int | None:
    """Return the token budget of a run."""
    tokens = row["nominal_train_tokens"] or row["train_tokens"]
    return None if tokens is None else int(tokens)


def is_usable(row: Row) -> bool:
    """Return whether a run can be learned from in its family: loss, size and tokens are known."""
    return bool(has_outcome(row) and row["params_non_embedding"] and tokens_of(row))


@dataclass(frozen=True)
class Described:
    """One family and what the catalog holds of it."""

    family: str
    publisher: str
    metric: str
    dataset: str
    tokenizer: str
    unit: str
    sources: tuple[str, ...]
    runs: int
    """Physical runs with a final loss."""
    usable: int
    sizes: int
    min_params: int | None
    max_params: int | None
    min_tokens: int | None
    max_tokens: int | None
    min_loss: float
    max_loss: float
    varies: tuple[str, ...]
    """Settings of which its runs have more than one value."""
    is_split: bool
    """Whether the community split holds parts of it out; a smaller one is trained on whole."""

    def as_dict(self) -> dict[str, Any]:
        """Return the family as a JSON object."""
        return asdict(self)


SHAPE_COLUMNS = (
    "n_layers", "d_model", "d_ff", "n_heads", "n_kv_heads", "head_dim", "attention", "vocab_size",
    "is_embedding_tied", "activation", "is_ffn_gated", "has_bias", "norm", "position_encoding",
    "architecture", "experts_per_token", "d_ff_expert", "d_ff_shared_expert", "n_dense_layers",
    "n_recurrent_steps", "n_parallel_streams", "params_total", "params_active",
    "params_active_non_embedding",
)  # fmt: skip
"""Columns that a size may follow from."""
BUDGET_COLUMNS = ("sequence_length", "train_steps", "batch_ramp")
COLUMNS = (
    "run_id", "source", "source_run", "same_as", "parent_run_id", "status", "final_loss",
    "final_loss_metric", "final_loss_unit", "metrics", "dataset", "tokenizer", "optimizer",
    "params_non_embedding", "nominal_train_tokens", "train_tokens", "learning_rate", "schedule",
    "batch_size_sequences", "warmup_steps", "weight_decay", "seed", "n_experts",
    "mixture", "unique_tokens", "precision", "stage", "modality", *SHAPE_COLUMNS,
    *BUDGET_COLUMNS,
)  # fmt: skip
"""Columns of `runs` that families look at."""
VARYING = (
    "params_non_embedding", "tokens", "learning_rate", "batch_size_sequences", "schedule",
    "warmup_steps", "weight_decay", "optimizer", "seed", "n_experts", "dataset", "mixture",
    "unique_tokens", "precision",
)  # fmt: skip


def by_family(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Return the pretraining runs of text with a final loss, by family, sorted by name."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        if not is_text_pretraining(row) or row["final_loss"] is None:
            continue
        family = family_of(row)
        if family is not None:
            found.setdefault(family.key, []).append(row)
    return dict(sorted(found.items()))


def is_text_pretraining(row: Row) -> bool:
    """Return whether a run trains a language model from scratch, as far as it says."""
    return row["modality"] in (None, "text") and row["stage"] in (None, "pretrain")


def families(rows: Sequence[Row]) -> list[Described]:
    """Return every family, with what it holds, most usable runs first."""
    rows = [Full(row) for row in rows]
    physical = physical_runs(rows)
    found = []
    for key, members in by_family(rows).items():
        family = family_of(members[0])
        assert family is not None
        found.append(described(key, family, members, physical))
    return sorted(found, key=lambda one: (-one.usable, one.family))


def described(
    key: str, family: Family, rows: Sequence[Row], physical: Mapping[str, str]
) -> Described:
    """Return one family with its counts, each physical run counted once."""
    usable = {physical[row["run_id"]]: row for row in rows if is_usable(row)}
    params = sorted({int(row["params_non_embedding"]) for row in usable.values()})
    tokens = [tokens_of(row) or 0 for row in usable.values()]
    losses = [float(row["final_loss"]) for row in rows]
    return Described(
        family=key,
        **asdict(family),
        sources=tuple(sorted({row["source"] for row in rows})),
        runs=len({physical[row["run_id"]] for row in rows}),
        usable=len(usable),
        sizes=distinct(params),
        min_params=params[0] if params else None,
        max_params=params[-1] if params else None,
        min_tokens=min(tokens, default=None),
        max_tokens=max(tokens, default=None),
        min_loss=min(losses),
        max_loss=max(losses),
        varies=tuple(name for name in VARYING if len(values_of(rows, name)) > 1),
        is_split=len(usable) >= MIN_USABLE,
    )


def distinct(params: Sequence[int]) -> int:
    """Return how many sizes ascending counts are, near ones taken as one."""
    count, last = 0, 0.0
    for value in params:
        if value > last * (1 + SAME_SIZE):
            count += 1
            last = float(value)
    return count


def values_of(rows: Iterable[Row], name: str) -> set[str]:
    """Return the values runs have of one setting."""
    values = (tokens_of(row) if name == "tokens" else row.get(name) for row in rows)
    return {str(value) for value in values if value is not None}
