"""Split policies: which run is trained on and which is held out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import pyarrow as pa

from ncpl_data.catalog.errors import InputError, IntegrityError

SPLITS_SCHEMA = pa.schema(
    [
        ("run_id", pa.string()),
        ("policy", pa.string()),
        ("split", pa.string()),
        ("split_group", pa.string()),
    ]
)
COLUMNS = [
    "run_id",
    "source",
    "source_run",
    "optimizer",
    "params_non_embedding",
    "nominal_train_tokens",
    "train_tokens",
    "same_as",
]
"""Columns of `runs` that a policy may look at."""

# The reference code calls its held-out parts in_val (same sizes) and ood_val (larger models).
NCPL_PARTS = {"train": "train", "in_val": "id", "ood_val": "ood"}


@dataclass(frozen=True)
class Assignment:
    """The side one run is on."""

    run_id: str
    split: str
    """train, id or ood."""
    split_group: str
    """Runs of one group are never on two sides."""


Row = Mapping[str, Any]


def split_group(row: Row) -> str:
    """Return the group of a run: its optimizer, size and token budget."""
    tokens = row["nominal_train_tokens"] or row["train_tokens"]
    return f"{row['optimizer']}/{row['params_non_embedding']}/{tokens}"


@cache
def ncpl_names(source: str) -> Mapping[str, str]:
    """Return the published split of one source: run name to part. Empty for other sources.

    Source: processed_data/keys of zhqwqwq/Configuration-to-Performance-Scaling-Law at 4f6e64b
    (MIT), arXiv 2602.10300. Groups of (optimizer, size, tokens) go whole to one part; models
    above 430 million non-embedding parameters are out of distribution.
    """
    if source not in ("steplaw", "marin"):
        return {}
    file = files("ncpl_data.catalog") / "data" / f"{source}_keys_model_split.json"
    parts = json.loads(file.read_text("utf-8"))
    return {name: NCPL_PARTS[part] for part, names in parts.items() for name in names}


def assign_ncpl(rows: Iterable[Row], seed: int | None) -> list[Assignment]:  # noqa: ARG001 - every policy takes a seed; a published split has none
    """Return the published split. Runs it does not name are on no side."""
    found = []
    for row in rows:
        split = ncpl_names(row["source"]).get(row["source_run"])
        if split is not None:
            found.append(Assignment(row["run_id"], split, split_group(row)))
    return found


POLICIES: Mapping[str, Callable[[Iterable[Row], int | None], list[Assignment]]] = {
    "ncpl": assign_ncpl,
}


def check_leaks(assignments: Iterable[Assignment], rows: Iterable[Row]) -> None:
    """Raise IntegrityError if one group, or one physical run, is on two sides."""
    by_group: dict[str, Assignment] = {}
    by_run: dict[str, Assignment] = {}
    for one in assignments:
        other = by_group.setdefault(one.split_group, one)
        if other.split != one.split:
            raise IntegrityError(
                f"the split leaks: {other.run_id} is in {other.split} and {one.run_id} in "
                f"{one.split}, although both are of group {one.split_group}"
            )
        by_run[one.run_id] = one
    for row in rows:
        here = by_run.get(row["run_id"])
        for twin in row["same_as"] or ():
            there = by_run.get(twin)
            if here and there and here.split != there.split:
                raise IntegrityError(
                    f"the split leaks: {here.run_id} ({here.split}) and {there.run_id} "
                    f"({there.split}) are the same physical run"
                )


def assign_splits(runs: pa.Table, policy: str, seed: int | None = None) -> pa.Table:
    """Return the table of splits for runs with the columns `COLUMNS`, sorted by run.

    Raises InputError for an unknown policy, IntegrityError for a split that leaks.
    """
    if policy not in POLICIES:
        raise InputError(f'there is no split policy "{policy}"; known: {", ".join(POLICIES)}')
    rows = runs.to_pylist()
    assignments = POLICIES[policy](rows, seed)
    check_leaks(assignments, rows)
    assignments.sort(key=lambda a: a.run_id)
    return pa.Table.from_pylist(
        [
            {
                "run_id": a.run_id,
                "policy": policy,
                "split": a.split,
                "split_group": a.split_group,
            }
            for a in assignments
        ],
        schema=SPLITS_SCHEMA,
    )
