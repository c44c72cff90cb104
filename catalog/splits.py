"""Split policies: which run is trained on and which is held out.

A policy is a name, some with an argument: `ncpl`, `ncpl-open`, `group-hash`, `compute:1e20`,
`source:marin`, `community`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import pyarrow as pa

from ncpl_data.catalog.alike import COLUMNS as ALIKE_COLUMNS
from ncpl_data.catalog.alike import Alike
from ncpl_data.catalog.community import community_sides
from ncpl_data.catalog.errors import InputError, IntegrityError
from ncpl_data.catalog.families import COLUMNS as FAMILY_COLUMNS
from ncpl_data.catalog.families import Full, family_of
from ncpl_data.catalog.groups import COLUMNS as GROUP_COLUMNS
from ncpl_data.catalog.groups import Row, grouped, is_near, is_outcome, split_group, tokens_of
from ncpl_data.catalog.twins import lineages, physical_runs

SPLITS_SCHEMA = pa.schema(
    [
        ("run_id", pa.string()),
        ("policy", pa.string()),
        ("split", pa.string()),
        ("split_group", pa.string()),
    ]
)
OWN_COLUMNS = (
    "run_id",
    "source",
    "source_run",
    "optimizer",
    "params_non_embedding",
    "nominal_train_tokens",
    "train_tokens",
    "same_as",
    "parent_run_id",
    "status",
    "final_loss",
    "stage",
    "initial_weights",
)
COLUMNS = list(dict.fromkeys((*OWN_COLUMNS, *GROUP_COLUMNS, *ALIKE_COLUMNS)))
"""Columns of `runs` that a policy may look at."""

# The reference code calls its held-out parts in_val (same sizes) and ood_val (larger models).
NCPL_PARTS = {"train": "train", "in_val": "id", "ood_val": "ood"}
PUBLISHED_SOURCES = ("steplaw", "marin")
COPYING_SOURCES = ("losscast", "ncpl_logs")
"""Sources that hold runs of the published ones under their names."""
NCPL_LIMIT_PARAMS = 430e6
"""Non-embedding parameters above which the published split holds runs out."""
CONTRIBUTED = "is_contributed"
"""Key of a row, beside its columns: whether somebody submitted it."""
HELD_OUT_FRAC = 0.2
"""Share of groups that a drawn split keeps for `id`."""


@dataclass(frozen=True)
class Assignment:
    """The side one run is on."""

    run_id: str
    split: str
    """train, id or ood."""
    split_group: str
    """Runs of one group are never on two sides."""


@cache
def ncpl_names(source: str) -> Mapping[str, str]:
    """Return the published split of one source: run name to part. Empty for other sources.

    A source that copies the published ones has the names of all of them.

    Source: processed_data/keys of zhqwqwq/Configuration-to-Performance-Scaling-Law at 4f6e64b
    (MIT), arXiv 2602.10300. Groups of (optimizer, size, tokens) go whole to one part; models
    above 430 million non-embedding parameters are out of distribution.
    """
    if source in COPYING_SOURCES:
        return {n: part for s in PUBLISHED_SOURCES for n, part in ncpl_names(s).items()}
    if source not in PUBLISHED_SOURCES:
        return {}
    file = files("ncpl_data.catalog") / "data" / f"{source}_keys_model_split.json"
    parts = json.loads(file.read_text("utf-8"))
    return {name: NCPL_PARTS[part] for part, names in parts.items() for name in names}


def assign_ncpl(rows: Sequence[Row], argument: str, seed: int | None) -> list[Assignment]:
    """Return the published split. Runs it does not name are on no side."""
    if argument or seed is not None:
        raise InputError("the split ncpl is a published one: it takes no argument and no seed")
    found = []
    for row in rows:
        split = ncpl_names(row["source"]).get(row["source_run"])
        if split is not None:
            found.append(Assignment(row["run_id"], split, split_group(row)))
    return found


def assign_ncpl_open(rows: Sequence[Row], argument: str, seed: int | None) -> list[Assignment]:
    """Return the published split with all other runs in train that give nothing held out away.

    So new submissions are learned from while id and ood stay frozen. On no side are runs of a held-
    out group (within NEAR_FRAC of its size and tokens), runs above the published limit of size,
    runs whose size or tokens are not known, and contributed runs with the settings of a held-out
    one, whatever they call their optimizer (catalog/alike.py).
    """
    found = assign_ncpl(rows, argument, seed)
    physical = physical_runs(rows)
    published = {physical[one.run_id] for one in found}
    sides = {one.run_id: one.split for one in found}
    held_out = {
        (row["optimizer"], row["params_non_embedding"], tokens_of(row))
        for row in rows
        if sides.get(row["run_id"], "train") != "train"
    }
    tested = Alike(row for row in rows if sides.get(row["run_id"], "train") != "train")
    for row in rows:
        size, tokens = row["params_non_embedding"], tokens_of(row)
        if row.get(CONTRIBUTED) and any(tested.find(row)):
            continue
        if not is_outcome(row) or physical[row["run_id"]] in published:
            continue
        if not size or not tokens or size > NCPL_LIMIT_PARAMS:
            continue
        if not any(
            name == row["optimizer"] and n and d and is_near(size, n) and is_near(tokens, d)
            for name, n, d in held_out
        ):
            found.append(Assignment(row["run_id"], "train", split_group(row)))
    return found


def assign_group_hash(rows: Sequence[Row], argument: str, seed: int | None) -> list[Assignment]:
    """Return a split that hashes whole groups: four of five to train, the rest to id."""
    if argument:
        raise InputError("the split group-hash takes no argument; vary it with --seed")
    found = []
    for group, members in grouped(rows).items():
        split = "id" if is_held_out(group, seed) else "train"
        found += [Assignment(row["run_id"], split, group) for row in members]
    return found


def assign_compute(rows: Sequence[Row], argument: str, seed: int | None) -> list[Assignment]:
    """Return a split by training compute, 6 x parameters x tokens, in FLOP.

    Groups with a run above the bound are ood; below it, whole groups are drawn for id. A run
    of unknown compute goes with its twins, and is on no side without one.
    """
    try:
        bound = float(argument)
    except ValueError:
        bound = math.nan
    if not 0 < bound < math.inf:
        raise InputError(
            f'the split compute needs a bound in FLOP, found "{argument}"; '
            "for example --split compute:1e20"
        )
    found = []
    for group, members in grouped(rows).items():
        flops = [
            6.0 * row["params_non_embedding"] * (tokens_of(row) or 0)
            for row in members
            if row["params_non_embedding"] and tokens_of(row)
        ]
        if not flops:
            continue
        split = "ood" if max(flops) > bound else "id" if is_held_out(group, seed) else "train"
        found += [Assignment(row["run_id"], split, group) for row in members]
    return found


def assign_source(rows: Sequence[Row], argument: str, seed: int | None) -> list[Assignment]:
    """Return a split that leaves one source out: it is ood, with every twin of its runs.

    So are branches of a left-out run, whoever holds them.
    """
    sources = sorted({row["source"] for row in rows})
    if argument not in sources:
        raise InputError(
            f'the split source needs the source to leave out, found "{argument}"; '
            f"selected are: {', '.join(sources)}. For example --split source:{sources[0]}"
        )
    lineage = lineages(rows)
    left_out = {lineage[row["run_id"]] for row in rows if row["source"] == argument}
    found = [
        Assignment(row["run_id"], "ood", f"{argument}:{split_group(row)}")
        for row in rows
        if lineage[row["run_id"]] in left_out and is_outcome(row)
    ]
    inside = [row for row in rows if lineage[row["run_id"]] not in left_out]
    for group, members in grouped(inside).items():
        split = "id" if is_held_out(group, seed) else "train"
        found += [Assignment(row["run_id"], split, group) for row in members]
    return found


def assign_community(rows: Sequence[Row], argument: str, seed: int | None) -> list[Assignment]:
    """Return the published split, and parts of every other family (catalog/community.py).

    Other runs of the published families are in train where they give nothing held out away.
    """
    if argument:
        raise InputError("the split community takes no argument; vary its draw with --seed")
    rows = [Full(row) for row in rows]
    families = [family_of(row) for row in rows]
    sides = {one.run_id: one.split for one in assign_ncpl(rows, "", None)}
    published = {f for row, f in zip(rows, families, strict=True) if row["run_id"] in sides}
    inside = [row for row, f in zip(rows, families, strict=True) if f in published]
    found = assign_ncpl_open(inside, "", None)
    physical = physical_runs(rows)
    taken = {physical[one.run_id] for one in found}
    inner = {physical[row["run_id"]] for row in inside}
    for run_id, (side, group) in community_sides(rows, sides, seed).items():
        if physical[run_id] not in taken and physical[run_id] not in inner:
            found.append(Assignment(run_id, side, group))
    return found


POLICIES: Mapping[str, Callable[[Sequence[Row], str, int | None], list[Assignment]]] = {
    "ncpl": assign_ncpl,
    "group-hash": assign_group_hash,
    "compute": assign_compute,
    "source": assign_source,
    "ncpl-open": assign_ncpl_open,
    "community": assign_community,
}


def columns_of(policy: str) -> list[str]:
    """Return the columns of `runs` that a policy looks at."""
    is_community = policy.partition(":")[0] == "community"
    return list(dict.fromkeys((*COLUMNS, *(FAMILY_COLUMNS if is_community else ()))))


def is_held_out(group: str, seed: int | None) -> bool:
    """Return whether a group is drawn for id. The draw depends on its name and the seed alone."""
    digest = hashlib.sha256(f"{seed or 0}/{group}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < HELD_OUT_FRAC * 2.0**64


def check_leaks(assignments: Iterable[Assignment], rows: Iterable[Row]) -> None:
    """Raise IntegrityError if one group, one physical run or one lineage is on two sides."""
    lineage = lineages(rows)
    by_group: dict[str, Assignment] = {}
    by_run: dict[str, Assignment] = {}
    for one in assignments:
        other = by_group.setdefault(one.split_group, one)
        if other.split != one.split:
            raise IntegrityError(
                f"the split leaks: {other.run_id} is in {other.split} and {one.run_id} in "
                f"{one.split}, although both are of group {one.split_group}"
            )
        twin = by_run.setdefault(lineage.get(one.run_id, one.run_id), one)
        if twin.split != one.split:
            raise IntegrityError(
                f"the split leaks: {twin.run_id} ({twin.split}) and {one.run_id} ({one.split}) "
                "are the same physical run, or one continues the other"
            )


def assign_splits(
    runs: pa.Table, policy: str, seed: int | None = None, submitted: Collection[str] = ()
) -> pa.Table:
    """Return the table of splits for runs with the columns of the policy, sorted by run.

    `submitted` holds the sources that submissions fill.
    Raises InputError for an unknown policy, IntegrityError for a split that leaks.
    """
    name, _, argument = policy.partition(":")
    if name not in POLICIES:
        raise InputError(f'there is no split policy "{name}"; known: {", ".join(POLICIES)}')
    rows = runs.select(columns_of(policy)).to_pylist()
    rows = [row | {CONTRIBUTED: row["source"] in submitted} for row in rows]
    assignments = POLICIES[name](rows, argument, seed)
    check_leaks(assignments, rows)
    return splits_table(assignments, policy)


def splits_table(assignments: Iterable[Assignment], policy: str) -> pa.Table:
    """Return assignments as the table `splits`, sorted by run."""
    return pa.Table.from_pylist(
        [
            {
                "run_id": a.run_id,
                "policy": policy,
                "split": a.split,
                "split_group": a.split_group,
            }
            for a in sorted(assignments, key=lambda a: a.run_id)
        ],
        schema=SPLITS_SCHEMA,
    )
