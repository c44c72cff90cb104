"""The law of curves of one's own finished runs, where there are enough of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ncpl.data.fields import derive
from ncpl.data.own_runs import share_of
from ncpl.data.schedules import FIRST
from ncpl.model.settings_curves import FinishedRuns, SettingsCurves, fit_settings_curves

OWN = "own"
ENOUGH = 20
"""Finished runs with a curve from which on their law is fitted: fewer than settings it follows
would be learned by heart."""
MIN_POINTS = 4
POINTS = 40
"""Points of a curve that count, evenly picked."""


def own_curves(runs: Sequence[Mapping[str, Any]]) -> SettingsCurves | None:
    """Return the law of own runs that have a final loss and a curve; None for fewer than ENOUGH.

    Raises ConfigError for a point of a curve that does not say where it lies.
    """
    rows, frac, loss, final = [], [], [], []
    for number, run in enumerate(runs, start=1):
        curve = run.get("curve")
        end = run.get("final_loss")
        if not curve or end is None or run.get("status") not in (None, "finished"):
            continue
        row = derive({k: v for k, v in run.items() if k not in ("curve", "final_loss")})
        place = f"run {number}"
        points = sorted((share_of(point, row, place), float(point["loss"])) for point in curve)
        late = [(share, value) for share, value in points if FIRST < share <= 1]
        if len(late) < MIN_POINTS:
            continue
        picked = np.unique(np.linspace(0, len(late) - 1, POINTS).round().astype(int))
        some = np.full((2, POINTS), np.nan)
        some[:, : len(picked)] = np.array([late[i] for i in picked]).T
        rows.append(row)
        frac.append(some[0])
        loss.append(some[1])
        final.append(float(end))
    if len(rows) < ENOUGH:
        return None
    cells = [(r.get("params_non_embedding"), r.get("data_tokens"), str(r.get("schedule")))
             for r in rows]  # fmt: skip
    return fit_settings_curves(
        FinishedRuns(
            rows, [OWN] * len(rows), np.array(frac), np.array(loss), np.array(final), cells
        )
    )
