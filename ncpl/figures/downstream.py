"""Task results over the loss with the fitted curves; what the audit says; held-out models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ncpl.downstream.audit import Audit
from ncpl.downstream.board import Mask
from ncpl.downstream.hierarchy import Hierarchy
from ncpl.downstream.saved import Relation
from ncpl.downstream.table import TaskTable
from ncpl.figures.style import LAW_COLOUR, MEASURED_COLOUR, NCPL_COLOUR, pyplot, save

POINTS = 60
COLUMNS = 3
MOST_PANELS = 9


def task_curves(relation: Relation, table: TaskTable, path: Path, at: Sequence[int]) -> None:
    """Write a figure of up to nine tasks: results over the loss, the curve and its 90% interval."""
    at = list(at)[:MOST_PANELS]
    shares = table.shares()
    rows = -(-len(at) // COLUMNS)
    plt = pyplot()
    n_columns = min(COLUMNS, len(at))
    figure, axes = plt.subplots(
        rows, n_columns, figsize=(3.2 * n_columns, 2.6 * rows), squeeze=False, layout="constrained"
    )
    low, high = relation.loss_range
    grid = np.linspace(low - 0.1 * (high - low), high, POINTS)
    curve = relation.fit.predict(relation.table_at(grid.tolist(), ""))
    bottom, top = curve.interval(list(relation.tasks))
    for axis, i in zip(np.ravel(axes), at, strict=False):
        task = relation.tasks[i]
        place = [t.id for t in shares.tasks].index(task.id)
        axis.scatter(shares.loss, shares.values[:, place], s=8, alpha=0.5, color=MEASURED_COLOUR)
        axis.plot(grid, curve.value[:, i], color=NCPL_COLOUR)
        axis.fill_between(grid, bottom[:, i], top[:, i], alpha=0.2, color=NCPL_COLOUR)
        if task.chance:
            axis.axhline(task.chance, linestyle=":", linewidth=1)
        axis.set_title(task.id)
        axis.set_xlabel("loss, nats per token (better to the right)")
        axis.invert_xaxis()
    for axis in np.ravel(axes)[len(at) :]:
        axis.axis("off")
    save(plt, figure, path)


def audit_map(audits: Sequence[Audit], path: Path) -> None:
    """Write a heat map: a task a row; rank with compute, rank with loss, share above chance."""
    names = ("compute", "loss", "above a guess")
    cells = np.array(
        [
            [np.nan if v is None else v for v in (a.rank_with_compute, a.rank_with_loss, a.emerged)]
            for a in audits
        ]
    )
    plt = pyplot()
    figure, axis = plt.subplots(figsize=(6.5, 1.0 + 0.16 * len(audits)), layout="constrained")
    image = axis.imshow(cells, aspect="auto", vmin=-1, vmax=1, cmap="RdYlGn")
    axis.set_xticks(range(len(names)), names)
    marks = ["" if a.is_predictable else " (not predictable)" for a in audits]
    labels = [f"{a.task}:{a.kind}{mark}" for a, mark in zip(audits, marks, strict=True)]
    axis.set_yticks(range(len(audits)), labels, fontsize=6)
    figure.colorbar(image, ax=axis, label="rank correlation, or share")
    save(plt, figure, path)


def predicted_and_measured(table: TaskTable, folds: list[tuple[Mask, Mask]], path: Path) -> None:
    """Write predicted over measured shares of the models that the folds leave out."""
    plt = pyplot()
    figure, axis = plt.subplots(figsize=(4.6, 4.4), layout="constrained")
    shares = table.shares()
    for train, test in folds:
        left = shares.take(test)
        said = Hierarchy().fit(shares.take(train)).predict(left)
        low, high = said.interval(left.tasks)
        known = np.isfinite(left.values)
        middle = said.value[known]
        reach = np.stack([middle - low[known], high[known] - middle])
        axis.errorbar(
            left.values[known], middle, yerr=np.maximum(reach, 0), fmt="o", markersize=2.5,
            linewidth=0.5, alpha=0.5, color=NCPL_COLOUR,
        )  # fmt: skip
    axis.plot([0, 1], [0, 1], color=LAW_COLOUR, linewidth=1)
    axis.set_xlabel("measured share")
    axis.set_ylabel("predicted, with 90% interval")
    axis.set_title(f"{table.name}: models left out")
    save(plt, figure, path)
