"""The population: what families of comparable losses have in common, learned from all of them.

A family's law is drawn from it: the numbers of size and data together, those of the recipe each by
itself, and effects of named choices about what they were elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ncpl.model.family_law import BASE, OFF_LAW, Effects
from ncpl.model.law_inputs import PLACES, Array
from ncpl.model.posterior import Prior

OFF_SPREAD, OFF_GROWTH = 0.01, 0.1
"""Spread of how far losses lie off the law at the reference size and data, nats, and how fast it
grows towards small runs, per log unit."""
START: Mapping[str, tuple[float, float]] = {
    "log_a": (math.log(0.6), 0.5),
    "log_alpha": (math.log(0.28), 0.35),
    "log_b": (math.log(0.35), 0.5),
    "log_beta": (math.log(0.32), 0.35),
    "log_floor": (math.log(1.8), 0.25),
    "gamma": (0.0, 0.1),
    "rate": (0.0, 1.2),
    "log_rate_curve": (math.log(0.0226), 0.4),
    "rate_n": (-0.4, 0.2),
    "rate_d": (0.05, 0.15),
    "rate_batch": (0.3, 0.2),
    "batch": (0.0, 1.0),
    "log_batch_curve": (math.log(0.012), 0.6),
    "batch_d": (0.5, 0.2),
    "size_bend": (0.0, 0.01),
    "data_bend": (0.0, 0.01),
    "weight_decay": (0.0, 0.01),
    "warmup": (0.0, 0.05),
    "decay": (0.0, 0.05),
    "experts": (-0.035, 0.03),
    "experts_n": (0.0, 0.01),
    "shape": (0.0, 0.01),
    "aspect": (0.0, 0.01),
    "log_length": (0.0, 0.02),
    "rate_left": (0.09, 0.04),
    "few": (0.01, 0.02),
} | {
    name: (0.0, OFF_SPREAD * math.exp(-OFF_GROWTH * (n + d)))
    for name, (n, d) in zip(OFF_LAW, PLACES, strict=True)
}
"""Centre and spread of each number before any family is seen; see docs/community.md. Experts: 128
of them gained .17 nats on T5 (Fedus et al. 2021, table 1)."""
LEVEL_EFFECT, RATE_EFFECT = 0.04, 1.0
"""Spread of what a named choice does to the level, nats, and to the best learning rate, log."""


@dataclass(frozen=True)
class Population:
    """Mean and covariance of the base numbers, and the mean effects of named choices."""

    mean: Array
    """(base parameters,)"""
    covariance: Array
    log_noise: tuple[float, float]
    """Mean and spread of the log scale of errors over families."""
    effects: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Parameter name -> mean and spread of an effect that families were seen to have."""
    widths: Mapping[int, float] = field(default_factory=dict)
    """Runs known -> factor on a half width, measured on families left out."""

    @classmethod
    def start(cls) -> Population:
        """Return what is assumed before any family is seen."""
        mean, spread = np.array([START[name] for name in BASE]).T
        return cls(mean, np.diag(np.square(spread)), (math.log(0.01), 0.9))

    def prior(self, effects: Effects, *, widened: float = 1.0) -> Prior:
        """Return what is known of a family that varies these choices."""
        names = effects.parameters
        mean, covariance = np.zeros(len(names)), np.zeros((len(names), len(names)))
        n_base = len(BASE)
        mean[:n_base], covariance[:n_base, :n_base] = self.mean, self.covariance * widened**2
        for i, name in enumerate(names[n_base:], start=n_base):
            usual = LEVEL_EFFECT if name.startswith("level:") else RATE_EFFECT
            mean[i], spread = self.effects.get(name, (0.0, usual))
            covariance[i, i] = spread**2
        return Prior(mean, covariance, self.log_noise)

    def width_factor(self, count: int) -> float:
        """Return the factor on a half width where so many runs are known: of the next count below.

        1 where none was measured.
        """
        below = [known for known in self.widths if known <= count]
        return self.widths[max(below)] if below else 1.0

    def to_json(self) -> dict[str, Any]:
        """Return the population as plain values."""
        return {
            "parameters": list(BASE),
            "mean": self.mean.tolist(),
            "covariance": self.covariance.tolist(),
            "log_noise": list(self.log_noise),
            "effects": {name: list(pair) for name, pair in sorted(self.effects.items())},
            "widths": {str(count): factor for count, factor in self.widths.items()},
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Population:
        """Return the population of plain values. Raises ValueError for other parameters."""
        if list(raw["parameters"]) != list(BASE):
            raise ValueError("the population has other parameters than this version")
        return cls(
            np.array(raw["mean"], dtype=np.float64),
            np.array(raw["covariance"], dtype=np.float64),
            (float(raw["log_noise"][0]), float(raw["log_noise"][1])),
            {str(name): (float(a), float(b)) for name, (a, b) in raw["effects"].items()},
            {int(count): float(factor) for count, factor in raw["widths"].items()},
        )
