"""Candidate runs for a scaling law: those that tell most of a large run, and the next ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ncpl.data.consistency import checked_row
from ncpl.data.own_runs import checked_loss
from ncpl.errors import ConfigError
from ncpl.model.family_law import Effects
from ncpl.model.law_process import LawProcess
from ncpl.model.population import Population
from ncpl.plan.allocate import arm_of
from ncpl.plan.arms import GRID, Arms, flop_of
from ncpl.plan.narrowing import Narrowed, pick
from ncpl.plan.sweep import best_setting


@dataclass(frozen=True)
class LawRun:
    """One whole run, and the half width of the large run's loss that is expected after it."""

    name: str
    number: int
    flop: float
    half: float
    config: Mapping[str, Any]


@dataclass(frozen=True)
class LawAllocation:
    """Runs for a law, in their order; losses in nats."""

    loss: float
    """Expected of the large run at its best setting now."""
    half: float
    runs: list[LawRun]
    budget: float
    spent: float
    n_known: int


def allocate_law(
    population: Population,
    configs: Sequence[Mapping[str, Any]],
    budget: float,
    params: float,
    tokens: float,
    results: Sequence[Mapping[str, Any]] = (),
) -> LawAllocation:
    """Return which whole runs a budget in FLOP should buy for the law of a large run.

    The large run has the recipe of the first candidate, at the best learning rate and batch as far
    as known. `results` are finished candidates with `final_loss`; what they cost is taken from the
    budget. Raises ConfigError for a wrong candidate or result.
    """
    rows = [checked_row(c, where=f"candidate {i}")[1] for i, c in enumerate(configs, start=1)]
    names = [str(config.get("run_id") or i) for i, config in enumerate(configs, start=1)]
    cost = np.array([flop_of(row) for row in rows])
    blank = np.full(len(rows), np.nan)
    arms = Arms(names, rows, cost, blank, blank, np.full((len(rows), len(GRID)), np.nan))
    done: dict[int, float] = {}
    for i, result in enumerate(results, start=1):
        loss = result.get("final_loss") if isinstance(result, Mapping) else None
        if loss is None:
            raise ConfigError(f"result {i} has no final_loss; a law reads finished runs only")
        at = arm_of(arms, configs, result, f"result {i}")
        done[at] = checked_loss(loss, f"result {i}: final_loss")
    large = dict(rows[0]) | {"params_non_embedding": params, "data_tokens": tokens}
    effects = replace(Effects.of([*rows, large]), habit=None)
    belief = LawProcess.of(population, effects, [rows[i] for i in done], list(done.values()))
    rate, batch = best_setting(belief, params, tokens)
    large |= {"learning_rate": rate, "batch_tokens": batch}
    spent = float(sum(cost[i] for i in done))
    rest = [i for i in range(len(rows)) if i not in done]
    told = Narrowed(belief, belief.read([rows[i] for i in rest]), belief.read([large]))
    half = told.half()
    runs: list[LawRun] = []
    left = budget - spent
    open_cost = cost[rest]
    while picked := pick(told, open_cost, left, 1):
        at = rest[picked[0]]
        left -= float(cost[at])
        open_cost[picked[0]] = np.inf
        runs.append(LawRun(names[at], at + 1, float(cost[at]), told.half(), configs[at]))
    return LawAllocation(float(belief.predict([large])[0][0]), half, runs, budget, spent, len(done))
