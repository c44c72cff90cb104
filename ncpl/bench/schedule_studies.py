"""Published studies of schedules: fit each model on some curves, predict other schedules.

The parts are rules over what the runs state, fixed here: multipower as its authors split it (three
of nine schedules known), lr_scheduling by schedule and by length.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ncpl.bench.curve_points import CurvePoints, Path
from ncpl.bench.part import Part
from ncpl.bench.reproduce import FITTED_ON
from ncpl.data.snapshot import Measured, Runs, Snapshot
from ncpl.laws.base import Law
from ncpl.laws.fitting import fit_law
from ncpl.laws.multipower import fit_multipower, multipower
from ncpl.laws.schedules import Curves
from ncpl.laws.tissue import tissue

Array = npt.NDArray[np.float64]
SCHEDULE, LENGTH = "schedule", "length"
"""Parts: another schedule than the fitted ones; a longer run than the fitted ones."""
MANY_PEAKS = ("lr_scheduling",)
KNOTS = 64
"""Logged rates kept where a schedule bends."""
METRICS = {
    "multipower": ("loss", "learning_rate"),
    "lr_scheduling": ("validation/loss", "train/learning_rate"),
}
"""Metrics of loss and rate, by source."""


@dataclass(frozen=True)
class StudyCell:
    """The curves of one model size and data set: fitted ones, and those to predict."""

    name: str
    train: CurvePoints
    held: dict[str, CurvePoints]
    in_tokens: bool
    """Whether its runs have several peak rates, so that laws read shares of the peak."""


CellPredictor = Callable[[CurvePoints], Array]


def cells_of(snapshot: Snapshot, runs: Runs, source: str) -> list[StudyCell]:
    """Return the cells of a study; empty where the snapshot has none of its curves."""
    loss_metric, rate_metric = METRICS[source]
    losses = snapshot.curves(loss_metric, source)
    learning = snapshot.curves(rate_metric, source)
    mine = [
        i
        for i, run_id in enumerate(runs.run_ids)
        if run_id in losses
        and run_id in learning
        and runs.status[i] in (None, "finished")
        and runs.configs[i].get("schedule") != "wsd_twostage"  # what came before is not one trunk
    ]
    place = _place_multipower if source == "multipower" else _place_lr_scheduling
    keep = np.zeros(len(runs), dtype=bool)
    keep[mine] = True
    part = Part(runs.take(keep))
    by_cell: dict[str, dict[str, list[int]]] = {}
    for row, (cell, split) in enumerate(place(part)):
        by_cell.setdefault(cell, {}).setdefault(split, []).append(row)
    cells = []
    for name, splits in sorted(by_cell.items()):
        found = {s: _points(part, rows, losses, learning) for s, rows in splits.items()}
        if "train" in found and len(found) > 1:
            cells.append(StudyCell(name, found.pop("train"), found, source in MANY_PEAKS))
    return cells


def _place_multipower(part: Part) -> list[tuple[str, str]]:
    """Return (size, split) by the run's name, which holds size and schedule."""
    names = [run_id.split("/")[1].split("_", 1) for run_id in part.runs.run_ids]
    return [(size, "train" if name in FITTED_ON else SCHEDULE) for size, name in names]


def _place_lr_scheduling(part: Part) -> list[tuple[str, str]]:
    """Return (data and size, split): cosine and constant runs shorter than the longest are known.

    Held out: every run of the longest length, and shorter ones of the other schedules.
    """
    configs = part.runs.configs
    cells = [f"{c.get('dataset')}, {c['params_non_embedding'] / 1e6:.0f}M" for c in configs]
    longest = {
        cell: max(c["train_steps"] for c, own in zip(configs, cells, strict=True) if own == cell)
        for cell in set(cells)
    }

    def split(config: dict[str, Any], cell: str) -> str:
        if config["train_steps"] == longest[cell]:
            return LENGTH
        return "train" if config["schedule"] in ("cosine", "constant") else SCHEDULE

    return [(cell, split(config, cell)) for config, cell in zip(configs, cells, strict=True)]


def _points(part: Part, rows: list[int], losses: Measured, learning: Measured) -> CurvePoints:
    columns: list[tuple[Array, ...]] = []
    paths: dict[int, Path] = {}
    for row in rows:
        run_id, config = part.runs.run_ids[row], part.runs.configs[row]
        step, loss = losses[run_id]
        path = _logged_path(config, *learning[run_id])
        keep = (step >= max(path.warmup_steps, 1)) & np.isfinite(loss)
        step, loss = step[keep], loss[keep]
        columns.append((np.full(len(step), float(row)), step, step / path.step[-1], loss))
        paths[row] = path
    run, step, fraction, loss = (np.concatenate(c) for c in zip(*columns, strict=True))
    index = run.astype(np.int64)
    group = [part.runs.run_ids[i] for i in index]
    share = np.minimum(fraction, 1.0)
    return CurvePoints(part, index, step.astype(np.int64), share, loss, paths, group)


