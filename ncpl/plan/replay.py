"""One engine for every strategy: it asks what to run, shows that much of it, and charges it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ncpl.plan.arms import Arms, ArmsProgress, Array, Prefix
from ncpl.plan.orders import Order
from ncpl.plan.strategies import Strategy

DONE = 1.0 - 1e-9
MOST_QUESTIONS = 10_000


@dataclass(frozen=True)
class Truth:
    """What the runs really gave."""

    final: Array
    """(A,) nats per token."""
    prefix: Sequence[Prefix]
    """The whole measured curve of each arm; empty where none was kept."""


@dataclass(frozen=True)
class ReplayOutcome:
    """What a strategy made of a budget."""

    progress: ArmsProgress
    orders: list[Order]
    chosen: int
    """The best of the finished runs; -1 where none finished."""

    def regret(self, truth: Truth) -> float:
        """Return how far the chosen run lies above the best of all, percent of the loss."""
        best = float(truth.final.min())
        return float(100 * (truth.final[self.chosen] / best - 1))


def replay(
    arms: Arms, truth: Truth, strategy: Strategy, budget: float, *, seed: int = 0
) -> ReplayOutcome:
    """Return what a strategy makes of a budget (FLOP), run by run.

    Raises ValueError when it orders what the budget does not pay or what is done already.
    """
    progress = ArmsProgress.start(arms, budget, seed)
    orders: list[Order] = []
    while len(orders) < MOST_QUESTIONS:
        asked = strategy.ask(progress)
        if not asked:
            break
        for order in asked:
            cost = progress.cost(order.arm, order.until)
            if cost <= 0 or cost > progress.left * (1 + 1e-9) + 1e-6:
                raise ValueError(
                    f"{strategy.name} orders run {order.arm} to {order.until:g} for {cost:g} FLOP "
                    f"with {progress.left:g} left"
                )
            reveal(progress, order, truth)
            orders.append(order)
    done = np.flatnonzero(progress.finished)
    chosen = int(done[np.argmin(progress.final[done])]) if len(done) else -1
    return ReplayOutcome(progress, orders, chosen)


def reveal(progress: ArmsProgress, order: Order, truth: Truth) -> None:
    """Take a run to a share of its length and show what it measured on the way."""
    until = 1.0 if order.until >= DONE else order.until
    progress.share[order.arm] = until
    progress.prefix[order.arm] = truth.prefix[order.arm].until(until)
    if until == 1.0:
        progress.final[order.arm] = truth.final[order.arm]
