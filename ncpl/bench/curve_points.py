"""Points of loss curves: which run, how far along, the loss and the learning rate there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ncpl.bench.board import bootstrap, rounded
from ncpl.bench.part import Part
from ncpl.bench.rates import rates
from ncpl.data.snapshot import Measured
from ncpl.laws.schedules import Curves

Array = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]
POINTS_PER_RUN = 24
MIN_FRACTION = 0.02
KNOTS = 24
"""Straight stretches a stated schedule is cut into."""
SCORED_FRACTION = 0.1
HUBER_DELTA = 0.01


@dataclass(frozen=True)
class Path:
    """Learning rate along one run, straight between its knots."""

    step: Array
    rate: Array
    warmup_steps: float


@dataclass(frozen=True)
class CurvePoints:
    """Points of many curves; those of a run stand together in step order."""

    part: Part
    run: Rows
    """Row of the part each point belongs to."""
    step: Rows
    fraction: Array
    loss: Array
    paths: Mapping[int, Path]
    """Learning rate along each run whose whole schedule is known."""
    group: list[str]
    """Of each point's run: drawn together by the bootstrap."""

    def __len__(self) -> int:
        """Return the number of points."""
        return len(self.run)

    def take(self, rows: Rows) -> CurvePoints:
        """Return some of the points."""
        return CurvePoints(
            self.part,
            self.run[rows],
            self.step[rows],
            self.fraction[rows],
            self.loss[rows],
            self.paths,
            [self.group[i] for i in rows],
        )

    @classmethod
    def joined(cls, pieces: Sequence[CurvePoints]) -> CurvePoints:
        """Return the points of several pieces of one part."""
        return cls(
            pieces[0].part,
            np.concatenate([p.run for p in pieces]),
            np.concatenate([p.step for p in pieces]),
            np.concatenate([p.fraction for p in pieces]),
            np.concatenate([p.loss for p in pieces]),
            {run: path for p in pieces for run, path in p.paths.items()},
            [g for p in pieces for g in p.group],
        )

    def of_runs(self, n_runs: int, seed: int) -> CurvePoints:
        """Return the points of at most so many runs, drawn with this seed."""
        runs = np.unique(self.run)
        if len(runs) <= n_runs:
            return self
        chosen = np.random.default_rng(seed).choice(runs, n_runs, replace=False)
        return self.take(np.flatnonzero(np.isin(self.run, chosen)))

    def late(self) -> CurvePoints:
        """Return the points past 10% of the run: those that are scored."""
        return self.take(np.flatnonzero(self.fraction > SCORED_FRACTION))

    def curves(self, *, in_tokens: bool = False) -> tuple[Curves, dict[str, Array]]:
        """Return curves as the curve laws read them, and the law's input: the rows of the points.

        Between the points stand the knots of each run's path, so that no drop is missed. With
        `in_tokens` a step is a million tokens and the rate a thousandth of its share of the peak:
        runs of several batch sizes and optimizers share one law only so. Raises KeyError where a
        run has no path.
        """
        columns, rows, n_before = [], np.empty(len(self)), 0
        for run in np.unique(self.run):
            mine = np.flatnonzero(self.run == run)
            path = self.paths[int(run)]
            step = self.step[mine].astype(np.float64) + 1
            knots = path.step[(path.step >= 1) & (path.step < step[-1])]
            every = np.unique(np.concatenate([step, knots]))
            rows[mine] = n_before + np.searchsorted(every, step)
            n_before += len(every)
            rate = np.interp(every, path.step, path.rate)
            unit = 1.0
            if in_tokens:
                unit = float(self.part.batch_tokens[run]) / 1e6
                rate = rate / path.rate.max() / 1e3
            warmup = np.full(len(every), path.warmup_steps * unit)
            columns.append((np.full(len(every), float(run)), every * unit, rate, warmup))
        curve, step, rate, warmup = (np.concatenate(c) for c in zip(*columns, strict=True))
        return Curves(curve.astype(np.int64), step, rate, warmup), {"row": rows}


def points_of(part: Part, measured: Measured) -> CurvePoints:
    """Return at most 24 points a run, evenly spread over its logged points past 2% of the run."""
    n_steps = part.sizes[1] / part.batch_tokens
    columns: list[tuple[Array, ...]] = [(np.empty(0),) * 4]
    paths: dict[int, Path] = {}
    for i, run_id in enumerate(part.runs.run_ids):
        if run_id not in measured:
            continue
        step, loss = measured[run_id]
        late = np.flatnonzero((step + 1 > MIN_FRACTION * n_steps[i]) & np.isfinite(loss))
        if not len(late):
            continue
        spread = np.linspace(0, len(late) - 1, POINTS_PER_RUN).round().astype(int)
        chosen = late[np.unique(spread)]
        share = np.minimum((step[chosen] + 1) / n_steps[i], 1.0)
        columns.append((np.full(len(chosen), float(i)), step[chosen], share, loss[chosen]))
        path = path_of(part.runs.configs[i])
        if path is not None:
            paths[i] = path
    run, step, fraction, loss = (np.concatenate(c) for c in zip(*columns, strict=True))
    rows = run.astype(np.int64)
    group = [part.runs.group[i] or "" for i in rows]
    return CurvePoints(part, rows, step.astype(np.int64), fraction, loss, paths, group)


def path_of(config: Mapping[str, Any]) -> Path | None:
    """Return the rate along a run, or None where the configuration does not state it all."""
    n_steps, warmup = config.get("train_steps"), float(config.get("warmup_steps") or 0)
    if not n_steps:
        return None
    ends = [0.0, min(warmup, n_steps), n_steps - float(config.get("decay_steps") or 0)]
    step = np.unique(np.concatenate([ends, np.linspace(0, n_steps, KNOTS + 1)]))
    rate = rates(config, step)
    return None if rate is None else Path(step, rate, warmup)


def scores_of(points: CurvePoints, error: Array, seed: int = 0) -> dict[str, Any]:
    """Return the scores of one part: past 10% and past 50% of the run."""
    late, half = points.fraction > SCORED_FRACTION, points.fraction > 0.5
    size = np.abs(error[late])
    huber = np.where(size <= HUBER_DELTA, size**2 / 2, HUBER_DELTA * (size - HUBER_DELTA / 2))
    groups = [points.group[i] for i in np.flatnonzero(late)]
    scores: dict[str, Any] = rounded(
        {
            "runs": len(np.unique(points.run)),
            "points": int(late.sum()),
            "mae": float(size.mean()),
            "mae_90": bootstrap(size, groups, seed),
            "mae_second_half": float(np.abs(error[half]).mean()) if half.any() else None,
            "huber": float(huber.mean()),
        }
    )
    return scores
