"""ScaleBench's learning-rate and batch task: a law of StepLaw's runs for a share of their compute.

Their rule (arXiv 2604.22753): a pool of 2,702 runs, each at 6 N D; a method spends 1, 5 and 10% of
the pool's sum, choosing run by run; what it then predicts of the 117 runs of 1.07B on 100B tokens
is scored by R2, no lower than -1. Ours knows no run but those it bought.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ncpl.bench.quoted import SCALEBENCH
from ncpl.data.fields import derive
from ncpl.data.sizes import FLOP_PER_PARAMETER_TOKEN, size_of, worth_of
from ncpl.data.snapshot import Runs, Snapshot
from ncpl.errors import SnapshotError
from ncpl.model.family_law import Effects
from ncpl.model.intervals import Z90
from ncpl.model.law_inputs import Array
from ncpl.model.law_process import LawProcess
from ncpl.model.population import Population
from ncpl.plan.narrowing import explore

FORMAT = "ncpl-scalebench/1"
POOL, TARGETS = 2702, 117
TARGET_SIZE, TARGET_TOKENS, NEAR = 1073741824, 1e11, 0.02
SHARES = (0.01, 0.05, 0.1)


@dataclass(frozen=True)
class ScaleBenchRow:
    """Ours at one share of the pool's compute."""

    share: float
    runs: list[str]
    """Those bought, in their order."""
    spent_share: float
    r2: float
    mae: float
    coverage: float
    """Share of targets inside the 90% interval."""
    predicted: list[float]
    """Of the targets, by run id."""


def r_squared(measured: Array, predicted: Array) -> float:
    """Return R2, no lower than -1."""
    left = float(np.square(measured - predicted).sum())
    return float(np.clip(1 - left / np.square(measured - measured.mean()).sum(), -1.0, 1.0))


def task_of(snapshot: Snapshot) -> tuple[Runs, Runs]:
    """Return the pool and the targets. Raises SnapshotError where the snapshot lacks some."""
    runs = snapshot.runs()
    family = [f for f in runs.families(with_unsplit=True) if f[0] == "steplaw"]
    part = (
        runs.where(family=family[0]).readable() if family else runs.take(np.zeros(len(runs), bool))
    )
    rows = [derive(config) for config in part.configs]
    is_target = np.array(
        [size_of(r) == TARGET_SIZE and abs(worth_of(r) / TARGET_TOKENS - 1) < NEAR for r in rows],
        dtype=bool,
    )
    pool, targets = part.take(~is_target), part.take(is_target)
    if (len(pool), len(targets)) != (POOL, TARGETS):
        raise SnapshotError(
            f"{snapshot.path} holds {len(pool):,} and {len(targets)} of the {POOL:,} and {TARGETS} "
            "StepLaw runs of ScaleBench; ingest them: ncpl-data ingest steplaw --offline, then "
            "ncpl-data snapshot"
        )
    return pool, targets


def run_scalebench(pool: Runs, targets: Runs) -> list[ScaleBenchRow]:
    """Return our rows, at 1, 5 and 10%.

    The population is what is assumed before any family is seen.
    """
    population = Population.start()
    rows, asked = ([derive(c) for c in part.configs] for part in (pool, targets))
    cost = np.array([FLOP_PER_PARAMETER_TOKEN * size_of(r) * worth_of(r) for r in rows])
    found = []
    for share in SHARES:
        chosen = explore(
            population, rows, cost, asked, share * float(cost.sum()), lambda at: pool.loss[at]
        )
        belief = LawProcess.of(
            population, Effects.of([*rows, *asked]), [rows[i] for i in chosen], pool.loss[chosen]
        )
        loss, sd = belief.predict(asked)
        error = np.abs(loss - targets.loss)
        found.append(
            ScaleBenchRow(
                share, [pool.run_ids[i] for i in chosen],
                float(cost[chosen].sum() / cost.sum()), r_squared(targets.loss, loss),
                float(error.mean()), float((error <= Z90 * sd).mean()), loss.tolist(),
            )
        )  # fmt: skip
    return found


def as_json(snapshot_id: str, rows: list[ScaleBenchRow]) -> dict[str, Any]:
    """Return our rows, those of the paper, and ours in the form of their own result files."""
    return {
        "format": FORMAT,
        "snapshot_id": snapshot_id,
        "rows": [{k: v for k, v in vars(r).items() if k != "predicted"} for r in rows],
        "quoted": [vars(quoted) for quoted in SCALEBENCH],
        "submission": submission(rows),
    }


def submission(rows: list[ScaleBenchRow]) -> dict[str, Any]:
    """Return our rows as ScaleBench's runner writes a task: R2 by checkpoint, mean and spread.

    Nothing is drawn, so there is one seed.
    """
    values = [row.r2 for row in rows]
    return {
        "task_id": "lr_bsz_scaling_law/ncpl",
        "n_seeds": 1,
        "r2_mean": values,
        "r2_std": [0.0 for _ in values],
        "log_auc_mean": float(np.mean(values)),
        "log_auc_std": 0.0,
    }


def markdown(rows: list[ScaleBenchRow]) -> str:
    """Return our rows beside those of the paper, as text."""
    lines = [
        "ScaleBench, learning rate and batch: R2 of 117 runs of 1.07B on 100B tokens at shares of "
        "the pool's 6 N D",
        "",
        "| method | 1% | 5% | 10% | source |",
        "|---|---|---|---|---|",
        "| ncpl: law and process, runs by what they tell | "
        + " | ".join(f"{row.r2:.2f} ({len(row.runs)} runs)" for row in rows)
        + " | measured here |",
    ]
    lines += [
        f"| {q.method} | " + " | ".join(f"{v:.2f}" for v in q.r2) + f" | {q.where} |"
        for q in SCALEBENCH
    ]
    spread = ", ".join(f"{row.mae:.4f} and {100 * row.coverage:.0f}%" for row in rows)
    return "\n".join([*lines, "", f"Ours, mean error in nats and what 90% cover: {spread}"]) + "\n"
