"""Curves of own finished runs: a law that follows their settings, and its widths."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ncpl.data.fields import derive
from ncpl.model.intervals import Z90
from ncpl.model.settings_curves import FinishedRuns, fit_settings_curves, levels
from ncpl.plan.own_curves import ENOUGH, own_curves

STEPS = 1000


def own_run(size: float, rate: float, noise: float = 0.0, level: float = 0.0) -> dict[str, Any]:
    """Return a finished run whose whole loss, and its drop, follow size and learning rate."""
    rng = np.random.default_rng(int(size) % 97)
    end = 3.0 - 0.2 * np.log(size / 1e7) + 0.05 * np.log(rate / 1e-3) ** 2
    drop = 0.3 + 0.1 * np.log(rate / 1e-3)
    share = np.linspace(0.05, 0.999, 30)
    loss = end + level + drop * (share**-0.5 - 1) + rng.normal(0, noise, len(share))
    return {
        "params_non_embedding": size, "train_steps": STEPS, "learning_rate": rate,
        "batch_size_sequences": 64, "sequence_length": 512, "schedule": "constant",
        "final_loss": float(end),
        "curve": [
            {"step": float(f * STEPS), "loss": float(v)} for f, v in zip(share, loss, strict=True)
        ],
    }  # fmt: skip


def runs_of(level: float = 0.0) -> list[dict[str, Any]]:
    sizes, rates = np.geomspace(1e7, 1e8, 6), np.geomspace(3e-4, 3e-3, 5)
    return [own_run(size, rate, 1e-3, level) for size in sizes for rate in rates]


@pytest.mark.parametrize("level", [0.0, -0.04])
def test_the_end_is_told_from_a_start_also_where_the_final_loss_is_measured_otherwise(
    level: float,
) -> None:
    law = own_curves(runs_of(level))
    assert law is not None
    asked = own_run(5e7, 1.3e-3, level=level)
    points = [(p["step"] / STEPS, p["loss"]) for p in asked["curve"]][:8]
    frac, loss = np.array(points).T
    row = derive({k: v for k, v in asked.items() if k not in ("curve", "final_loss")})
    told = law.tell(row, "own", frac, loss, np.array([0.9, 1.0]))
    assert told.mean[1] == pytest.approx(asked["final_loss"], abs=0.02)
    assert law.level["own"] == pytest.approx(level, abs=0.01)


def test_intervals_are_as_wide_as_left_out_cells_are_missed() -> None:
    runs = finished(runs_of())
    law = fit_settings_curves(runs)
    assert law.wide >= 1
    plain = replace(law, wide=1.0)
    at = np.ones(1)
    wide, narrow = (
        one.tell(runs.rows[0], "own", runs.frac[0, :5], runs.loss[0, :5], at).spread[0] * Z90
        for one in (law, plain)
    )
    assert wide == pytest.approx(law.wide * narrow)


def finished(runs: list[dict[str, Any]]) -> FinishedRuns:
    rows = [derive({k: v for k, v in r.items() if k not in ("curve", "final_loss")}) for r in runs]
    frac = np.array([[p["step"] / STEPS for p in r["curve"]] for r in runs])
    loss = np.array([[p["loss"] for p in r["curve"]] for r in runs])
    final = np.array([r["final_loss"] for r in runs])
    cell = [r["params_non_embedding"] for r in rows]
    return FinishedRuns(rows, ["own"] * len(rows), frac, loss, final, cell)


def test_curves_that_stop_early_tell_no_level() -> None:
    runs = finished(runs_of(-0.1))
    cut = replace(runs, frac=np.where(runs.frac < 0.9, runs.frac, np.nan))
    assert levels(cut) == {"own": 0.0}


def test_few_runs_have_no_law() -> None:
    assert own_curves(runs_of()[: ENOUGH - 1]) is None
    assert own_curves([run | {"curve": run["curve"][:3]} for run in runs_of()]) is None
