"""What a strategy answers with."""

from __future__ import annotations

from dataclasses import dataclass

from ncpl.plan.arms import ArmsProgress


@dataclass(frozen=True)
class Order:
    """Take one arm to a share of its run."""

    arm: int
    until: float


def affordable(progress: ArmsProgress, arm: int, until: float = 1.0) -> bool:
    """Return whether the rest of the budget takes an arm to a share of its run."""
    return progress.cost(arm, until) <= progress.left * (1 + 1e-9)
