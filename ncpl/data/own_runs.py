"""Runs of one's own: flat configurations with their final loss and, if there is one, their curve.

A run is an object of the fields of a configuration, `final_loss` in nats per token, and `curve`, a
list of objects with `loss` and one of `step`, `tokens` or `percent`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ncpl.data.consistency import checked_row
from ncpl.data.schedules import Schedules
from ncpl.data.sizes import RATE_LEFT, size_of, worth_of
from ncpl.errors import ConfigError

Array = npt.NDArray[np.float64]
OUTCOME = ("final_loss", "curve")
FIRST, LAST = 0.3, 0.97
"""Shares of a run between which points of its curve count as evidence: before, the rate's rise and
the first tokens rule; after, the final loss says it."""
POINTS = 4
"""Points of a curve that count, evenly along the run."""
MOST_RATE_LEFT = 0.01
"""Learning rate still to come down, over its peak, up to which a point counts: what is lost by a
higher rate differs too much from family to family (LOG.md)."""
CURVE_TRUST = 0.1
"""Trust in a point along a run, where a final loss has 1: points of one run err together."""
LEAST_FINISHED, LEAST_RATIO = 5, 1.4
"""Finished runs, and most over least tokens of them, beside which points of their curves count:
with fewer, or where all saw as many tokens, a law takes the way along a run for what more data
would give (LOG.md)."""
LARGEST_FINAL = 13.0
"""Nats; a token guessed from 400,000 costs as much."""
FEW_TWINS = 3
"""Runs given twice that are named; of more, their number is told."""
SAME = ("dataset", "tokenizer", "final_loss_metric")
"""What runs of one family share."""
SIDEWAYS = frozenset({"diverged", "failed"})


@dataclass(frozen=True)
class OwnRuns:
    """Evidence of one family: final losses first, then points along runs."""

    rows: list[dict[str, Any]]
    """Derived configurations; of a point along a run, with its tokens and rate."""
    loss: Array
    weight: Array
    """Trust in each loss: 1 for a final one."""
    names: list[str]
    """Name of the run of each final loss."""
    notes: list[str]

    @property
    def n_runs(self) -> int:
        """Return the number of runs with a final loss."""
        return len(self.names)


def read_runs(runs: Sequence[Mapping[str, Any]]) -> OwnRuns:
    """Return the evidence in runs.

    Raises ConfigError, naming the run, for a wrong field, a missing size, data or loss.
    """
    rows, losses, names, notes = [], [], [], []
    points: list[tuple[dict[str, Any], float]] = []
    of_finished: list[bool] = []
    known: dict[str, int] = {}
    twins: list[str] = []
    for i, run in enumerate(runs, start=1):
        where = f"run {i}"
        if not isinstance(run, Mapping):
            raise ConfigError(f"{where} is {run!r}; expected an object of names and values")
        twin = known.setdefault(json.dumps(run, sort_keys=True, default=str), i)
        if twin != i:
            twins.append(f"{where} is run {twin} again: it counts once")
            continue
        config = {name: value for name, value in run.items() if name not in OUTCOME}
        row = checked_row(config, where=where)[1]
        for value, what in (
            (size_of(row), "params_non_embedding, or n_layers, d_model and d_ff"),
            (worth_of(row), "train_tokens, or train_steps with the batch and sequence length"),
        ):
            if not value > 0:
                raise ConfigError(f"{where} lacks {what}")
        if row.get("status") in SIDEWAYS:
            notes.append(f"{where} is left out: its status is {row['status']}")
            continue
        if (run.get("final_loss") is None) and not run.get("curve"):
            raise ConfigError(f"{where} has neither final_loss nor curve; give one, in nats")
        if run.get("final_loss") is not None:
            rows.append(row)
            losses.append(final_loss_of(run["final_loss"], f"{where}: final_loss"))
            names.append(str(run.get("run_id") or i))
        along = points_along(run.get("curve"), row, where, notes)
        points += along
        of_finished += [run.get("final_loss") is not None] * len(along)
    notes += twins[:FEW_TWINS]
    if len(twins) > FEW_TWINS:
        notes.append(f"so are {len(twins) - FEW_TWINS:,} more")
    notes += mixed(rows)
    if any(of_finished) and not tell_data(rows):
        points = [point for point, ended in zip(points, of_finished, strict=True) if not ended]
        notes.append(
            f"curves of finished runs are not used: they count beside {LEAST_FINISHED} finished "
            f"runs or more, the longest of {LEAST_RATIO} times the tokens of the shortest"
        )
    weight = np.concatenate([np.ones(len(rows)), np.full(len(points), CURVE_TRUST)])
    loss = np.array([*losses, *(value for _, value in points)], dtype=np.float64)
    return OwnRuns([*rows, *(row for row, _ in points)], loss, weight, names, notes)


def tell_data(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether finished runs say how their loss goes with data: five, unlike in tokens."""
    worth = [worth_of(row) for row in rows]
    return len(worth) >= LEAST_FINISHED and max(worth) >= LEAST_RATIO * min(worth)