def _logged_path(config: Mapping[str, Any], step: Array, rate: Array) -> Path:
    """Return the logged rates, with the warm-up and the constant trunk before them.

    A decay branched off a trunk is logged from the branch on; the trunk ran at the peak rate. Logs
    that state no warm-up begin at its end.
    """
    first, peak = float(step[0]), float(config.get("learning_rate") or rate[0])
    warmup = float(config["warmup_steps"]) if "warmup_steps" in config else first
    if first > warmup:
        step, rate = np.append([0.0, warmup], step), np.append([0.0, peak], rate)
    elif first > 0:
        step, rate = np.append(0.0, step), np.append(0.0, rate)
    knots = _knots(step, rate)
    return Path(step[knots], rate[knots], warmup)


def _knots(step: Array, rate: Array) -> npt.NDArray[np.int64]:
    """Return which logged rates to keep: both ends of flat stretches, at most `KNOTS` elsewhere."""
    slope = np.diff(rate) / np.diff(step)
    turn = np.abs(np.diff(slope)) > 1e-9 * rate.max()
    keep = np.unique(np.concatenate([[0], np.flatnonzero(turn) + 1, [len(step) - 1]]))
    if len(keep) <= KNOTS:
        return keep
    spread = np.linspace(0, len(keep) - 1, KNOTS).round().astype(int)
    jumps = np.flatnonzero(np.abs(np.diff(rate)) > 0.2 * rate.max())
    return np.unique(np.concatenate([keep[spread], jumps, jumps + 1]))


def area_law(curves: Curves) -> Law:
    """Return L0 + A S1^-alpha: what a curve law is without its drops."""
    from ncpl.laws.multipower import paid_in_full

    full = paid_in_full(curves)

    def loss(theta_KP: Array, inputs: Any) -> Array:
        nothing = np.zeros((*theta_KP.shape[:-1], 1))
        return full.function(np.concatenate([theta_KP, nothing], axis=-1), inputs)

    return dataclasses.replace(full, parameters=full.parameters[:3], function=loss)


def _of_law(
    make: Callable[[Curves], Law], n_starts: int
) -> Callable[[StudyCell, int], CellPredictor]:
    def fit(cell: StudyCell, seed: int) -> CellPredictor:
        train = cell.train.late()
        curves, rows = train.curves(in_tokens=cell.in_tokens)
        values = fit_law(make(curves), rows, train.loss, seed=seed, n_starts=n_starts).values

        def predict(points: CurvePoints) -> Array:
            found, wanted = points.curves(in_tokens=cell.in_tokens)
            return make(found).predict(values, wanted)

        return predict

    return fit


def _of_multipower(cell: StudyCell, seed: int) -> CellPredictor:
    train = cell.train.late()
    curves, rows = train.curves(in_tokens=cell.in_tokens)
    values = fit_multipower(curves, train.loss, rows=rows, seed=seed, n_starts=1).values

    def predict(points: CurvePoints) -> Array:
        found, wanted = points.curves(in_tokens=cell.in_tokens)
        return multipower(found).predict(values, wanted)

    return predict


CELL_METHODS: dict[str, Callable[[StudyCell, int], CellPredictor]] = {
    "Power law in the area under the rate": _of_law(area_law, 4),
    "Tissue, learning-rate annealing": _of_law(tissue, 4),
    "Multi-power law": _of_multipower,
}
"""Fitted anew in every cell."""


def shape_features(points: CurvePoints) -> Array:
    """Return log size, log peak rate, log steps, mean and last rate (shares of the peak), (n, 5).

    What deep power laws read here: they are fitted on all cells at once.
    """
    rows = np.empty((len(points), 5))
    for run in np.unique(points.run):
        mine = points.run == run
        config = points.part.runs.configs[run]
        path = points.paths[int(run)]
        peak = path.rate.max()
        name = points.part.runs.run_ids[run].split("/")[1].split("M_")[0]
        size = config.get("params_non_embedding") or float(name) * 1e6
        mean = np.trapezoid(path.rate, path.step) / (path.step[-1] - path.step[0]) / peak
        rows[mine] = (np.log(size), np.log(peak), np.log(path.step[-1]), mean, path.rate[-1] / peak)
    return rows
