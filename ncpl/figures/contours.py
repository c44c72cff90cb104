"""Loss over learning rate and batch size together: the paper's figure 4."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ncpl.data.fields import derive
from ncpl.data.snapshot import Runs
from ncpl.figures.groups import PLANE, Array, Group, find_groups
from ncpl.figures.style import (
    LOSS_LABEL,
    PALETTE,
    SCALE,
    group_title,
    plain_log_ticks,
    pyplot,
    save,
    thinned,
)
from ncpl.laws.steplaw import PUBLISHED
from ncpl.model.predictor import Predictor

if TYPE_CHECKING:
    from ncpl.plan.recommend import Recommendation

GRID = (61, 49)
LEVELS = 14
SAME_FRAC = 0.02
"""Measured runs of a size and tokens within this share of the plan's are shown with it."""


def contours(
    bundle: Predictor,
    runs: Runs,
    path: Path,
    *,
    count: int = 4,
    source: str | None = None,
    names: Sequence[str] = (),
) -> None:
    """Write a panel a group: predicted losses as contours, measured runs coloured on one scale."""
    plt = pyplot()
    groups = find_groups(bundle, runs, count=count, source=source, names=names)
    rows = 1 if len(groups) < 3 else 2
    columns = -(-len(groups) // rows)
    figure, axes = plt.subplots(
        rows, columns, figsize=(5.2 * columns, 4.1 * rows + 0.7), squeeze=False,
        layout="constrained",
    )  # fmt: skip
    for axis, group in zip(axes.flat, groups, strict=False):
        rates = np.geomspace(group.rate.min() / 1.2, group.rate.max() * 1.2, GRID[0])
        batches = np.geomspace(group.batch.min() / 1.2, group.batch.max() * 1.2, GRID[1])
        mesh = np.meshgrid(rates, batches, indexing="ij")
        loss = group.predict(bundle, mesh[0].ravel(), mesh[1].ravel()).loss.reshape(GRID)
        levels = _levels(np.concatenate([group.loss, [loss.min()]]))
        filled = _fill(axis, rates, batches, loss, levels)
        _measured(axis, group.rate, group.batch, group.loss, filled)
        at = np.unravel_index(loss.argmin(), loss.shape)
        _mark(axis, rates[at[0]], batches[at[1]], "predicted best")
        if group.row.get("optimizer") in (None, "adamw"):
            _mark(axis, *_law(group.row), "Step Law")
        predicted = group.predict(bundle, group.rate, group.batch).loss
        gap = 100 * (group.loss[predicted.argmin()] / group.loss.min() - 1)
        _finish(axis, group.rate, group.batch)
        axis.set_title(
            f"{group.fit.family[0]} {group.split.upper()}, {group_title(group.row)}\n"
            f"{len(group.loss)} runs, chosen run {gap:.2f}% above the best"
        )
        figure.colorbar(filled, ax=axis, label=LOSS_LABEL, format="%.3f")
    for axis in axes.flat[len(groups) :]:
        axis.set_axis_off()
    _legend(figure, axes.flat[0])
    save(plt, figure, path)


def plane_figure(bundle: Predictor, found: Recommendation, runs: Runs | None, path: Path) -> None:
    """Write the plane of learning rate and batch size around a recommendation.

    All other fields are those recommended; measured runs of that size and tokens are shown where a
    snapshot's runs are given. Both fields were searched.
    """
    plt = pyplot()
    settings = {s.name: s for s in found.settings}
    fit = bundle.fit_for(derive({**found.config, "source": found.source}))
    group = _measured_group(fit, found, runs)
    choice = [float(found.config[name]) for name in PLANE]
    law = [float(found.step_law[name]) for name in PLANE]
    ends = []
    for i, name in enumerate(PLANE):
        low, high = settings[name].searched or (0, 0)
        more = [] if group is None else [group.rate, group.batch][i].tolist()
        values = [low, high, choice[i], law[i], *more]
        ends.append(np.geomspace(max(min(values), 1e-12) / 1.1, max(values) * 1.1, GRID[i]))
    mesh = np.meshgrid(*ends, indexing="ij")
    flat = zip(mesh[0].ravel().tolist(), mesh[1].ravel().tolist(), strict=True)
    configs = [found.config | dict(zip(PLANE, pair, strict=True)) for pair in flat]
    loss = bundle.intervals(fit, configs).loss.reshape(GRID)
    figure, axis = plt.subplots(figsize=(6.6, 5.4), layout="constrained")
    best = found.prediction.loss
    measured = np.array([]) if group is None else group.loss
    top = np.quantile(loss, 0.75)
    filled = _fill(
        axis, ends[0], ends[1], loss, _levels(np.concatenate([measured, [loss.min(), best, top]]))
    )
    if group is not None:
        _measured(axis, group.rate, group.batch, group.loss, filled)
    _mark(axis, choice[0], choice[1], "recommended")
    _mark(axis, law[0], law[1], "Step Law")
    box = [settings[name].searched or [0, 0] for name in PLANE]
    axis.plot(
        [box[0][i] for i in (0, 1, 1, 0, 0)], [box[1][i] for i in (0, 0, 1, 1, 0)],
        color="black", lw=0.8, ls=":", label="searched",
    )  # fmt: skip
    _finish(axis, ends[0], ends[1], margin=1.0)
    p = found.prediction
    axis.set_title(
        f"{found.source}, {group_title(derive(found.config))}\n"
        f"recommended: {p.loss:.4f}, 90% {p.low:.4f} to {p.high:.4f}"
    )
    figure.colorbar(filled, ax=axis, label=LOSS_LABEL, format="%.3f")
    _legend(figure, axis)
    save(plt, figure, path)


def _measured_group(fit: Any, found: Recommendation, runs: Runs | None) -> Group | None:
    """Return the measured runs of the recommended size, tokens and optimizer, if there are any."""
    if runs is None:
        return None
    part = runs.where(family=fit.family)
    want = derive(found.config)
    rows = [derive(config) for config in part.configs]

    def same(row: Mapping[str, Any]) -> bool:
        return all(row.get(name) for name in PLANE) and (
            row.get("optimizer") == want.get("optimizer")
            and all(
                abs(float(row.get(name) or 0) / want[name] - 1) <= SAME_FRAC
                for name in ("params_non_embedding", "data_tokens")
            )
        )

    own = np.array([same(row) for row in rows], dtype=bool)
    if not own.any():
        return None
    kept = part.take(own)
    rate, batch = (np.array([config[n] for config in kept.configs], float) for n in PLANE)
    return Group(fit, "", "", dict(found.config), rate, batch, kept.loss, 0)


def _levels(losses: Array) -> Array:
    """Return levels that show the basin: up to what the better half of the runs reach, or 3%."""
    low = float(losses.min())
    high = max(float(np.quantile(losses, 0.75)), low * 1.02)
    return np.linspace(low, high, LEVELS)


def _fill(axis: Any, rates: Array, batches: Array, loss: Array, levels: Array) -> Any:
    filled = axis.contourf(rates, batches, loss.T, levels=levels, cmap=SCALE, extend="both")
    axis.contour(rates, batches, loss.T, levels=levels, colors="white", linewidths=0.4, alpha=0.6)
    return filled


def _measured(axis: Any, rate: Array, batch: Array, loss: Array, filled: Any) -> None:
    """Draw runs on the contours' scale; the best measured one wears a ring."""
    order = np.argsort(-loss)
    axis.scatter(
        rate[order], batch[order], c=loss[order], cmap=filled.cmap, norm=filled.norm, s=38,
        edgecolors="white", linewidths=0.8, zorder=3, label="measured run",
    )  # fmt: skip
    best = int(loss.argmin())
    axis.scatter(
        rate[best], batch[best], s=150, facecolors="none", edgecolors=PALETTE[1], linewidths=2,
        zorder=5, label="measured best",
    )  # fmt: skip


MARKS: dict[str, dict[str, Any]] = {
    "predicted best": {"marker": "*", "s": 130, "color": PALETTE[1], "edgecolors": "white"},
    "recommended": {"marker": "*", "s": 130, "color": PALETTE[1], "edgecolors": "white"},
    "Step Law": {"marker": "D", "s": 130, "facecolors": "none", "edgecolors": PALETTE[3]},
}


def _mark(axis: Any, rate: float, batch: float, name: str) -> None:
    style = MARKS[name]
    width = 2.2 if name == "Step Law" else 0.8
    axis.scatter(rate, batch, linewidths=width, zorder=6, label=name, **style)


def _law(row: Mapping[str, Any]) -> tuple[float, float]:
    rate, batch = PUBLISHED.optimum(row["params_non_embedding"], row["data_tokens"])
    length = row["batch_tokens"] / row["batch_size_sequences"]
    return float(rate), float(batch) / length


def _finish(axis: Any, rate: Array, batch: Array, margin: float = 1.2) -> None:
    axis.set(xscale="log", yscale="log", xlabel="learning rate (peak)")
    axis.set_ylabel("batch size, sequences")
    axis.set_xlim(rate.min() / margin, rate.max() * margin)
    axis.set_ylim(batch.min() / margin, batch.max() * margin)
    for line, values in ((axis.xaxis, rate), (axis.yaxis, batch)):
        several = thinned(values.tolist(), 2.7 if line is axis.xaxis else 1.9)
        if len(several) > 8 or len(values) in GRID:
            several = _round_values(float(values.min()), float(values.max()))
        plain_log_ticks(line, several)


def _round_values(low: float, high: float) -> list[float]:
    """Return 1, 2, 5 times powers of ten between two values."""
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    return [m * 10.0**p for p in powers for m in (1, 2, 5) if low <= m * 10.0**p <= high]


def _legend(figure: Any, axis: Any) -> None:
    from matplotlib.lines import Line2D

    handles, labels = axis.get_legend_handles_labels()
    if "measured run" in labels:  # its colour says a loss: the legend shows the ring only
        ring = Line2D([], [], marker="o", ls="", mfc="0.75", mec="0.3", ms=6)
        handles[labels.index("measured run")] = ring
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
