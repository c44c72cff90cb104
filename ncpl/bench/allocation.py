"""The allocation board: what strategies make of a budget, replayed over measured curves.

A task is a group of the published split (one optimizer, size and number of tokens) of ten runs or
more; its runs are the candidates, and the model that predicts them has seen none of the group.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ncpl.data.snapshot import Runs, Snapshot
from ncpl.errors import ConfigError
from ncpl.model.bundle import Bundle
from ncpl.plan.arms import NOTHING, Arms, Prefix
from ncpl.plan.replay import Truth, replay
from ncpl.plan.strategies import Strategy, strategies

FORMAT = "ncpl-allocation-board/1"
FROZEN = Path(__file__).with_name("allocation_tasks.json")
SHARES = (0.1, 0.25, 0.5)
"""Budgets, as shares of the compute of all runs of a group; one whole run at least."""
LEAST_RUNS = 10
SEEDS = 10
FIRST_SHARE = 0.02
"""Points of a curve before this share of the run say nothing: the rate still rises."""


@dataclass(frozen=True)
class ArmGroup:
    """One task: a group of the split with what is predicted and what was measured."""

    source: str
    split: str
    name: str
    arms: Arms
    truth: Truth


@dataclass
class AllocationBoard:
    """Regrets of every strategy, in percent of the loss of the best run of its group."""

    snapshot_id: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    groups: list[dict[str, Any]] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)
    """Group -> why it is not replayed."""

    def to_json(self) -> dict[str, Any]:
        """Return the board as plain values."""
        return {
            "format": FORMAT, "snapshot_id": self.snapshot_id, "rows": self.rows,
            "groups": self.groups, "absent": self.absent,
        }  # fmt: skip


def digest_of(run_ids: Sequence[str]) -> str:
    """Return the hash by which a task names its runs."""
    return hashlib.sha256("\n".join(sorted(run_ids)).encode()).hexdigest()[:16]


def parts_of(bundle: Bundle, runs: Runs) -> dict[tuple[str, str, str], Runs]:
    """Return the held-out groups of enough runs, by source, split and group."""
    found = {}
    for fit in bundle.fits:
        for split in ("id", "ood"):
            part = runs.where(family=fit.family, split=split).readable().finished()
            names = np.array([name or "" for name in part.group])
            for name in sorted(set(names.tolist()) - {""}):
                own = part.take(names == name)
                if len(own) >= LEAST_RUNS:
                    found[fit.family[0], split, name] = own
    return found


def freeze_tasks(bundle: Bundle, runs: Runs, path: Path = FROZEN) -> int:
    """Write which runs each task has and return the number of tasks."""
    tasks = [
        {"source": s, "split": p, "group": g, "runs": len(own), "digest": digest_of(own.run_ids)}
        for (s, p, g), own in parts_of(bundle, runs).items()
    ]
    path.write_text(json.dumps({"format": FORMAT, "tasks": tasks}, indent=1) + "\n")
    return len(tasks)


def frozen_tasks(path: Path = FROZEN) -> list[dict[str, Any]]:
    """Return the frozen tasks. Raises ConfigError when it is not a file of them."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} holds no tasks of the allocation board ({error})") from error
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise ConfigError(f"{path} holds no tasks of the allocation board ({FORMAT})")
    tasks: list[dict[str, Any]] = raw["tasks"]
    return tasks


def groups_of(
    snapshot: Snapshot, bundle: Bundle, tasks: Sequence[dict[str, Any]]
) -> tuple[list[ArmGroup], dict[str, str]]:
    """Return the groups of the tasks with predictions and curves, and why others are absent."""
    parts = parts_of(bundle, snapshot.runs())
    curves = {fit.family[0]: snapshot.curves(fit.family[1]) for fit in bundle.fits}
    found, absent = [], {}
    for task in tasks:
        key = (task["source"], task["split"], task["group"])
        own = parts.get(key)
        if own is None or digest_of(own.run_ids) != task["digest"]:
            had = 0 if own is None else len(own)
            absent["/".join(key)] = f"{had} runs in the snapshot, other than the task's"
            continue
        configs = [dict(config) | {"source": key[0]} for config in own.configs]
        arms = Arms.predicted(bundle, configs, own.run_ids)
        prefixes = [prefix_of(curves[key[0]], name, row) for name, row in
                    zip(own.run_ids, arms.rows, strict=True)]  # fmt: skip
        found.append(ArmGroup(*key, arms, Truth(own.loss, prefixes)))
    return found, absent


def prefix_of(measured: Any, run_id: str, row: Any) -> Prefix:
    """Return the whole measured curve of a run, empty where none is kept."""
    if run_id not in measured or not row.get("train_steps"):
        return NOTHING
    step, loss = measured[run_id]
    share = np.minimum((step + 1) / row["train_steps"], 1.0)
    keep = (share > FIRST_SHARE) & np.isfinite(loss)
    return Prefix(share[keep], loss[keep])


def run_allocation(
    snapshot: Snapshot,
    bundle: Bundle,
    tasks: Sequence[dict[str, Any]] | None = None,
    *,
    methods: Sequence[Strategy] | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> AllocationBoard:
    """Return the board of these tasks, the frozen ones if not given."""
    board = AllocationBoard(snapshot.id)
    groups, board.absent = groups_of(snapshot, bundle, frozen_tasks() if tasks is None else tasks)
    for way in methods or strategies().values():
        tell(way.name)
        for group in groups:
            regrets = [regret(group, way, share) for share in SHARES]
            board.groups.append(
                {"strategy": way.name, "source": group.source, "split": group.split,
                 "group": group.name, "runs": len(group.arms),
                 "regret_percent": [round(value, 5) for value in regrets]}
            )  # fmt: skip
    for key in dict.fromkeys((g["source"], g["split"], g["strategy"]) for g in board.groups):
        own = [g for g in board.groups if (g["source"], g["split"], g["strategy"]) == key]
        means = np.mean([g["regret_percent"] for g in own], axis=0)
        board.rows.append(
            {"source": key[0], "split": key[1], "strategy": key[2], "groups": len(own)}
            | {f"regret_percent_at_{100 * s:.0f}": round(float(m), 4)
               for s, m in zip(SHARES, means, strict=True)}
        )  # fmt: skip
    return board


def regret(group: ArmGroup, way: Strategy, share: float) -> float:
    """Return the mean regret at a share of a group's compute, percent of the best loss."""
    flop = group.arms.flop
    budget = max(share * float(flop.sum()), float(flop.max()))
    found = [
        replay(group.arms, group.truth, way, budget, seed=seed).regret(group.truth)
        for seed in range(SEEDS if way.is_random else 1)
    ]
    return float(np.mean(found))
