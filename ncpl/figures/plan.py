"""The figure of a recommendation: learning rate and batch, or a panel a free setting."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ncpl.data.fields import FIELDS, derive
from ncpl.data.snapshot import Runs
from ncpl.errors import NcplError
from ncpl.figures.contours import plane_figure
from ncpl.figures.groups import PLANE
from ncpl.figures.style import (
    LOSS_LABEL,
    MEASURED_COLOUR,
    NCPL_COLOUR,
    PALETTE,
    group_title,
    plain_log_ticks,
    pyplot,
    save,
    thinned,
)
from ncpl.model.bundle import Bundle
from ncpl.plan.measured import MeasuredRuns
from ncpl.plan.own_family import OwnPlans
from ncpl.plan.recommend import Recommendation
from ncpl.plan.search import intervals_of
from ncpl.plan.setting import CHOSEN, Setting
from ncpl.plan.space import WHOLE

STEPS = 60
COLUMNS = 3
SIMILAR = 1.05
"""Ratio of any other setting up to which a measured run lies on a line."""


def plan_figure(
    bundle: Bundle | OwnPlans, found: Recommendation, runs: Runs | None, path: Path
) -> None:
    """Write the figure of a recommendation.

    With learning rate and batch size both free, their plane; else a panel for each free setting,
    the others as recommended. Raises NcplError where nothing was free.
    """
    free = [s for s in found.settings if s.role == CHOSEN and s.searched and s.name != "optimizer"]
    if not free:
        raise NcplError("--plot shows what is free to choose, and nothing is; leave a field open")
    if all(any(s.name == name for s in free) for name in PLANE):
        plane_figure(bundle, found, runs, path)
        return
    plt = pyplot()
    columns = min(COLUMNS, len(free))
    rows = math.ceil(len(free) / columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(4.2 * columns + 0.6, 3.6 * rows + 0.4), squeeze=False,
        layout="constrained", sharey=True,
    )  # fmt: skip
    known = _same_group(bundle, found, runs)
    for axis, setting in zip(axes.flat, free, strict=False):
        _panel(axis, bundle, found, setting, known)
    for axis in axes.flat[len(free) :]:
        axis.set_axis_off()
    for row in axes:
        row[0].set_ylabel(LOSS_LABEL)
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    p = found.prediction
    figure.suptitle(
        f"{found.source}, {group_title(derive(found.config))}\n"
        f"recommended: {p.loss:.4f}, 90% {p.low:.4f} to {p.high:.4f}",
        fontsize=9,
    )
    save(plt, figure, path)


def _panel(
    axis: Any, bundle: Bundle | OwnPlans, found: Recommendation, setting: Setting,
    known: list[tuple[Mapping[str, Any], float]],
) -> None:  # fmt: skip
    """Draw predicted losses with their band over one setting, its choice, ties and runs."""
    name, searched = setting.name, setting.searched or []
    fit = bundle.fit_for(derive({**found.config, "source": found.source}))
    is_named = isinstance(searched[0], str)
    values = list(searched) if is_named else _line(name, searched)
    told = intervals_of(bundle, fit, [found.config | _as_fields(found, name, v) for v in values])
    x = range(len(values)) if is_named else values
    if is_named:
        half = [told.loss - told.low, told.high - told.loss]
        axis.errorbar(
            x, told.loss, half, fmt="o", color=NCPL_COLOUR, capsize=3, label="predicted, 90%"
        )
        axis.set_xticks(list(x), values, rotation=30)
        at = values.index(setting.value)
    else:
        axis.fill_between(x, told.low, told.high, color=NCPL_COLOUR, alpha=0.15, lw=0)
        axis.plot(x, told.loss, color=NCPL_COLOUR, label="predicted, 90% band")
        at = setting.value
        if setting.tied_alone:
            axis.axvspan(*setting.tied_alone, color=PALETTE[2], alpha=0.12, lw=0, label="tied")
        if FIELDS[name].transform == "log" and min(x) > 0:
            axis.set_xscale("log")
            plain_log_ticks(axis.xaxis, thinned(list(np.geomspace(min(x), max(x), 5))))
    axis.axvline(at, color=PALETTE[1], lw=1.2, ls="--", label="recommended")
    own = [(row[name], loss) for row, loss in known if _is_on_line(row, found, name)]
    if own and not is_named:
        axis.plot(*zip(*own, strict=True), "o", ms=4, color=MEASURED_COLOUR, label="measured")
    axis.set_xlabel(name)


def _line(name: str, searched: list[Any]) -> list[float]:
    low, high = float(searched[0]), float(searched[-1])
    is_log = FIELDS[name].transform == "log" and low > 0
    line = np.geomspace(low, high, STEPS) if is_log else np.linspace(low, high, STEPS)
    return list(dict.fromkeys(np.round(line).tolist())) if name in WHOLE else line.tolist()


def _as_fields(found: Recommendation, name: str, value: Any) -> dict[str, Any]:
    """Return a setting as the field of a configuration: a share of decay as its steps."""
    if name != "decay_frac":
        return {name: value}
    steps = derive(found.config).get("train_steps") or 0.0
    return {"decay_steps": round(value * steps)}


def _same_group(
    bundle: Bundle | OwnPlans, found: Recommendation, runs: Runs | None
) -> list[tuple[Mapping[str, Any], float]]:
    """Return measured runs of the group asked for; none where only another one was measured."""
    if found.measured is None or not found.measured.is_same:
        return []
    fit = bundle.fit_for(derive({**found.config, "source": found.source}))
    known = MeasuredRuns.of(fit, runs)
    return [
        (row, loss)
        for row, loss in zip(known.rows, known.loss, strict=True)
        if row.get("optimizer") == found.config.get("optimizer")
        and row["params_non_embedding"] == found.measured.params_non_embedding
        and row["data_tokens"] == found.measured.data_tokens
    ]


def _is_on_line(row: Mapping[str, Any], found: Recommendation, name: str) -> bool:
    """Return whether a measured run has the recommended values in all but one setting."""
    if row.get(name) is None:
        return False
    for other in (*PLANE, "weight_decay"):
        mine, theirs = found.config.get(other), row.get(other)
        if other != name and mine and theirs and not 1 / SIMILAR <= mine / theirs <= SIMILAR:
            return False
    return True
