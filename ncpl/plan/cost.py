"""What a constraint costs: the loss given up against the best without it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ncpl.plan.own_family import PlanFit
from ncpl.plan.search import Z, member_losses
from ncpl.plan.space import is_searched

FLOOR, SHARE = 0.002, 0.15
"""Half width of a cost, nats: a floor, and a share of the cost. What batches cost in 24 training
groups of StepLaw (147 costs) is missed by less in 90%; members alone tell a twentieth of it."""


@dataclass(frozen=True)
class Cost:
    """The loss that fixed fields give up, nats per token."""

    fields: list[str]
    """What was fixed and is free in the other plan."""
    nats: float
    low: float
    high: float
    """Ends of the 90% interval; one below zero means that no cost can be told from none."""
    free: dict[str, Any]
    """The values of these fields at the optimum without the constraint."""


def constrained(fixed: Mapping[str, Any]) -> list[str]:
    """Return the fixed fields that a plan would choose otherwise."""
    return [name for name in fixed if name == "optimizer" or is_searched(name)]


def cost_of(
    fit: PlanFit, fields: list[str], chosen: Mapping[str, Any], free: Mapping[str, Any]
) -> Cost:
    """Return what a chosen configuration gives up against the best without the constraint.

    Members judge both by the same runs, so their difference is paired.
    """
    losses_M2 = member_losses(fit, [dict(chosen), dict(free)])
    difference_M = losses_M2[:, 0] - losses_M2[:, 1]
    nats = float(difference_M.mean())
    spread = float(difference_M.std(ddof=1)) if len(difference_M) > 1 else 0.0
    half = half_width(nats, spread)
    return Cost(fields, nats, nats - half, nats + half, {n: free.get(n) for n in fields})


def half_width(nats: float, spread: float) -> float:
    """Return the half width of a cost's 90% interval, from the spread of the members' costs."""
    return max(Z * spread, FLOOR + SHARE * abs(nats))
