"""Which runs tell most of larger ones for what they cost.

Legend: B candidate runs, T targets.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from ncpl.data.fields import Config
from ncpl.model.family_law import Effects
from ncpl.model.intervals import Z90
from ncpl.model.law_inputs import Array
from ncpl.model.law_process import LawProcess, Reading
from ncpl.model.population import Population

Places = npt.NDArray[np.int64]
EXPONENT = 0.25
"""Power of a run's cost that what it tells is divided by: of 0, .25 and .5 the best on cells of
StepLaw's smaller sizes taken as targets (LOG.md)."""
REFIT = 1.35
"""The law is inferred anew each time the number of known runs has grown by this factor."""


class Narrowed:
    """What is told of targets as candidates are measured one after the other, whatever they give.

    Columns of a Cholesky factor are added as runs are.
    """

    def __init__(self, belief: LawProcess, candidates: Reading, targets: Reading) -> None:
        """Begin with what is known already."""
        self.belief, self.candidates = belief, candidates
        self.noise = belief.scales.noise**2
        self.variance = belief.variance(candidates)
        """(B,) of the candidates' losses."""
        self.target = belief.variance(targets)
        """(T,) of the targets' losses."""
        self.shared = belief.shared(targets, candidates)
        """(T, B)"""
        self.columns: list[Array] = []
        if len(belief.error):
            half = np.linalg.solve(belief.root, belief.shared(belief.known, candidates))
            to_target = np.linalg.solve(belief.root, belief.shared(belief.known, targets))
            self.variance = self.variance - np.square(half).sum(0)
            self.target = self.target - np.square(to_target).sum(0)
            self.shared = self.shared - to_target.T @ half
            self.columns = list(half)

    def half(self) -> float:
        """Return the half width (90%) of the first target's loss, a run's own error included."""
        return Z90 * math.sqrt(max(float(self.target[0]), 0.0) + self.noise)

    def gains(self) -> Array:
        """Return by how much each candidate would lower the targets' mean variance, (B,)."""
        own = np.maximum(self.variance, 0.0) + self.noise
        return np.asarray(np.square(self.shared).mean(0) / own)

    def measure(self, at: int) -> None:
        """Take a candidate as measured."""
        one = Reading(
            self.candidates.loss[[at]], self.candidates.slope[[at]], self.candidates.place[[at]]
        )
        column = self.belief.shared(self.candidates, one)[:, 0]
        for known in self.columns:
            column = column - known * known[at]
        scale = math.sqrt(max(float(column[at]), 0.0) + self.noise)
        to_target, own = self.shared[:, at] / scale, column / scale
        self.variance = self.variance - np.square(own)
        self.target = self.target - np.square(to_target)
        self.shared = self.shared - np.outer(to_target, own)
        self.columns.append(own)


def pick(
    told: Narrowed, cost: Array, budget: float, count: int, exponent: float = EXPONENT
) -> list[int]:
    """Return places of at most `count` runs that tell most of the targets for their cost.

    One after the other, each as if those before it were measured; within a budget in FLOP.
    """
    chosen: list[int] = []
    is_open = cost <= budget * (1 + 1e-12)
    price = cost**exponent
    while len(chosen) < count and is_open.any():
        at = int(np.argmax(np.where(is_open, told.gains() / price, -np.inf)))
        chosen.append(at)
        budget -= float(cost[at])
        told.measure(at)
        is_open[at] = False
        is_open &= cost <= budget * (1 + 1e-12)
    return chosen


def explore(
    population: Population,
    rows: Sequence[Config],
    cost: Array,
    targets: Sequence[Config],
    budget: float,
    measure: Callable[[Places], Array],
    *,
    most: int | None = None,
) -> Places:
    """Return places of the runs that a budget buys for a law of the targets, in their order.

    `measure` gives the losses of runs once they are done; what they say decides which are next.
    `most` is a number of runs after which to stop.
    """
    effects = Effects.of([*rows, *targets])
    chosen = np.empty(0, dtype=np.int64)
    left = budget
    while most is None or len(chosen) < most:
        done = [rows[i] for i in chosen.tolist()]
        belief = LawProcess.of(population, effects, done, measure(chosen) if done else ())
        rest = np.setdiff1d(np.arange(len(rows)), chosen)
        more = math.ceil(len(chosen) * REFIT) + 1 - len(chosen)
        more = more if most is None else min(more, most - len(chosen))
        told = Narrowed(belief, belief.read([rows[i] for i in rest.tolist()]), belief.read(targets))
        picked = pick(told, cost[rest], left, more)
        if not picked:
            break
        left -= float(cost[rest[picked]].sum())
        chosen = np.concatenate([chosen, rest[picked]])
    return chosen