def mixed(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return one sentence for each part of a family's name that runs do not share."""
    found = []
    for name in SAME:
        values = sorted({str(row[name]) for row in rows if row.get(name) not in (None, "")})
        if len(values) > 1:
            shown = ", ".join(values[:3]) + (", ..." if len(values) > 3 else "")
            found.append(
                f"runs of {len(values)} values of {name} ({shown}): their losses do not compare; "
                "adapt to each alone"
            )
    return found


def final_loss_of(value: Any, where: str) -> float:
    """Return a final loss. Raises ConfigError for what is none, or no loss a model ends at."""
    loss = checked_loss(value, where)
    if loss > LARGEST_FINAL:
        raise ConfigError(
            f"{where} is {loss:g}; expected nats per token, below {LARGEST_FINAL:g}, which is more "
            "than guessing gives; of a perplexity give the natural logarithm, of a run that "
            'diverged "status": "diverged"'
        )
    return loss


def checked_loss(value: Any, where: str) -> float:
    """Return a loss in nats per token. Raises ConfigError for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"{where} is {value!r}; expected a number, nats per token")
    if not (math.isfinite(value) and 0 < value < 30):
        raise ConfigError(f"{where} is {value:g}; expected nats per token, above 0")
    return float(value)


def points_along(
    curve: Any, row: Mapping[str, Any], where: str, notes: list[str]
) -> list[tuple[dict[str, Any], float]]:
    """Return evidence along a run: configurations of what was trained so far, and losses."""
    if not curve:
        return []
    if not isinstance(curve, list) or not all(isinstance(point, Mapping) for point in curve):
        raise ConfigError(f"{where}: curve is not a list of objects with loss and step or tokens")
    shares, values = [], []
    for j, point in enumerate(curve, start=1):
        at = f"{where}: curve point {j}"
        values.append(checked_loss(point.get("loss"), f"{at}: loss"))
        shares.append(share_of(point, row, at))
    share, value = np.array(shares), np.array(values)
    order = np.flatnonzero((share >= FIRST) & (share <= LAST))
    order = order[np.argsort(share[order], kind="stable")]
    if not len(order):
        return []
    if row.get("schedule") is None:
        notes.append(f"{where}: its curve is not used, for its schedule is not known")
        return []
    schedules = Schedules.of([row])
    rate = (schedules.rate(share[None, order]) - schedules.rate(np.ones((1, 1))))[0]
    order = order[np.isfinite(rate) & (rate <= MOST_RATE_LEFT)]
    if not len(order):
        notes.append(f"{where}: its curve is not used, for its learning rate was still high")
        return []
    chosen = order[np.unique(np.linspace(0, len(order) - 1, POINTS).round().astype(int))]
    left = (schedules.rate(share[None, chosen]) - schedules.rate(np.ones((1, 1))))[0]
    return [
        (dict(row) | {"data_tokens": row["data_tokens"] * s, RATE_LEFT: float(r)}, float(v))
        for s, r, v in zip(share[chosen], left, value[chosen], strict=True)
    ]


def share_of(point: Mapping[str, Any], row: Mapping[str, Any], where: str) -> float:
    """Return how far along its run a point lies. Raises ConfigError where it does not say."""
    for name, whole in (("step", "train_steps"), ("tokens", "data_tokens")):
        value, total = point.get(name), row.get(whole)
        if value is not None and total:
            return float(value) / float(total)
    if point.get("percent") is not None:
        return float(point["percent"]) / 100
    raise ConfigError(f"{where} has none of step, tokens and percent that the run has a total of")
