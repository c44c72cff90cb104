"""A Gaussian process over residuals in windows: what they carry over to the rest of a run.

    k(a, b) = (r_a . r_b) exp(-|c_a - c_b|^2 / 2 l^2) + level exp(-|x_a - x_b|^2 / 2 m^2)

r are the residual features, c the context, x both: how much of a residual lasts depends on the
context smoothly, and a prefix as predicted moves little. Features are in units of their spread.

Legend: n training runs, B runs, U places.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from ncpl.data.schedules import Array

PLACES = (0.1, 0.25, 0.5, 0.75, 1.0)
"""Places of the rest of a run, as shares of it; the last is its end."""
REACH = 4.0
"""Spreads from the middle at which a feature stops."""


@dataclass(frozen=True)
class Scaled:
    """Features of runs, in units of the training runs' spread."""

    residual: Array
    context: Array


@dataclass(frozen=True)
class WindowProcess:
    """A fitted process of one cut."""

    units: Array
    """(residual features,) their root mean square."""
    middle: Array
    """(context,)"""
    spread: Array
    """(context,)"""
    numbers: Array
    """Length of the context, of both, level and noise."""
    residual: Array
    """(n, residual features), scaled."""
    context: Array
    """(n, context), scaled."""
    weights: Array
    """(n, U) what a kernel is multiplied with, nats."""

    def scaled(self, residual_BR: Array, context_BC: Array) -> Scaled:
        """Return features in units of the spread, within REACH."""
        context = np.clip((context_BC - self.middle) / self.spread, -REACH, REACH)
        return Scaled(np.clip(residual_BR / self.units, -REACH, REACH), context)

    def shifts(self, residual_BR: Array, context_BC: Array) -> Array:
        """Return what losses lie off the predicted curve (B, U), nats."""
        own = self.scaled(residual_BR, context_BC)
        known = Scaled(self.residual.astype(np.float64), self.context.astype(np.float64))
        return kernel(own, known, self.numbers) @ self.weights.astype(np.float64)

    def state(self) -> dict[str, Array]:
        """Return the arrays of a bundle."""
        return {name: np.asarray(value) for name, value in vars(self).items()}

    @classmethod
    def of_state(cls, state: Mapping[str, Array]) -> Self:
        """Return the process of a bundle's arrays. Raises LookupError where one is missing."""
        return cls(**{name: state[name] for name in cls.__dataclass_fields__})


def kernel(a: Scaled, b: Scaled, numbers: Array) -> Array:
    """Return the covariance of two sets of runs, noise left out, (n, m)."""
    length, both, level, _ = numbers
    context = square(a.context, b.context)
    residual = square(a.residual, b.residual)
    alike = np.exp(-context / (2 * length**2))
    near = np.exp(-(context + residual) / (2 * both**2))
    return np.asarray(a.residual @ b.residual.T * alike + level * near)


def square(a: Array, b: Array) -> Array:
    """Return squared distances (n, m)."""
    found = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    return np.asarray(np.maximum(found, 0.0))


def fit_window_process(
    residual_nR: Array, context_nC: Array, target_nU: Array, numbers: Array, *, rounds: int = 3
) -> WindowProcess:
    """Return the process of training runs; far-off targets count less (Student-t, by rounds)."""
    units = np.sqrt((residual_nR**2).mean(0)).clip(1e-4)
    middle, spread = context_nC.mean(0), context_nC.std(0).clip(1e-3)
    empty = np.zeros((0, target_nU.shape[1]))
    start = WindowProcess(units, middle, spread, numbers, empty, empty, empty)
    own = start.scaled(residual_nR, context_nC)
    own = Scaled(own.residual.astype(np.float32), own.context.astype(np.float32))
    covariance = kernel(own, own, numbers)
    weight_n = np.ones(len(target_nU))
    end_n = target_nU[:, -1]
    solved = np.zeros_like(target_nU)
    for _ in range(rounds):
        noisy = covariance + np.diag(numbers[3] / weight_n + 1e-6)
        inverse = np.linalg.inv(noisy)
        solved = inverse @ target_nU
        left_n = np.abs(inverse @ end_n / np.diag(inverse))  # exact leave-one-out residuals
        unit = max(float(np.median(left_n)) / 0.6745, 1e-6)
        weight_n = 5 / (4 + (left_n / unit) ** 2)
    return WindowProcess(
        units, middle, spread, numbers, own.residual, own.context, solved.astype(np.float32)
    )
