"""Loss over learning rate and over batch size: the paper's figure 3."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ncpl.data.snapshot import Runs
from ncpl.figures.groups import Array, Group, find_groups
from ncpl.figures.style import (
    LOSS_LABEL,
    PALETTE,
    group_title,
    plain_log_ticks,
    pyplot,
    save,
    thinned,
    tick_text,
)
from ncpl.model.predictor import Predictor

LINES, STEPS = 4, 60
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LABELS = {"rate": "learning rate (peak)", "batch": "batch size, sequences"}


def slices(
    bundle: Predictor,
    runs: Runs,
    path: Path,
    *,
    count: int = 4,
    source: str | None = None,
    names: Sequence[str] = (),
) -> None:
    """Write a column a group: loss over learning rate at batch sizes, over batch size at rates.

    Lines are predictions with their 90% band, dots are measured runs.
    """
    plt = pyplot()
    groups = find_groups(bundle, runs, count=count, source=source, names=names)
    figure, axes = plt.subplots(
        2, len(groups), figsize=(3.9 * len(groups) + 0.6, 7.2), squeeze=False, layout="constrained"
    )
    for column, group in zip(axes.T, groups, strict=True):
        _panel(column[0], bundle, group, along="rate")
        _panel(column[1], bundle, group, along="batch")
        column[0].set_title(
            f"{group.fit.family[0]} {group.split.upper()}\n{group_title(group.row)}"
        )
        low, high = group.loss.min(), np.quantile(group.loss, 0.97)
        found = group.predict(bundle, group.rate, group.batch)
        half = float(np.median(found.high - found.low)) / 2  # bands stay in sight where they can
        low -= max(0.12 * (high - low), min(half, high - low))
        for axis in column:
            axis.set_ylim(low, high + 0.45 * (high - low))
    for row in axes:
        row[0].set_ylabel(LOSS_LABEL)
    figure.suptitle("lines and bands: predicted with 90% interval; markers: measured", fontsize=9)
    save(plt, figure, path)


def _panel(axis: Any, bundle: Predictor, group: Group, *, along: str) -> None:
    x, at = (group.rate, group.batch) if along == "rate" else (group.batch, group.rate)
    line = np.geomspace(x.min() / 1.15, x.max() * 1.15, STEPS)
    for value, colour, marker in zip(_common(at), PALETTE, MARKERS, strict=False):
        fixed = np.full(STEPS, value)
        found = group.predict(bundle, *((line, fixed) if along == "rate" else (fixed, line)))
        own = at == value
        axis.fill_between(line, found.low, found.high, color=colour, alpha=0.12, lw=0)
        axis.plot(line, found.loss, color=colour, lw=1.3)
        axis.plot(
            x[own], group.loss[own], marker, color=colour, ms=4.5, mec="white", mew=0.5,
            label=tick_text(value),
        )  # fmt: skip
    axis.set_xscale("log")
    plain_log_ticks(axis.xaxis, thinned(x.tolist()))
    axis.tick_params(axis="x", labelrotation=30 if along == "rate" else 0)
    axis.set_xlabel(LABELS[along])
    title = "batch size" if along == "rate" else "learning rate"
    axis.legend(title=title, title_fontsize=8, loc="upper center", ncols=2, handletextpad=0.2)


def _common(values: Array) -> list[float]:
    """Return the values with the most runs, spread from low to high."""
    found, counts = np.unique(values, return_counts=True)
    enough = found[counts >= max(3, np.quantile(counts, 0.4))]
    if not len(enough):
        enough = found
    picks = np.linspace(0, len(enough) - 1, min(LINES, len(enough))).round().astype(int)
    return [float(enough[i]) for i in dict.fromkeys(picks.tolist())]
