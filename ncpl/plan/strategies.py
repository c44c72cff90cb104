"""Which run a budget should buy next, and how far to take it: strategies for the best run.

A strategy is a pure function of what is known so far, so that a replay, a plan and a resumed plan
are one thing. It answers with orders, none when the budget buys nothing more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ncpl.plan.arms import Arms, ArmsProgress, Array, Prefix
from ncpl.plan.forecasts import Forecaster, shrunken
from ncpl.plan.improvement import best_of_model
from ncpl.plan.orders import Order, affordable
from ncpl.plan.surrogates import last_value, power_law, process

Ask = Callable[[ArmsProgress], list[Order]]
Score = Callable[[Arms, Sequence[int], Sequence[Prefix]], Array]
RUNGS = (0.125, 0.25, 0.5, 1.0)
"""Shares of a run at which halving keeps the better half."""
LATE = 0.5
"""Share of a run at which the one late cut is made."""


@dataclass(frozen=True)
class Strategy:
    """One way to spend a budget."""

    name: str
    about: str
    ask: Ask
    is_random: bool = False
    """It draws at random: a replay is to be repeated."""


def whole_runs(order: Callable[[ArmsProgress], Sequence[int]]) -> Ask:
    """Return the strategy that takes runs to their end, in an order."""

    def ask(progress: ArmsProgress) -> list[Order]:
        for arm in order(progress):
            if not progress.finished[arm] and affordable(progress, arm):
                return [Order(int(arm), 1.0)]
        return []

    return ask


def drawn(progress: ArmsProgress) -> Sequence[int]:
    """Return the arms in an order drawn with the seed."""
    order: list[int] = np.random.default_rng(progress.seed).permutation(len(progress.arms)).tolist()
    return order


def by_prediction(progress: ArmsProgress) -> Sequence[int]:
    """Return the arms, those with the lowest predicted loss first."""
    order: list[int] = np.argsort(progress.arms.loss, kind="stable").tolist()
    return order


def halving(
    score: Score, order: Callable[[ArmsProgress], Sequence[int]], rungs: Sequence[float] = RUNGS
) -> Ask:
    """Return successive halving: as many arms as the budget pays, half of them kept at each rung.

    At a rung only what was measured up to it counts, so a resumed plan goes on as it began.
    """

    def ask(progress: ArmsProgress) -> list[Order]:
        alive = entrants(progress, order(progress), rungs)
        for i, rung in enumerate(rungs):
            waiting = [a for a in alive if progress.share[a] < rung - 1e-9]
            if waiting:
                return _paid(progress, [Order(a, rung) for a in waiting])
            if rung < 1.0:
                kept = -(-len(alive) // 2)
                key = ("rung", i, tuple(alive))
                if key not in progress.cache:
                    seen = [progress.prefix[a].until(rung) for a in alive]
                    progress.cache[key] = np.argsort(
                        score(progress.arms, alive, seen), kind="stable"
                    )
                alive = [alive[j] for j in progress.cache[key][:kept]]
        return []

    return ask


def entrants(progress: ArmsProgress, order: Sequence[int], rungs: Sequence[float]) -> list[int]:
    """Return the first arms of an order, as many as the budget can halve; one at least."""
    flop = progress.arms.flop

    def bill(arms: Sequence[int]) -> float:
        dear = sorted((flop[a] for a in arms), reverse=True)
        total, before, n_alive = 0.0, 0.0, len(dear)
        for rung in rungs:
            total += (rung - before) * sum(dear[:n_alive])
            before, n_alive = rung, -(-n_alive // 2)
        return float(total)

    count = 1
    while count < len(order) and bill(order[: count + 1]) <= progress.budget * (1 + 1e-9):
        count += 1
    return list(order[:count])


def _paid(progress: ArmsProgress, orders: list[Order]) -> list[Order]:
    """Return the first orders that the rest of the budget pays."""
    kept, left = [], progress.left * (1 + 1e-9)
    for order in orders:
        left -= progress.cost(order.arm, order.until)
        if left < 0:
            break
        kept.append(order)
    return kept


def forecast_score(forecaster: Forecaster) -> Score:
    """Return the score by a forecaster's final losses."""
    return lambda arms, places, prefixes: forecaster(arms, places, prefixes)[0]


def strategies(forecaster: Forecaster = shrunken) -> dict[str, Strategy]:
    """Return all strategies for the best run, by name; unfinished runs by this forecaster."""
    told = forecast_score(forecaster)
    found = (
        Strategy("random", "whole runs, drawn", whole_runs(drawn), is_random=True),
        Strategy(
            "halving", "successive halving on the current loss", halving(last_value, drawn), True
        ),
        Strategy(
            "halving + power law", "successive halving on a power law fitted to each prefix",
            halving(power_law, drawn), True,
        ),
        Strategy(
            "halving + process", "successive halving on one process over all prefixes",
            halving(process, drawn), True,
        ),
        Strategy(
            "halving + model", "successive halving on the forecast", halving(told, drawn), True
        ),
        Strategy("top", "whole runs, the lowest predicted losses", whole_runs(by_prediction)),
        Strategy(
            "top, late cut", "twice as many by prediction to half, the better half of them on",
            halving(told, by_prediction, (LATE, 1.0)),
        ),
        Strategy(
            "ncpl", "what promises most for its cost; with a large budget the best predicted",
            best_of_model(forecaster),
        ),
    )  # fmt: skip
    return {strategy.name: strategy for strategy in found}
