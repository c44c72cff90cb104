"""Loss curves, measured and predicted: the paper's figure 5."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ncpl.data.fields import derive
from ncpl.data.snapshot import Runs, Snapshot
from ncpl.errors import ConfigError, NcplError
from ncpl.evaluate.scores import SPLITS
from ncpl.figures.style import PALETTE, count_text, pyplot, save
from ncpl.model.predictor import Predictor

Array = npt.NDArray[np.float64]
FROM_FRAC = 0.05
"""Share of a run before which curves are not shown: they all fall from the start alike."""
POINTS = 40
SMOOTH_FROM = 150
"""Curves with more points are drawn as means over stretches."""


def curves(
    bundle: Predictor,
    snapshot: Snapshot,
    runs: Runs,
    path: Path,
    *,
    source: str | None = None,
    per_panel: int = 6,
) -> None:
    """Write a panel a (source, optimizer): measured curves thin, predicted ones dashed.

    Shown is the best held-out run of some groups, small to large. Predicted curves are drawn where
    the bundle has them, else final losses only. Raises NcplError when the snapshot has no curves of
    the bundle's sources.
    """
    plt = pyplot()
    panels = _panels(bundle, snapshot, runs, source, per_panel)
    if not panels:
        raise NcplError("the snapshot has no loss curves of held-out runs of this bundle's sources")
    columns = min(4, len(panels))
    rows = -(-len(panels) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(3.8 * columns, 3.4 * rows + 0.5), squeeze=False,
        layout="constrained",
    )  # fmt: skip
    has_curves = False
    for axis, panel in zip(axes.flat, panels, strict=False):
        shown = []
        for line, colour in zip(panel.lines, PALETTE, strict=False):
            axis.plot(line.percent, line.loss, color=colour, lw=0.9, alpha=0.75)
            shown.append(line.loss[line.percent >= 15])
            (final,) = bundle.predict([line.config])
            shares = np.linspace(FROM_FRAC, 1, POINTS)
            found = _predicted(bundle, line.config, shares)
            if found is not None:
                has_curves = True
                axis.plot(
                    100 * shares, found, color=colour, lw=1.5, ls=(0, (4, 2)), label=line.label
                )
            axis.errorbar(
                100, final.loss, [[final.loss - final.low], [final.high - final.loss]],
                fmt="o", color=colour, ms=4, lw=1, capsize=2,
                label=line.label if found is None else None,
            )  # fmt: skip
        values = np.concatenate(shown)
        low, high = values.min(), np.quantile(values, 0.98)
        axis.set_ylim(
            low - 0.08 * (high - low), high + (0.2 + 0.14 * len(panel.lines)) * (high - low)
        )
        axis.set_xlim(0, 103)
        axis.set_title(panel.title)
        axis.legend(loc="upper right", title="parameters, tokens", title_fontsize=8)
    for axis in axes.flat[len(panels) :]:
        axis.set_axis_off()
    for axis in axes[:, 0]:
        axis.set_ylabel("loss, nats per token")
    for axis in axes.flat[max(0, len(panels) - columns) : len(panels)]:
        axis.set_xlabel("percent of the run's steps")
    dashed = "dashed: predicted" if has_curves else "no predicted curves in this bundle"
    figure.suptitle(
        f"thin: measured; {dashed}; dots: predicted final loss with 90% interval", fontsize=9
    )
    save(plt, figure, path)


def _predicted(bundle: Predictor, config: dict[str, Any], shares: Array) -> Array | None:
    """Return the predicted curve, None where the bundle was trained without curves."""
    try:
        return np.asarray(bundle.curves([config], shares.tolist())[0])
    except ConfigError:  # the configuration was predicted before: it is the curve that is missing
        return None


@dataclass(frozen=True)
class Line:
    """One run and its measured curve."""

    config: dict[str, Any]
    label: str
    percent: Array
    """Of the run's steps."""
    loss: Array
    """Nats per token."""


@dataclass(frozen=True)
class Panel:
    """Curves of one source and optimizer."""

    title: str
    lines: list[Line]


def _panels(
    bundle: Predictor, snapshot: Snapshot, runs: Runs, source: str | None, per_panel: int
) -> list[Panel]:
    table = snapshot.table("curves")
    found: list[Panel] = []
    if table is None:
        return found
    for fit in bundle.fits:
        if source not in (None, fit.family[0]):
            continue
        own = table.filter(pc.equal(table["metric"], fit.family[1]))
        have = set(own["run_id"].unique().to_pylist())
        part = runs.where(family=fit.family)
        held_out = [
            split in SPLITS and run in have
            for run, split in zip(part.run_ids, part.split, strict=True)
        ]
        part = part.take(np.array(held_out, dtype=bool))
        for name in sorted({str(c.get("optimizer")) for c in part.configs}):
            mine = part.take(np.array([str(c.get("optimizer")) == name for c in part.configs]))
            picked = mine.take(_spread_out(mine, per_panel))
            measured = own.filter(pc.is_in(own["run_id"], pa.array(picked.run_ids)))
            lines = [_line(measured, picked, i, fit.family[0]) for i in range(len(picked))]
            lines = [line for line in lines if (line.percent >= 15).sum() > 3]
            if lines:
                found.append(Panel(f"{fit.family[0]}, {name}", lines))
    return found


def _spread_out(part: Runs, count: int) -> npt.NDArray[np.bool_]:
    """Return the best run of each group, of groups spread from low to high loss."""
    best: dict[str, int] = {}
    for i, group in enumerate(part.group):
        key = str(group)
        if key not in best or part.loss[i] < part.loss[best[key]]:
            best[key] = i
    order = sorted(best.values(), key=lambda i: part.loss[i])
    at = np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(int)
    keep = np.zeros(len(part), dtype=bool)
    keep[[order[i] for i in at]] = True
    return keep


def _line(table: Any, part: Runs, i: int, source: str) -> Line:
    config = part.configs[i] | {"source": source}
    row = derive(config)
    label = f"{count_text(row['params_non_embedding'])}, {count_text(row['data_tokens'])}"
    if part.split[i] == "ood":
        label += " (OOD)"
    own = table.filter(pc.equal(table["run_id"], part.run_ids[i])).sort_by("step")
    steps = np.array(own["step"].to_pylist(), dtype=np.float64)
    values = np.array(own["value"].to_pylist(), dtype=np.float64)
    share = steps / (config.get("train_steps") or steps.max())
    keep = (share >= FROM_FRAC) & (share <= 1.001)
    share, values = share[keep], values[keep]
    if len(share) > SMOOTH_FROM:
        parts = np.array_split(np.arange(len(share)), SMOOTH_FROM)
        share = np.array([share[p].mean() for p in parts])
        values = np.array([values[p].mean() for p in parts])
    return Line(config, label, 100 * share, values)
