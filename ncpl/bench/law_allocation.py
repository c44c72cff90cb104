"""The allocation board's other end: the best scaling law that a budget buys.

The pool is the training part of the published split, of one optimizer; asked for are the best runs
of each number of tokens at the sizes above all of the pool's. Every strategy's finished runs are
read by one estimator: a law with a process beside it, from what is assumed of any family.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ncpl.bench.allocation import prefix_of
from ncpl.data.fields import Config, derive
from ncpl.data.sizes import FLOP_PER_PARAMETER_TOKEN, size_of, worth_of
from ncpl.data.snapshot import Runs, Snapshot
from ncpl.model.family_law import Effects
from ncpl.model.law_inputs import Array
from ncpl.model.law_process import LawProcess
from ncpl.model.population import Population
from ncpl.plan.arms import GRID, Arms, Prefix
from ncpl.plan.narrowing import Places, explore
from ncpl.plan.replay import Truth, replay
from ncpl.plan.strategies import strategies

SHARES = (0.1, 0.25)
SEEDS = 5
LEAST_POOL = 100
LARGER = 1.05


@dataclass(frozen=True)
class LawTask:
    """One family and optimizer: a pool of runs and the larger ones asked for."""

    source: str
    optimizer: str
    rows: Sequence[Config]
    loss: Array
    cost: Array
    """FLOP of each run of the pool."""
    prefix: Sequence[Prefix]
    asked: Sequence[Config]
    best: Array
    """Measured losses of the runs asked for."""


def law_tasks(snapshot: Snapshot) -> list[LawTask]:
    """Return the tasks of the published split that the snapshot holds."""
    runs, found = snapshot.runs(), []
    for family in runs.families():
        part = runs.where(family=family).readable().finished()
        curves = snapshot.curves(family[1])
        names = sorted({str(c.get("optimizer")) for c in part.configs})
        for name in names:
            own = part.take(np.array([str(c.get("optimizer")) == name for c in part.configs]))
            task = _task(family[0], name, own, curves)
            if task is not None:
                found.append(task)
    return found


def _task(source: str, optimizer: str, runs: Runs, curves: Any) -> LawTask | None:
    rows = [derive(config) for config in runs.configs]
    size = np.array([size_of(row) for row in rows])
    pool = np.flatnonzero([split == "train" for split in runs.split])
    if len(pool) < LEAST_POOL:
        return None
    above = np.flatnonzero(
        (size > LARGER * size[pool].max()) & np.array([s is not None for s in runs.split])
    )
    best: dict[tuple[int, int], int] = {}
    for i in above.tolist():
        key = (round(size[i]), round(worth_of(rows[i])))
        best[key] = min(best.get(key, i), i, key=lambda j: float(runs.loss[j]))
    if not best:
        return None
    asked = sorted(best.values())
    return LawTask(
        source, optimizer, [rows[i] for i in pool], runs.loss[pool],
        np.array([FLOP_PER_PARAMETER_TOKEN * size[i] * worth_of(rows[i]) for i in pool]),
        [prefix_of(curves, runs.run_ids[i], rows[i]) for i in pool],
        [rows[i] for i in asked], runs.loss[asked],
    )  # fmt: skip


def chosen_by(task: LawTask, name: str, budget: float, seed: int) -> Places:
    """Return the runs of the pool that a strategy takes to their end."""
    if name == "ncpl":
        return explore(
            Population.start(), task.rows, task.cost, task.asked, budget,
            lambda at: task.loss[at],
        )  # fmt: skip
    n = len(task.rows)
    blank = np.full((n, len(GRID)), np.nan)
    arms = Arms([str(i) for i in range(n)], task.rows, task.cost, np.zeros(n), np.ones(n), blank)
    way = strategies()["random" if name == "uniform" else name]
    found = replay(arms, Truth(task.loss, task.prefix), way, budget, seed=seed)
    return np.flatnonzero(found.progress.finished)


WAYS = ("uniform", "halving", "halving + power law", "ncpl")


def run_laws(
    snapshot: Snapshot, *, tell: Callable[[str], None] = lambda _: None
) -> list[dict[str, Any]]:
    """Return one row a task, strategy and share: mean error of the runs asked for, percent."""
    rows = []
    for task in law_tasks(snapshot):
        effects = Effects.of([*task.rows, *task.asked])
        for name in WAYS:
            tell(f"{task.source} {task.optimizer}: {name}")
            for share in SHARES:
                errors, counts = [], []
                for seed in range(1 if name == "ncpl" else SEEDS):
                    chosen = chosen_by(task, name, share * float(task.cost.sum()), seed)
                    known = [task.rows[i] for i in chosen.tolist()]
                    belief = LawProcess.of(Population.start(), effects, known, task.loss[chosen])
                    found = belief.predict(task.asked)[0]
                    errors.append(100 * float(np.abs(found / task.best - 1).mean()))
                    counts.append(len(chosen))
                rows.append(
                    {"source": task.source, "optimizer": task.optimizer, "strategy": name,
                     "share": share, "error_percent": round(float(np.mean(errors)), 4),
                     "runs": round(float(np.mean(counts))), "asked": len(task.asked)}
                )  # fmt: skip
    return rows


def law_markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Return the rows as text."""
    tasks = list(dict.fromkeys((r["source"], r["optimizer"], r["asked"]) for r in rows))
    shares = " / ".join(f"{100 * share:.0f}" for share in SHARES)
    lines = [
        f"Scaling laws: error of the best runs at larger sizes, percent, at {shares}% of the "
        "pool's compute (runs finished)",
        "",
        "| strategy | " + " | ".join(f"{s} {o} ({a} asked)" for s, o, a in tasks) + " |",
        "|---|" + "---|" * len(tasks),
    ]
    for name in WAYS:
        cells = []
        for source, optimizer, _ in tasks:
            key = (source, optimizer, name)
            own = [r for r in rows if (r["source"], r["optimizer"], r["strategy"]) == key]
            cells.append(" / ".join(f"{r['error_percent']:.2f} ({r['runs']})" for r in own))
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
