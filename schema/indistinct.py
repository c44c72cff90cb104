"""Runs that a model can not tell apart by what it reads, and whose losses lie far apart.

A later fit learns their mean. What tells them apart stands in a field it does not read, or in the
raw configuration: that is named.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

FAR_NATS = 0.05
"""Seeds of one configuration end within a fifth of this of each other."""

MAX_NAMED = 3
"""Fields that are named for one configuration."""

MAX_VALUES = 4
"""Values of a field that are written out."""

ENOUGH = 0.5
"""Share of the spread that a field must explain to be named."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Indistinct:
    """Some runs of one readable configuration with losses far apart."""

    run_ids: tuple[str, ...]
    lowest: float
    highest: float
    fields: tuple[str, ...]
    """Fields that tell low from high, those that explain most first, such as `precision` or
    `raw_config/quantizer`; empty where nothing stated does."""
    values: tuple[str, ...]
    """For each field its values, the one of the lowest losses first."""

    @property
    def sentence(self) -> str:
        """What is to be known, in one sentence."""
        first, last = self.run_ids[0], self.run_ids[-1]
        told = (
            "; they differ in "
            + ", ".join(f"{f} ({v})" for f, v in zip(self.fields, self.values, strict=True))
            if self.fields
            else "; nothing they state tells them apart"
        )
        return (
            f"{len(self.run_ids):,} runs are one configuration to a model, and end "
            f"{self.highest - self.lowest:.3f} nats apart ({first} {self.lowest:.4f}, {last} "
            f"{self.highest:.4f}){told}"
        )


def indistinct(
    rows: Iterable[Row], readable: Sequence[str], scale: Sequence[str], far: float = FAR_NATS
) -> list[Indistinct]:
    """Return the readable configurations with losses far apart, the widest apart first.

    Rows are runs by column, with run_id and final_loss. `readable` are the columns a model reads,
    `scale` those that losses compare within.
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if row.get("final_loss") is not None and row.get("status") in (None, "finished"):
            key = json.dumps([row.get(c) for c in (*scale, *readable)], default=str)
            groups.setdefault(key, []).append(row)
    found = [
        group_of(members, {*readable, *scale})
        for members in groups.values()
        if len(members) > 1 and spread(members) > far
    ]
    return sorted(found, key=lambda one: (one.lowest - one.highest, one.run_ids))


def spread(rows: Sequence[Row]) -> float:
    """Return how far apart the losses of runs lie."""
    losses = [float(row["final_loss"]) for row in rows]
    return max(losses) - min(losses)


def group_of(rows: Sequence[Row], read: set[str]) -> Indistinct:
    """Return what is to be said of the runs of one configuration."""
    rows = sorted(rows, key=lambda row: (float(row["final_loss"]), row["run_id"]))
    losses = [float(row["final_loss"]) for row in rows]
    fields, values = [], []
    for name, own in telling_fields([dict(unread(row, read)) for row in rows], losses):
        fields.append(name)
        values.append(in_order(list(dict.fromkeys(own))))
    return Indistinct(
        run_ids=tuple(row["run_id"] for row in rows),
        lowest=losses[0],
        highest=losses[-1],
        fields=tuple(fields),
        values=tuple(values),
    )


def in_order(values: Sequence[str]) -> str:
    """Return values from those of low losses to those of high ones, the middle left out."""
    kept = values if len(values) <= MAX_VALUES else [*values[:2], "...", values[-1]]
    return " < ".join(kept)


NAMES = frozenset((
    "run_id", "run_hash", "final_loss", "origins", "record", "file", "file_sha256", "source_run",
    "metrics", "curves", "evals", "same_as", "flags", "wall_time_seconds", "tokens_per_second",
    "step_time_seconds", "final_step", "train_flops", "mfu_frac",
))  # fmt: skip
"""Columns that differ between any two runs, or follow from the loss."""


def unread(row: Row, read: set[str]) -> Iterator[tuple[str, str]]:
    """Yield the values of a run that a model does not read, objects flattened."""
    for name, value in row.items():
        if name in NAMES or name in read or value is None:
            continue
        parsed = as_object(value)
        if isinstance(parsed, Mapping):
            yield from flattened(name, parsed)
        else:
            yield name, shown(parsed)


def as_object(value: Any) -> Any:
    """Return what a text of JSON holds, if it is an object; any other value as it is."""
    if isinstance(value, str) and value.startswith("{"):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def flattened(prefix: str, value: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the leaves of an object with their paths."""
    for key, item in value.items():
        if isinstance(item, Mapping):
            yield from flattened(f"{prefix}/{key}", item)
        elif item is not None:
            yield f"{prefix}/{key}", shown(item)


def shown(value: Any) -> str:
    """Return a value as short text."""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 40 else f"{text[:37]}..."


def telling_fields(
    rows: Sequence[Mapping[str, str]], losses: Sequence[float]
) -> list[tuple[str, list[str]]]:
    """Return the fields whose values explain the spread of losses, most first, with their values.

    A field with a value of its own for every run may be a name: it is named only where no other is.
    """
    names = dict.fromkeys(name for row in rows for name in row)
    found = []
    for name in names:
        values = [row.get(name, "not stated") for row in rows]
        n_kinds = len(set(values))
        if n_kinds < 2:
            continue
        share = explained(values, losses)
        if len(rows) > n_kinds:  # more kinds explain more by chance
            share = 1 - (1 - share) * (len(rows) - 1) / (len(rows) - n_kinds)
        if share >= ENOUGH:
            found.append((n_kinds == len(rows) > 2, "/" in name, -share, name, values))
    if not all(one[0] for one in found):
        found = [one for one in found if not one[0]]
    kept: dict[str, tuple[str, list[str]]] = {}
    for *_, name, values in sorted(found):
        kept.setdefault(json.dumps(values), (name, values))  # one field may stand in two places
    return list(kept.values())[:MAX_NAMED]


def explained(values: Sequence[str], losses: Sequence[float]) -> float:
    """Return the share of the variance of losses between the values of one field."""
    mean = sum(losses) / len(losses)
    total = sum((loss - mean) ** 2 for loss in losses)
    groups: dict[str, list[float]] = {}
    for value, loss in zip(values, losses, strict=True):
        groups.setdefault(value, []).append(loss)
    between = sum(len(own) * (sum(own) / len(own) - mean) ** 2 for own in groups.values())
    return between / total if total else 0.0
