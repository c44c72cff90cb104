"""Find the same run under another name: by what it says, not by what it is called."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from math import isclose
from typing import Any

import numpy as np

from ncpl_data.catalog.curve import Curve
from ncpl_data.catalog.record import Run
from ncpl_data.schema.fields import run_fields

KEY = ("final_loss", "learning_rate", "train_steps")
"""Two runs are compared in full only if they agree in these."""

OUTCOME = ("status", "final_loss", "final_loss_metric", "final_loss_unit", "final_step")
VARIED = frozenset(
    ("learning_rate", "batch_size_sequences", "weight_decay", "warmup_steps", "params_total")
)
TELLING = (
    *("learning_rate", "weight_decay", "batch_size_sequences"),
    *("train_steps", "n_layers", "d_model"),
)
"""What two records of one physical run say alike, if not to the last digit."""

ROUNDED = 0.01
"""Relative. Sources round; runs of one sweep lie further apart."""

MIN_AGREEING = 4
"""Values of the configuration both runs state alike; fewer do not make them the same run."""

MIN_DECIMALS = 4
"""A loss given with fewer digits is shared by runs that are not the same."""


@cache
def configuration() -> tuple[str, ...]:
    """Return the columns that make a run this run, apart from what came of it.

    First what runs of one sweep differ in most often: there the comparison ends.
    """
    sections = ("model", "optimizer", "schedule", "data")
    kinds = ("integer", "number", "string")
    columns = (f.column for f in run_fields() if f.path[0] in sections and f.kind in kinds)
    return ("seed", *sorted(columns, key=is_seldom_varied), "stage", "parent_run_id", "branch_step")


def is_seldom_varied(column: str) -> bool:
    """Return whether sweeps seldom vary a column."""
    return column not in VARIED


def are_linked(run: Run, other: Run) -> bool:
    """Return whether one run already says that it is the other."""
    return other.run_id in (run.same_as or ()) or run.run_id in (other.same_as or ())


def is_same(run: Run, other: Run) -> bool:
    """Return whether two runs agree wherever both speak, in enough to be one physical run."""
    if contradicts(run, other, (*configuration(), *OUTCOME)):
        return False
    shared = shared_curves(run, other)
    if not all(agrees for agrees, _ in shared):
        return False
    if any(n >= MIN_AGREEING for _, n in shared):
        return True
    agreeing = sum(
        getattr(run, c) is not None and getattr(run, c) == getattr(other, c)
        for c in configuration()
    )
    if run.final_loss is None:
        return not run.curves and not other.curves and facts(run) == facts(other)
    return agreeing >= MIN_AGREEING and has_decimals(run.final_loss)


def told_apart_by(run: Run, other: Run) -> str | None:
    """Return a column that shows that two runs are not the same physical run, if there is one."""
    for column in TELLING:
        a, b = getattr(run, column), getattr(other, column)
        if a is not None and b is not None and not isclose(a, b, rel_tol=ROUNDED):
            return column
    return None


def contradicts(run: Run, other: Run, columns: Iterable[str]) -> bool:
    """Return whether two runs state different values anywhere."""
    pairs = ((getattr(run, c), getattr(other, c)) for c in columns)
    return any(a is not None and b is not None and a != b for a, b in pairs)


def facts(run: Run) -> dict[str, Any]:
    """Return everything a run states about itself, without names and provenance."""
    stated = {c: getattr(run, c) for c in (*configuration(), *OUTCOME, "metrics", "evals", "extra")}
    return {column: value for column, value in stated.items() if value}


def shared_curves(run: Run, other: Run) -> list[tuple[bool, int]]:
    """Return for each metric both runs log whether the curves agree, and in how many points."""
    curves: Mapping[str, Curve] = {c.metric: c for c in other.curves}
    # A learning rate is the same in every run of one schedule; it tells nothing.
    planned = {m["name"] for m in run.metrics or () if m["unit"] == "other"}
    found = []
    for curve in run.curves:
        if curve.metric not in curves or curve.metric in planned:
            continue
        twin = curves[curve.metric]
        _, mine, theirs = np.intersect1d(curve.step, twin.step, return_indices=True)
        agrees = len(mine) > 0 and bool(np.array_equal(curve.value[mine], twin.value[theirs]))
        found.append((agrees, len(mine)))
    return found


def has_decimals(value: float) -> bool:
    """Return whether a number is given finely enough to tell two runs apart."""
    return round(value, MIN_DECIMALS - 1) != value
