"""A plan of runs for a budget: which, how far, in which order; and the next ones after results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ncpl.data.fields import FIELDS, derive
from ncpl.data.own_runs import checked_loss, share_of
from ncpl.errors import ConfigError
from ncpl.model.intervals import Z90
from ncpl.model.predictor import Predictor
from ncpl.plan.arms import GRID, Arms, ArmsProgress, Prefix
from ncpl.plan.forecasts import Forecaster, shrunken
from ncpl.plan.improvement import FEW, STOPS, standing
from ncpl.plan.orders import Order
from ncpl.plan.replay import DONE, Truth, reveal
from ncpl.plan.strategies import Strategy, strategies

MOST_ARMS = 5000
"""Candidates beyond which a plan would take minutes."""
SAME = 1e-6
"""Relative difference up to which two values of a field are one."""


@dataclass(frozen=True)
class Step:
    """One stretch of a plan; losses in nats."""

    name: str
    arm: int
    begin: float
    """Share of the run at which it starts."""
    until: float
    flop: float
    loss: float
    """Forecast of the final loss."""
    low: float
    high: float
    config: Mapping[str, Any]


@dataclass(frozen=True)
class Allocation:
    """What a budget should buy."""

    strategy: Strategy
    budget: float
    spent: float
    done: list[Step]
    """What results so far paid for, in the order of the candidates."""
    following: list[Step]
    """What to run now; once it is measured, ask again."""
    steps: list[Step]
    """The whole plan, if every run gives what is forecast; stretches of one run joined."""
    best: Step | None
    """The best finished run so far."""
    notes: list[str]


def allocate(
    bundle: Predictor,
    configs: Sequence[Mapping[str, Any]],
    budget: float,
    *,
    results: Sequence[Mapping[str, Any]] = (),
    strategy: str = "ncpl",
    forecaster: Forecaster = shrunken,
    seed: int = 0,
) -> Allocation:
    """Return which candidates a budget in FLOP should buy, how far and in which order.

    `results` are runs done or on the way: a candidate's `run_id` or its fields, with `final_loss`
    or `curve` (see `ncpl.data.own_runs`); what they cost is taken from the budget. Raises
    ConfigError for a wrong candidate or result, or a budget below the cheapest whole run.
    """
    if not 1 <= len(configs) <= MOST_ARMS:
        raise ConfigError(f"{len(configs):,} candidates; expected 1 to {MOST_ARMS:,}")
    named = strategies(forecaster)
    if strategy not in named:
        raise ConfigError(f"there is no strategy {strategy!r}; there are: {', '.join(named)}")
    names = [str(config.get("run_id") or i) for i, config in enumerate(configs, start=1)]
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise ConfigError(f"two candidates have the run_id {twice[0]!r}; names must differ")
    arms = Arms.predicted(bundle, configs, names)
    if budget < arms.flop.min():
        raise ConfigError(
            f"a budget of {budget:.3g} FLOP buys no whole run; the cheapest costs "
            f"{arms.flop.min():.3g}"
        )
    progress = ArmsProgress.start(arms, budget, seed)
    for i, result in enumerate(results, start=1):
        take_result(progress, configs, result, f"result {i}")
    way = named[strategy]
    known = progress.finished
    best = int(np.nanargmin(progress.final)) if known.any() else None
    now = standing(progress, forecaster)

    def step(order: Order, begin: float) -> Step:
        loss, half = float(now.mean[order.arm]), Z90 * float(now.sd[order.arm])
        if known[order.arm]:
            loss, half = float(progress.final[order.arm]), 0.0
        return Step(
            names[order.arm], order.arm, begin, order.until,
            (order.until - begin) * float(arms.flop[order.arm]), loss, loss - half, loss + half,
            configs[order.arm],
        )  # fmt: skip

    spent = progress.spent
    following = [step(o, float(progress.share[o.arm])) for o in way.ask(progress)]
    found = None if best is None else step(Order(best, 1.0), 1.0)
    done = [
        step(Order(int(a), float(progress.share[a])), 0.0) for a in np.flatnonzero(progress.share)
    ]
    steps: list[Step] = []
    for order, begin in expected_orders(progress, way, now.mean):
        joins = bool(steps) and steps[-1].arm == order.arm
        steps.append(step(order, steps.pop().begin if joins else begin))
    return Allocation(
        way, budget, spent, done, following, steps, found, _notes(way, following, arms, budget)
    )


def _notes(way: Strategy, following: Sequence[Step], arms: Arms, budget: float) -> list[str]:
    notes = []
    if way.name == "ncpl" and following:
        shares = ", ".join(f"{100 * s:.0f}%" for s in STOPS[:-1])
        is_small = budget < FEW * float(arms.flop.sum())
        why = "another one promises more for its cost" if is_small else "it has no chance left"
        notes.append(
            f"a run is asked about again at {shares} of its length: give its curve with --resume; "
            f"it is not taken on where {why}"
        )
    if np.isnan(arms.curve).all():
        notes.append("no curve is predicted here: an unfinished run is told by its settings alone")
    return notes


def expected_orders(
    progress: ArmsProgress, strategy: Strategy, mean: Any
) -> list[tuple[Order, float]]:
    """Return all orders of a strategy, with where each begins, if runs give what is forecast.

    The progress is taken along.
    """
    arms = progress.arms
    final = np.where(progress.finished, progress.final, mean)
    shift = final - arms.loss
    truth = Truth(final, [_expected_curve(progress, a, float(shift[a])) for a in range(len(arms))])
    orders: list[tuple[Order, float]] = []
    while asked := strategy.ask(progress):
        for order in asked:
            orders.append((order, float(progress.share[order.arm])))
            reveal(progress, order, truth)
    return orders


def _expected_curve(progress: ArmsProgress, arm: int, shift: float) -> Prefix:
    """Return a whole curve of an arm: what was measured, then what is predicted."""
    seen = progress.prefix[arm]
    later = GRID[progress.share[arm] < GRID]
    curve = progress.arms.along(arm, later) + shift
    there = np.isfinite(curve)
    return Prefix(
        np.concatenate([seen.share, later[there]]), np.concatenate([seen.loss, curve[there]])
    )


def take_result(
    progress: ArmsProgress,
    configs: Sequence[Mapping[str, Any]],
    result: Mapping[str, Any],
    where: str,
) -> None:
    """Take what is known of one run into the progress. Raises ConfigError for a wrong one."""
    if not isinstance(result, Mapping):
        raise ConfigError(f"{where} is {result!r}; expected an object of names and values")
    arm = arm_of(progress.arms, configs, result, where)
    row = progress.arms.rows[arm]
    final, curve = result.get("final_loss"), result.get("curve") or []
    if final is None and not curve:
        raise ConfigError(f"{where} has neither final_loss nor curve; give one, in nats")
    if not isinstance(curve, list) or not all(isinstance(point, Mapping) for point in curve):
        raise ConfigError(f"{where}: curve is not a list of objects with loss and step or tokens")
    points = []
    for j, point in enumerate(curve, start=1):
        at = f"{where}: curve point {j}"
        done = share_of(point, row, at)
        points.append((done, checked_loss(point.get("loss"), f"{at}: loss")))
        if not 0 < done <= 1 + SAME:
            raise ConfigError(
                f"{at} lies at {100 * done:g}% of the run; expected above 0 and up to 100%"
            )
    ordered = np.array(sorted(points)).reshape(-1, 2)
    progress.prefix[arm] = Prefix(np.minimum(ordered[:, 0], 1.0), ordered[:, 1])
    progress.share[arm] = float(min(ordered[-1, 0], 1.0)) if points else 1.0
    if final is not None:
        progress.final[arm] = checked_loss(final, f"{where}: final_loss")
        progress.share[arm] = 1.0
    elif progress.share[arm] >= DONE:
        raise ConfigError(f"{where}: its curve ends at the end of the run; give its final_loss too")


def arm_of(
    arms: Arms, configs: Sequence[Mapping[str, Any]], result: Mapping[str, Any], where: str
) -> int:
    """Return the candidate a result is of: by its run_id, else by every field it states."""
    name = result.get("run_id")
    if name is not None:
        if str(name) in arms.names:
            return list(arms.names).index(str(name))
        raise ConfigError(f"{where}: there is no candidate {name!r}")
    told = {n: v for n, v in result.items() if n not in ("final_loss", "curve")}
    row = derive(told)
    fields = [n for n in FIELDS if row.get(n) is not None]
    found = [i for i, own in enumerate(arms.rows) if all(_same(own.get(n), row[n]) for n in fields)]
    if len(found) == 1 and fields:
        return found[0]
    raise ConfigError(
        f"{where} matches {len(found)} of {len(configs)} candidates; give its run_id, or the "
        "number of the candidate as run_id"
    )


def _same(a: Any, b: Any) -> bool:
    if a is None or b is None or isinstance(a, str) or isinstance(b, str):
        return bool(a == b)
    return abs(float(a) - float(b)) <= SAME * max(abs(float(a)), abs(float(b)))
