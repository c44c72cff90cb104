"""Groups that no split may cut: runs of one optimizer, size and token budget, and all that is near.

A run whose source does not state size or budget is grouped by what is known of it: the shape
instead of the size, batch x sequence x steps instead of the budget, and beside them the data.
"""

from __future__ import annotations

import json
import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ncpl_data.catalog.twins import lineages, physical_runs

Row = Mapping[str, Any]

NEAR_FRAC = 0.05
"""How far sizes or tokens of one group may differ: sources count both in several ways."""

SHAPE = ("n_layers", "d_model", "d_ff", "n_heads", "n_experts", "experts_per_token")
DATA = ("dataset", "mixture", "unique_tokens", "epochs", "filter")
STEPS = ("batch_size_sequences", "sequence_length", "train_steps")
COLUMNS = ("params_total", *SHAPE, *DATA, *STEPS)
"""Columns of `runs` that stand in for a size or a budget that is not stated."""


@dataclass(frozen=True)
class GroupKey:
    """What is known of a run's group."""

    alike: Hashable
    """What near runs share to the letter."""
    size: float | None
    """Parameters."""
    tokens: float | None


def tokens_of(row: Row) -> int | None:
    """Return the token budget of a run."""
    tokens = row["nominal_train_tokens"] or row["train_tokens"]
    return None if tokens is None else int(tokens)


def split_group(row: Row) -> str:
    """Return the group of a run: its optimizer, size and token budget."""
    return f"{row['optimizer']}/{row['params_non_embedding']}/{tokens_of(row)}"


def is_near(value: float, other: float) -> bool:
    """Return whether two counts are of one group, counted in two ways."""
    return abs(math.log(value / other)) <= NEAR_FRAC


def known_of(row: Row) -> GroupKey | None:
    """Return what is known of a run's group; None where that is too little to tell two apart."""
    size, tokens = row["params_non_embedding"], tokens_of(row)
    if size and tokens:
        return GroupKey(row["optimizer"], size, tokens)
    shape = [row.get(column) for column in SHAPE]
    total = row.get("params_total")
    if not tokens:
        steps = [int(row.get(column) or 0) for column in STEPS]
        tokens = math.prod(steps) or None
    if not (size or total or (row.get("n_layers") and row.get("d_model"))):
        return None
    kind = "size" if size else "total"
    rest = (
        *(kind, row["optimizer"], shape, [row.get(column) for column in DATA]),
        *(() if tokens else (row.get("train_steps"),)),
    )
    return GroupKey(json.dumps(rest, sort_keys=True, default=str), size or total, tokens)


def name_of(row: Row, known: GroupKey | None, lineage: str) -> str:
    """Return the name of a run's group before near ones are joined."""
    if row["params_non_embedding"] and tokens_of(row):
        return split_group(row)
    if known is None:
        return f"run/{lineage}"
    return f"known/{known.alike}/{known.size}/{known.tokens}"


def grouped(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Return the runs with an outcome in groups that no split may cut.

    Runs of one optimizer belong together where size and token budget lie within NEAR_FRAC, link by
    link, and so do twins, even where their sources count in two ways, and a run with its branches.
    A run of which neither size, shape nor budget is known stands alone with those. Runs without an
    outcome still link others.
    """
    lineage = lineages(rows)
    names: dict[str, str] = {}
    known: dict[str, GroupKey] = {}
    for row in rows:
        found = known_of(row)
        name = names[row["run_id"]] = name_of(row, found, lineage[row["run_id"]])
        if found is not None:
            known[name] = found
    links = [
        {"run_id": names[row["run_id"]], "same_as": [f"\0{lineage[row['run_id']]}"]} for row in rows
    ]
    links += [{"run_id": one, "same_as": [other]} for one, other in near_pairs(known)]
    joint = physical_runs(links)
    smallest: dict[str, str] = {}
    for name, root in joint.items():
        smallest[root] = min(name, smallest.get(root, name))
    found_groups: dict[str, list[Row]] = {}
    for row in rows:
        if is_outcome(row):
            group = smallest[joint[names[row["run_id"]]]]
            found_groups.setdefault(group, []).append(row)
    return found_groups


def near_pairs(known: Mapping[str, GroupKey]) -> Iterator[tuple[str, str]]:
    """Yield pairs of group names that link all groups within NEAR_FRAC of each other.

    Groups lie in cells as wide as NEAR_FRAC: those of one cell are near, those of neighbouring
    cells are compared.
    """
    cells: dict[tuple[Hashable, int | None, int | None], list[str]] = {}
    for name, one in known.items():
        cells.setdefault((one.alike, cell_of(one.size), cell_of(one.tokens)), []).append(name)
    for (alike, x, y), names in cells.items():
        yield from ((names[0], other) for other in names[1:])
        for dx, dy in ((0, 1), (1, -1), (1, 0), (1, 1)):
            if (x is None and dx) or (y is None and dy):
                continue
            place = (alike, x if x is None else x + dx, y if y is None else y + dy)
            near = (
                (one, other)
                for one in names
                for other in cells.get(place, ())
                if are_near(known[one], known[other])
            )
            yield from first_of(near)


def first_of(pairs: Iterator[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield the first of some pairs, if there is one: one link joins two cells."""
    for pair in pairs:
        yield pair
        return


def cell_of(value: float | None) -> int | None:
    """Return the cell of a count; None for one that is not known."""
    return None if not value else math.floor(math.log(value) / NEAR_FRAC)


def are_near(one: GroupKey, other: GroupKey) -> bool:
    """Return whether two groups of one kind lie within NEAR_FRAC in size and tokens."""
    pairs = ((one.size, other.size), (one.tokens, other.tokens))
    return all((not a and not b) or bool(a and b and is_near(a, b)) for a, b in pairs)


def is_outcome(row: Row) -> bool:
    """Return whether a run has the outcome that is learned: it ended, with a loss.

    A run that starts from weights, or is no pretraining, has another one.
    """
    return (
        row["final_loss"] is not None
        and row["status"] in (None, "finished")
        and row.get("stage") in (None, "pretrain")
        and row.get("initial_weights") in (None, "random")
    )
