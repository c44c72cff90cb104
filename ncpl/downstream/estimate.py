"""What every method of task prediction answers to: a table in, values with intervals out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ncpl.downstream.table import Array, TaskTable
from ncpl.downstream.tasks import Task

NORMAL_90 = 1.6448536269514722
"""Half width of a 90% interval in standard deviations."""


@dataclass(frozen=True)
class Estimate:
    """Predictions for M models and T tasks."""

    value: Array
    """(M, T); NaN where the method has nothing to say."""
    sd: Array
    """(M, T) standard deviation of the error, that of scoring on few examples included."""

    def interval(self, tasks: list[Task]) -> tuple[Array, Array]:
        """Return the ends of the 90% interval, (M, T) each; shares end at 0 and 1."""
        low, high = self.value - NORMAL_90 * self.sd, self.value + NORMAL_90 * self.sd
        for j, task in enumerate(tasks):
            if task.is_share:
                low[:, j], high[:, j] = np.clip(low[:, j], 0, 1), np.clip(high[:, j], 0, 1)
        return low, high


class FittedMethod(Protocol):
    """A method after it saw a table."""

    def predict(self, table: TaskTable) -> Estimate:
        """Return predictions for the table's models, from everything but its task results."""


class TaskMethod(Protocol):
    """A way from losses to task results."""

    @property
    def name(self) -> str:
        """Return the name of the row on a board."""

    @property
    def citation(self) -> str:
        """Return where the method was published, or what it is."""

    def fit(self, table: TaskTable) -> FittedMethod:
        """Return the method fitted to the models of a table."""


def binomial(values: Array, tasks: list[Task]) -> Array:
    """Return the standard error of scoring each value on its task's examples, (M, T)."""
    found = np.zeros_like(values)
    for j, task in enumerate(tasks):
        n = task.n_examples
        if task.is_share and n:
            share = np.clip(values[:, j], 0.5 / n, 1 - 0.5 / n)
            found[:, j] = np.sqrt(share * (1 - share) / n)
    return found


def chances(tasks: list[Task]) -> Array:
    """Return each task's chance level, (T,); 0 where nobody states one."""
    return np.array([task.chance or 0.0 for task in tasks])
