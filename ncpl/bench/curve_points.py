"""Points of loss curves: which run, how far along, the loss and the learning rate there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute

from ncpl.bench.board import bootstrap, rounded
from ncpl.bench.part import Part
from ncpl.bench.rates import rates
from ncpl.data import Snapshot
from ncpl.laws.schedules import Curves

Array = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]
Measured = dict[str, tuple[Array, Array]]
POINTS_PER_RUN = 24
MIN_FRACTION = 0.02
SCORED_FRACTION = 0.1
HUBER_DELTA = 0.01


@dataclass(frozen=True)
class Points:
    """Points of many curves; those of a run stand together in step order."""

    part: Part
    run: Rows
    """Row of the part each point belongs to."""
    step: Rows
    fraction: Array
    loss: Array
    rate: Array
    """Learning rate there, the warm-up counted at its end rate; NaN where it is not stated."""
    group: list[str]
    """Of each point's run: drawn together by the bootstrap."""

    def __len__(self) -> int:
        """Return the number of points."""
        return len(self.run)

    def take(self, rows: Rows) -> Points:
        """Return some of the points."""
        columns = (self.run, self.step, self.fraction, self.loss, self.rate)
        kept = (column[rows] for column in columns)
        return Points(self.part, *kept, [self.group[i] for i in rows])

    def of_runs(self, n_runs: int, seed: int) -> Points:
        """Return the points of at most so many runs, drawn with this seed."""
        runs = np.unique(self.run)
        if len(runs) <= n_runs:
            return self
        chosen = np.random.default_rng(seed).choice(runs, n_runs, replace=False)
        return self.take(np.flatnonzero(np.isin(self.run, chosen)))

    def curves(self) -> Curves:
        """Return them as the curve laws read them."""
        return Curves(self.run, self.step.astype(np.float64) + 1, self.rate)


def points_of(part: Part, measured: Measured) -> Points:
    """Return at most 24 points a run, evenly spread over its logged points past 2% of the run."""
    n_steps = part.sizes[1] / part.batch_tokens
    columns: list[tuple[Array, ...]] = [(np.empty(0),) * 5]
    for i, run_id in enumerate(part.runs.run_ids):
        if run_id not in measured:
            continue
        step, loss = measured[run_id]
        late = np.flatnonzero((step + 1 > MIN_FRACTION * n_steps[i]) & np.isfinite(loss))
        if not len(late):
            continue
        spread = np.linspace(0, len(late) - 1, POINTS_PER_RUN).round().astype(int)
        chosen = late[np.unique(spread)]
        config = part.runs.configs[i]
        held = np.maximum(step[chosen], config.get("warmup_steps") or 0)
        rate = rates(config, held)
        columns.append(
            (
                np.full(len(chosen), float(i)),
                step[chosen],
                np.minimum((step[chosen] + 1) / n_steps[i], 1.0),
                loss[chosen],
                np.full(len(chosen), np.nan) if rate is None else rate,
            )
        )
    run, step, fraction, loss, rate = (np.concatenate(c) for c in zip(*columns, strict=True))
    rows = run.astype(np.int64)
    group = [part.runs.group[i] or "" for i in rows]
    return Points(part, rows, step.astype(np.int64), fraction, loss, rate, group)


def read_curves(snapshot: Snapshot, metric: str, source: str | None = None) -> Measured:
    """Return (steps, values) of every run that has a curve of this metric."""
    table = snapshot.table("curves", ["run_id", "source", "metric", "step", "value"])
    if table is None:
        return {}
    keep = pa.compute.equal(table["metric"], metric)
    if source is not None:
        keep = pa.compute.and_(keep, pa.compute.equal(table["source"], source))
    table = table.filter(keep).sort_by([("run_id", "ascending"), ("step", "ascending")])
    ids = table["run_id"].to_numpy()
    step = table["step"].to_numpy().astype(np.float64)
    value = table["value"].to_numpy()
    names, first = np.unique(ids, return_index=True)
    edges = [*first.tolist(), len(ids)]
    return {
        str(name): (step[a:b], value[a:b])
        for name, a, b in zip(names, edges[:-1], edges[1:], strict=True)
    }


def scores_of(points: Points, error: Array, seed: int = 0) -> dict[str, Any]:
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
