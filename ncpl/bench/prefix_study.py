"""The prefix board's study of a set-up that no bundle knows: runs of lr_scheduling.

Half of its cells (size, tokens, schedule) teach, the other half is forecast, and the other way
round. A run counts at a cut where it has a point before it: logs of many begin at their decay.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ncpl.data.fields import derive
from ncpl.data.schedules import FIRST
from ncpl.data.snapshot import Snapshot
from ncpl.model.intervals import Z90
from ncpl.model.settings_curves import FinishedRuns, fit_settings_curves

SOURCE, METRIC = "lr_scheduling", "validation/loss"
POINTS = 40
"""Means of a curve's points in so many equal shares of the run."""
MIN_RUNS = 20
LAST, LAW = "last value", "annealing law by settings"


def study_runs(snapshot: Snapshot) -> FinishedRuns | None:
    """Return the study's finished runs with a curve; None where the snapshot holds too few."""
    runs = snapshot.runs()
    own = np.array([family[0] == SOURCE for family in runs.family], dtype=bool)
    part = runs.take(own & np.isfinite(runs.loss)).readable().finished()
    curves = snapshot.curves(METRIC, SOURCE) if len(part) else {}
    rows = [derive(config) for config in part.configs]
    frac = np.full((len(rows), POINTS), np.nan)
    loss = frac.copy()
    for i, (run_id, row) in enumerate(zip(part.run_ids, rows, strict=True)):
        steps, values = curves.get(run_id, (np.zeros(0), np.zeros(0)))
        share = np.minimum((np.asarray(steps) + 1) / row["train_steps"], 1.0)
        late = share > FIRST
        bins = np.minimum((share * POINTS).astype(int), POINTS - 1)
        for j in np.unique(bins[late]):
            mine = late & (bins == j)
            frac[i, j], loss[i, j] = share[mine].mean(), np.asarray(values)[mine].mean()
    found = FinishedRuns(
        rows, ["/".join(map(str, family[2:4])) for family in part.family], frac, loss, part.loss,
        [
            (row["params_non_embedding"], row["data_tokens"], str(row.get("schedule")))
            for row in rows
        ],
    ).take(np.isfinite(frac).any(axis=1))  # fmt: skip
    return found if len(found.rows) >= MIN_RUNS else None


def study_board(snapshot: Snapshot, cuts: tuple[float, ...]) -> list[dict[str, Any]]:
    """Return a row for each cut and method: MAE of the final loss and coverage; none without it."""
    runs = study_runs(snapshot)
    if runs is None:
        return []
    cells = sorted(set(runs.cell))
    half = np.array([cells.index(cell) % 2 for cell in runs.cell])
    laws = {side: fit_settings_curves(runs.take(half != side)) for side in (0, 1)}
    found: list[dict[str, Any]] = []
    for cut in cuts:
        last, error, inside = [], [], []
        for i, row in enumerate(runs.rows):
            known = runs.frac[i] <= cut
            if not known.any():
                continue
            frac, loss = runs.frac[i, known], runs.loss[i, known]
            told = laws[int(half[i])].tell(row, runs.group[i], frac, loss, np.ones(1))
            error.append(abs(float(told.mean[0]) - runs.final[i]))
            inside.append(error[-1] <= Z90 * told.spread[0])
            last.append(abs(loss[-1] - runs.final[i]))
        for name, missed in ((LAST, last), (LAW, error)):
            found.append(
                {
                    "source": SOURCE, "cut": cut, "method": name, "n": len(missed),
                    "final_mae": float(np.mean(missed)) if missed else math.nan,
                    "coverage": float(np.mean(inside)) if name == LAW and missed else None,
                }
            )  # fmt: skip
    return found


def study_text(rows: Sequence[Mapping[str, Any]], cuts: Sequence[float]) -> list[str]:
    """Return the study as lines of Markdown; none where there are no rows."""
    if not rows:
        return []
    lines = ["", f"{SOURCE}, half of its cells left out in turn, no model of it", ""]
    lines.append("| method | " + " | ".join(f"{100 * cut:.0f}%" for cut in cuts) + " |")
    lines.append("|---|" + "---|" * len(cuts))
    for name in dict.fromkeys(row["method"] for row in rows):
        cells = []
        for row in rows:
            if row["method"] == name:
                covered = "-" if row["coverage"] is None else f"{row['coverage']:.2f}"
                cells.append(f"{row['final_mae']:.4f} / - / {covered} ({row['n']})")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines
