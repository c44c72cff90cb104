"""Published ways from losses to task results, and the baselines beside them, a task at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ncpl.downstream.estimate import Estimate, binomial, chances
from ncpl.downstream.network import fit_network
from ncpl.downstream.table import Array, TaskTable
from ncpl.downstream.tasks import LOSSES, Task

FEWEST_POINTS = 4
EMERGED_MARGIN = 0.05
"""FLP fits models this far above chance only: section 3 of its paper."""
HUBER = 0.01
Predict = Callable[[TaskTable], Array]
FitTask = Callable[[TaskTable, int], Predict]
"""(training models, place of the task) -> function from a table to predictions (M,)."""


@dataclass(frozen=True)
class TaskwiseFit:
    """One fitted function a task, with the scatter of its residuals."""

    functions: tuple[Predict, ...]
    scatter: Array
    """(T,) standard deviation of the residuals on the models it was fitted to."""

    def predict(self, table: TaskTable) -> Estimate:
        """Return predictions; shares stay in [0, 1]."""
        columns = []
        for task, function in zip(table.tasks, self.functions, strict=True):
            values = function(table)
            columns.append(np.clip(values, 0, 1) if task.is_share else values)
        value = np.array(columns).T
        noise = binomial(np.nan_to_num(value), table.tasks)
        return Estimate(value, np.sqrt(noise**2 + self.scatter**2))


@dataclass(frozen=True)
class Taskwise:
    """A method that treats each task on its own."""

    name: str
    citation: str
    fit_task: FitTask

    def fit(self, table: TaskTable) -> TaskwiseFit:
        """Return the method fitted to every task with enough results."""
        functions, scatter = [], []
        for j in range(len(table.tasks)):
            known = table.take(np.isfinite(table.values[:, j]))
            function = self.fit_task(known, j) if len(known) >= FEWEST_POINTS else nothing
            error = function(known) - known.values[:, j]
            error = error[np.isfinite(error)]
            functions.append(function)
            scatter.append(float(np.sqrt(np.mean(error**2))) if len(error) else np.nan)
        return TaskwiseFit(tuple(functions), np.array(scatter))


def nothing(table: TaskTable) -> Array:
    """Return no prediction for any model."""
    return np.full(len(table), np.nan)


def constant(value: float) -> Predict:
    """Return the function that always says `value`."""
    return lambda table: np.full(len(table), value)


def chance(train: TaskTable, j: int) -> Predict:
    """Guess."""
    level = train.tasks[j].chance
    return nothing if level is None else constant(level)


def mean(train: TaskTable, j: int) -> Predict:
    """Say the mean of the training models."""
    return constant(float(train.values[:, j].mean()))


def largest(train: TaskTable, j: int) -> Predict:
    """Say what the training model of the most compute reached."""
    compute = np.nan_to_num(train.flop, nan=-1.0)
    return constant(float(train.values[int(np.argmax(compute)), j]))


def least_squares(residuals: Callable[[Array], Array], starts: Sequence[Sequence[float]]) -> Array:
    """Return the parameters of the best robust fit over the starts."""
    from scipy.optimize import least_squares as solve

    ends = [solve(residuals, start, loss="huber", f_scale=HUBER) for start in starts]
    return np.asarray(min(ends, key=lambda end: float(end.cost)).x)


def error_law(train: TaskTable, j: int) -> Predict:
    """Fit error = eps - k exp(-gamma L)."""
    keep = np.isfinite(train.loss)
    if keep.sum() < FEWEST_POINTS or not train.tasks[j].is_share:
        return nothing
    loss, error = train.loss[keep], 1 - train.values[keep, j]

    def curve(z: Array, at: Array) -> Array:
        return np.asarray(z[0] - np.exp(np.clip(z[1] - np.exp(z[2]) * at, -50, 50)))

    starts = [(float(error.max()), 0.0, np.log(rate)) for rate in (0.3, 1.0, 2.0)]
    z = least_squares(lambda z: curve(z, loss) - error, starts)
    return lambda table: 1 - curve(z, table.loss)


def sigmoid_of(feature: Callable[[TaskTable], Array]) -> FitTask:
    """Return the fit of accuracy = floor + (top - floor) / (1 + exp(slope (x - middle)))."""

    def fit(train: TaskTable, j: int) -> Predict:
        x = feature(train)
        keep = np.isfinite(x)
        if keep.sum() < FEWEST_POINTS or not train.tasks[j].is_share:
            return nothing
        x, y = x[keep], train.values[keep, j]
        floor = train.tasks[j].chance or 0.0

        def curve(z: Array, at: Array) -> Array:
            top = floor + (1 - floor) * float(1 / (1 + np.exp(-z[0])))
            return np.asarray(
                floor + (top - floor) / (1 + np.exp(np.clip(np.exp(z[1]) * (at - z[2]), -50, 50)))
            )

        middles = np.quantile(x, [0.05, 0.5]) - np.array([0.5, 0.0]) * np.std(x)
        starts = [
            (2.0, np.log(rate / max(float(np.std(x)), 1e-6)), m) for m in middles for rate in (1, 3)
        ]
        z = least_squares(lambda z: curve(z, x) - y, starts)
        return lambda table: curve(z, feature(table))

    return fit


def two_step(train: TaskTable, j: int) -> Predict:
    """Fit a sigmoid of the task's own loss, or of the main loss where there is none."""
    name = task_loss(train, j)

    def feature(table: TaskTable) -> Array:
        return table.losses[name] if name else table.loss

    return sigmoid_of(feature)(train, j)


