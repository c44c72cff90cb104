"""The community split: the published one kept exact, held-out parts for every other family.

- Runs that the published split `ncpl` names are on the side it gives them.
- Of every other family of comparable losses with `MIN_USABLE` usable runs or more, whole groups of
  the largest compute are `ood` (15 to 25% of the runs where groups allow it), a tenth of the other
  groups is drawn for `id`, the rest is `train`. A smaller family is `train` as a whole.
- A group is what no split may cut: runs of one optimizer, size and token budget (near copies, which
  differ by less than `NEAR_FRAC` in size and tokens, included), twins, and a run with its branches.
- A run that can not be learned from (no loss, size or tokens) is on no side, and neither is one
  that would give away what the published split holds out.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ncpl_data.catalog.families import (
    MIN_USABLE,
    family_of,
    is_text_pretraining,
    is_usable,
    tokens_of,
)
from ncpl_data.catalog.twins import lineages, physical_runs

Row = Mapping[str, Any]

OOD_RANGE = (0.15, 0.25)
OOD_AIM = 0.2
LARGEST_OOD = 0.5
"""Share of a family that one group of the largest compute may have and still be held out."""
ID_FRAC = 0.1
LARGEST_ID = 0.25
"""Share of a family that one group may have and still be drawn for id: most stays to learn from."""
FEW_GROUPS = 4
"""Groups below which a family whose draw gives none for `id` goes without."""
NEAR_FRAC = 0.01
"""Sizes and tokens nearer than this are one: the same budget, rounded in two ways."""


def community_sides(
    rows: Sequence[Row], published: Mapping[str, str], seed: int | None
) -> dict[str, tuple[str, str]]:
    """Return the side and group of each run; `published` holds the sides of the published split.

    Runs of the published split are not among the answers.
    """
    groups = grouped(rows)
    names = group_names(groups)
    families: dict[str, dict[str, list[Row]]] = {}
    for root, members in groups.items():
        if any(row["run_id"] in published for row in members):
            continue  # a twin, a branch or a near copy of a published run
        usable = [row for row in members if is_usable(row)]
        home = home_family(usable)
        if home is not None:
            families.setdefault(home, {})[names[root]] = usable
    sides: dict[str, tuple[str, str]] = {}
    for family, parts in sorted(families.items()):
        for group, side in family_sides(family, parts, seed).items():
            sides |= {row["run_id"]: (side, f"{family}/{group}") for row in parts[group]}
    return sides


def grouped(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Return the pretraining runs of text by the group that no split may cut."""
    lineage = lineages(rows)
    rows = [row for row in rows if is_text_pretraining(row) and family_of(row) is not None]
    near = near_groups(rows)
    joint = physical_runs(
        {"run_id": f"run/{row['run_id']}", "same_as": links(row, lineage, near)} for row in rows
    )
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(joint[f"run/{row['run_id']}"], []).append(row)
    return found


def links(row: Row, lineage: Mapping[str, str], near: Mapping[str, str]) -> list[str]:
    """Return what a run is of one group with."""
    found = [f"lineage/{lineage[row['run_id']]}"]
    if row["run_id"] in near:
        found.append(f"near/{near[row['run_id']]}")
    return found


def near_groups(rows: Iterable[Row]) -> dict[str, str]:
    """Return for each usable run the name of its optimizer, size and budget within its family.

    Sizes and budgets are clustered in order: one that is near the one before it joins it.
    """
    by_key: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        family = family_of(row)
        if family is not None and is_usable(row):
            by_key.setdefault((family.key, str(row["optimizer"])), []).append(row)
    found = {}
    for (family_key, optimizer), members in by_key.items():
        sizes = clusters({int(row["params_non_embedding"]) for row in members})
        by_size: dict[int, list[Row]] = {}
        for row in members:
            by_size.setdefault(sizes[int(row["params_non_embedding"])], []).append(row)
        for size, same in by_size.items():
            budgets = clusters({tokens_of(row) or 0 for row in same})
            for row in same:
                budget = budgets[tokens_of(row) or 0]
                found[row["run_id"]] = f"{family_key}/{optimizer}/{size}/{budget}"
    return found


def clusters(values: Iterable[int]) -> dict[int, int]:
    """Return for each count the smallest of its cluster; neighbours within `NEAR_FRAC` are one."""
    found: dict[int, int] = {}
    first = last = 0
    for value in sorted(values):
        if last == 0 or value > last * (1 + NEAR_FRAC):
            first = value
        found[value] = first
        last = value
    return found


def group_names(groups: Mapping[str, Sequence[Row]]) -> dict[str, str]:
    """Return a name for each group that does not depend on other runs: its smallest run id."""
    return {root: min(row["run_id"] for row in rows) for root, rows in groups.items()}


def home_family(rows: Sequence[Row]) -> str | None:
    """Return the family most runs of a group are of."""
    counts: dict[str, int] = {}
    for row in rows:
        family = family_of(row)
        if family is not None:
            counts[family.key] = counts.get(family.key, 0) + 1
    return min(counts, key=lambda key: (-counts[key], key), default=None)


def family_sides(
    family: str, groups: Mapping[str, Sequence[Row]], seed: int | None
) -> dict[str, str]:
    """Return the side of each group of one family."""
    weights = {name: n_physical(members) for name, members in groups.items()}
    total = sum(weights.values())
    if total < MIN_USABLE:
        return dict.fromkeys(groups, "train")
    ood = largest_groups(groups, weights)
    rest = {
        name: draw(family, name, seed)
        for name in groups
        if name not in ood and weights[name] <= LARGEST_ID * total
    }
    held_out = {name for name, drawn in rest.items() if drawn < ID_FRAC}
    if not held_out and len(rest) >= FEW_GROUPS:  # a small family has an id part too
        held_out = {min(rest, key=lambda name: (rest[name], name))}
    return {
        name: "ood" if name in ood else "id" if name in held_out else "train" for name in groups
    }


def n_physical(rows: Sequence[Row]) -> int:
    """Return how many physical runs rows are."""
    return len(set(physical_runs(rows).values()))


def largest_groups(groups: Mapping[str, Sequence[Row]], weights: Mapping[str, int]) -> set[str]:
    """Return the groups of the largest compute whose runs are nearest a fifth of all.

    Compute is the largest size x tokens of a group. Where one group at the top is over half of a
    family nothing is held out by compute.
    """
    order = sorted(groups, key=lambda name: (-compute(groups[name]), name))
    total = sum(weights.values())
    best: set[str] = set()
    best_off, share = math.inf, 0.0
    for index, name in enumerate(order[:-1]):
        share += weights[name] / total
        off = abs(share - OOD_AIM)
        if off < best_off and share <= LARGEST_OOD:
            best, best_off = set(order[: index + 1]), off
        if share >= OOD_RANGE[1]:
            break
    return best


def compute(rows: Sequence[Row]) -> float:
    """Return the largest size x tokens of some runs."""
    return max(float(row["params_non_embedding"]) * float(tokens_of(row) or 0) for row in rows)


def draw(family: str, group: str, seed: int | None) -> float:
    """Return a number from 0 to 1 that depends on names and seed alone."""
    digest = hashlib.sha256(f"{seed or 0}/{family}/{group}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2.0**64
