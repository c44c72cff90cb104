"""The tasks of the transfer board: a few small runs of a family known, its larger ones asked for.

A context is drawn from the third of a family's runs with the least compute, spread over size and
data by farthest points; targets are all runs of at least four times the largest compute in it.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ncpl.data.families import FamilyRuns
from ncpl.data.sizes import size_of, worth_of
from ncpl.errors import ConfigError
from ncpl.model.law_inputs import Array

COUNTS = (0, 3, 5, 8, 16)
DRAWS = 4
LEAST_RUNS, LEAST_SIZES = 12, 3
FACTOR = 4.0
"""Least compute of a target, over the largest in the context."""
SAME_SIZE = 0.02
"""Sizes closer than this in log count as one."""


@dataclass(frozen=True)
class TransferTask:
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
    """Return whether a family has enough runs and sizes for a task, and one mixture of data."""
    if family.is_mixed:
        return False
    sizes = np.sort(np.log([size_of(row) for row in family.rows]))
    n_sizes = 1 + int((np.diff(sizes) > SAME_SIZE).sum()) if len(sizes) else 0
    return len(family.rows) >= LEAST_RUNS and n_sizes >= LEAST_SIZES


def draw_tasks(family: FamilyRuns) -> list[TransferTask]:
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
                TransferTask(
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


FROZEN = Path(__file__).with_name("transfer_tasks.json.gz")
FORMAT = "ncpl-transfer-tasks/1"


def freeze(families: Sequence[FamilyRuns], path: Path = FROZEN) -> int:
    """Write the tasks of all families that qualify and return their number.

    The file names each family's runs once, by compute; a task is places among them.
    """
    found: dict[str, Any] = {}
    count = 0
    for family in families:
        if not qualifies(family):
            continue
        tasks = draw_tasks(family)
        compute = compute_of(family)
        order = [family.run_ids[i] for i in np.lexsort((np.array(family.run_ids), compute))]
        place = {run_id: i for i, run_id in enumerate(order)}
        found[family.name] = {
            "runs": order,
            "tasks": [
                {
                    "count": task.count, "draw": task.draw,
                    "context": [place[run_id] for run_id in task.context],
                    "first_target": place[task.targets[0]],
                }
                for task in tasks
            ],
        }  # fmt: skip
        count += len(tasks)
    text = json.dumps({"format": FORMAT, "families": found}, separators=(",", ":"))
    path.write_bytes(gzip.compress(text.encode(), mtime=0))
    return count


def frozen_tasks(path: Path = FROZEN) -> list[TransferTask]:
    """Return the frozen tasks, in the order of the file.

    Raises ConfigError when it is not a file of tasks.
    """
    try:
        raw = json.loads(gzip.decompress(path.read_bytes()))
    except (OSError, ValueError, EOFError) as error:
        raise ConfigError(f"{path} holds no tasks of the transfer board ({error})") from error
    if raw.get("format") != FORMAT:
        raise ConfigError(f"{path}: format is {raw.get('format')!r}, expected {FORMAT!r}")
    return [
        TransferTask(
            name, task["count"], task["draw"],
            tuple(entry["runs"][i] for i in task["context"]),
            tuple(entry["runs"][task["first_target"] :]),
        )
        for name, entry in raw["families"].items()
        for task in entry["tasks"]
    ]  # fmt: skip