def task_loss(table: TaskTable, j: int) -> str | None:
    """Return the name of the loss column that is the task's own log-likelihood, if there is one."""
    return next(
        (f"task/{table.tasks[j].name}:{kind}" for kind in LOSSES
         if f"task/{table.tasks[j].name}:{kind}" in table.losses),
        None,
    )  # fmt: skip


def emerged(train: TaskTable, j: int) -> npt.NDArray[np.bool_]:
    """Return which models are far enough above chance for FLP."""
    return np.asarray(train.values[:, j] > (train.tasks[j].chance or 0.0) + EMERGED_MARGIN)


def flp(train: TaskTable, j: int) -> Predict:
    """Fit a line in the loss to the models that are above chance."""
    keep = np.isfinite(train.loss) & emerged(train, j)
    if keep.sum() < FEWEST_POINTS or not train.tasks[j].is_share:
        return nothing
    slope, level = np.polyfit(train.loss[keep], train.values[keep, j], 1)
    return lambda table: level + slope * table.loss


def flp_mixture(train: TaskTable, j: int) -> Predict:
    """Fit a two-layer network on the losses of all domains to the models above chance."""
    names = [name for name in train.losses if not name.startswith("task/")]
    x = np.stack([train.losses[name] for name in names], axis=1) if names else np.empty((0, 0))
    keep = np.isfinite(x).all(axis=1) & emerged(train, j) if len(names) > 1 else np.array([False])
    if keep.sum() < 2 * FEWEST_POINTS or not train.tasks[j].is_share:
        return nothing
    network = fit_network(x[keep], train.values[keep, j])
    return lambda table: network(np.stack([table.losses[name] for name in names], axis=1))


def pass_until(train: TaskTable, j: int) -> Predict:
    """Fit log(-log pass rate) as a line in log N."""
    value = train.values[:, j]
    keep = np.isfinite(train.params) & (value > 0) & (value < 1)
    if keep.sum() < FEWEST_POINTS or not train.tasks[j].is_share:
        return nothing
    slope, level = np.polyfit(np.log(train.params[keep]), np.log(-np.log(value[keep])), 1)
    return lambda table: np.exp(-np.exp(level + slope * np.log(table.params)))


def observational(train: TaskTable, j: int) -> Predict:
    """Fit a sigmoid of the capability that the other tasks show (principal components).

    The held-out models' other tasks are read, which is the method's own setting; so its row says
    how well tasks tell of each other, not how well a run can be told before it is trained.
    """
    others = [
        i for i, task in enumerate(train.tasks)
        if task.is_share and task.base != train.tasks[j].base
        and np.isfinite(train.values[:, i]).any()
    ]  # fmt: skip
    if len(others) < 2 or not train.tasks[j].is_share:
        return nothing
    middle = np.nanmean(train.values[:, others], axis=0)
    filled = np.nan_to_num(train.values[:, others] - middle)
    _, _, directions = np.linalg.svd(filled, full_matrices=False)
    first = directions[0] * (1.0 if directions[0].sum() > 0 else -1.0)

    def feature(table: TaskTable) -> Array:
        return np.asarray(-np.nan_to_num(table.values[:, others] - middle) @ first)

    return sigmoid_of(feature)(train, j)


BASELINES = (
    Taskwise("chance", "a guess", chance),
    Taskwise("mean", "mean of the training models", mean),
    Taskwise("largest", "what the training model of the most compute reached", largest),
)
PUBLISHED = (
    Taskwise("error law", "Gadre et al. 2024, arXiv 2403.08540, equation 5", error_law),
    Taskwise("two steps", "Bhagia et al. 2024, arXiv 2412.04403, sections 3.1 and 3.2", two_step),
    Taskwise("FLP", "Chen et al. 2024, arXiv 2410.08527, section 3", flp),
    Taskwise("FLP-M", "Chen et al. 2024, arXiv 2410.08527, section 4", flp_mixture),
    Taskwise("PassUntil", "Hu et al. 2023, arXiv 2310.03262, section 4", pass_until),
    Taskwise("observational", "Ruan et al. 2024, arXiv 2405.10938, section 3", observational),
)


def with_task_losses(table: TaskTable) -> TaskTable:
    """Return the table with the tasks' own log-likelihoods among its losses too."""
    own = {
        f"task/{t.id}": table.values[:, j] for j, t in enumerate(table.tasks) if t.kind in LOSSES
    }
    return replace(table, losses={**table.losses, **own}) if own else table


def above_chance(values: Array, tasks: list[Task]) -> npt.NDArray[np.bool_]:
    """Return which results (M, T) are above a guess and the noise of scoring it."""
    floor = np.array([task.emerged_above() for task in tasks])
    return np.asarray(values > np.where(chances(tasks) > 0, floor, 0.0))
