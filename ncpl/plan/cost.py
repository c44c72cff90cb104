"""What a constraint costs: the loss given up against the best without it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ncpl.model.ensemble import Fit
from ncpl.plan.search import TIE_FRAC, Z, member_losses
from ncpl.plan.space import is_searched


@dataclass(frozen=True)
class Cost:
    """The loss that fixed fields give up, nats per token."""

    fields: list[str]
    """What was fixed and is free in the other plan."""
    nats: float
    low: float
    high: float
    """Ends that the members' spread gives, at least what runs of one configuration differ by; in
    them a cost below zero means that none can be told."""
    free: dict[str, Any]
    """The values of these fields at the optimum without the constraint."""


def constrained(fixed: Mapping[str, Any]) -> list[str]:
    """Return the fixed fields that a plan would choose otherwise."""
    return [name for name in fixed if name == "optimizer" or is_searched(name)]


def cost_of(
    fit: Fit, fields: list[str], chosen: Mapping[str, Any], free: Mapping[str, Any]
) -> Cost:
    """Return what a chosen configuration gives up against the best without the constraint.

    Members judge both by the same runs, so their difference is paired.
    """
    losses_M2 = member_losses(fit, [dict(chosen), dict(free)])
    difference_M = losses_M2[:, 0] - losses_M2[:, 1]
    nats = float(difference_M.mean())
    spread = float(difference_M.std(ddof=1)) if len(difference_M) > 1 else 0.0
    half = max(Z * spread, TIE_FRAC * float(losses_M2.mean()))
    return Cost(fields, nats, nats - half, nats + half, {n: free.get(n) for n in fields})
