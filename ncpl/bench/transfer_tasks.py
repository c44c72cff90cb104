"""The tasks of the transfer board: a few small runs of a family known, its larger ones asked for.

A context is drawn from the third of a family's runs with the least compute, spread over size and
data by farthest points; targets are all runs of at least four times the largest compute in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ncpl.model.family_law import Array, size_of, worth_of
from ncpl.train.population import FamilyRuns

COUNTS = (0, 3, 5, 8, 16)
DRAWS = 4
LEAST_RUNS, LEAST_SIZES = 12, 3
FACTOR = 4.0
"""Least compute of a target, over the largest in the context."""
SAME_SIZE = 0.02
"""Sizes closer than this in log count as one."""


@dataclass(frozen=True)
class Task:
    """One draw of one family."""

    family: str
    count: int
    draw: int
    context: tuple[str, ...]
    """Ids of the runs that are known."""
    targets: tuple[str, ...]
    """Ids of the runs asked for."""


def compute_of(family: FamilyRuns) -> Array:
    """Return 6 N D of every run, in FLOP."""
    return np.array([6 * size_of(row) * worth_of(row) for row in family.rows])


def qualifies(family: FamilyRuns) -> bool:
    """Return whether a family has enough runs and sizes for a task."""
    sizes = np.sort(np.log([size_of(row) for row in family.rows]))
    n_sizes = 1 + int((np.diff(sizes) > SAME_SIZE).sum()) if len(sizes) else 0
    return len(family.rows) >= LEAST_RUNS and n_sizes >= LEAST_SIZES


def draw_tasks(family: FamilyRuns) -> list[Task]:
    """Return the tasks of a family: four draws of each size of context that its runs allow."""
    compute = compute_of(family)
    order = np.lexsort((np.array(family.run_ids), compute))
    pool = order[: max(len(order) // 3, 1)]
    coordinates = np.array(
        [[np.log(size_of(family.rows[i])), np.log(worth_of(family.rows[i]))] for i in pool]
    )
    tasks = []
    for count in COUNTS:
        if count > len(pool):
            continue
        for draw in range(DRAWS):
            text = f"{family.name}/{count}/{draw}".encode()
            seed = int.from_bytes(hashlib.sha256(text).digest()[:8], "big")
            chosen = pool[spread(coordinates, count, np.random.default_rng(seed))]
            known = compute[chosen] if count else compute[pool]
            targets = [i for i in order if compute[i] >= FACTOR * known.max()]
            if not targets:  # without a context, or with one that reaches high
                continue
            ids = family.run_ids
            tasks.append(
                Task(
                    family.name, count, draw,
                    tuple(ids[i] for i in chosen), tuple(ids[i] for i in targets),
                )
            )  # fmt: skip
            if not count:
                break  # nothing is drawn
    return tasks


def spread(points: Array, count: int, generator: np.random.Generator) -> Sequence[int]:
    """Return places of `count` points: a random one, then each time one farthest from the chosen.

    Ties, runs of one size and data that differ in their recipe, are broken at random.
    """
    if not count:
        return []
    order = generator.permutation(len(points))
    chosen = [int(order[0])]
    distance = np.full(len(points), np.inf)
    while len(chosen) < count:
        distance = np.minimum(distance, np.square(points - points[chosen[-1]]).sum(1))
        distance[chosen] = -1.0
        chosen.append(int(order[np.argmax(distance[order])]))
    return chosen
