"""Tables of points without a mapping: Lightning's metrics.csv, charts of W&B as CSV, any other.

One row a step. A column of run names, or columns called `RUN - METRIC`, hold several runs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from ncpl_data.catalog.errors import InputError
from ncpl_data.ingest.importers.base import Draft, Options
from ncpl_data.ingest.importers.config_file import read_config
from ncpl_data.ingest.importers.csv_table import EMPTY, NOT_FINITE, number_in, rows
from ncpl_data.ingest.importers.folders import each_run, telling
from ncpl_data.ingest.importers.programs import programs_of
from ncpl_data.ingest.importers.spelling import flattened
from ncpl_data.ingest.importers.step_axis import step_key
from ncpl_data.ingest.importers.wandb_export import TOKEN_KEYS
from ncpl_data.schema.hints import count_of

PANEL = re.compile(r"^(?P<run>.+) - (?P<metric>\S.*?)(?P<bound>__(?:MIN|MAX))?$")
"""A column of a W&B chart: the run's name, the metric, and the bounds of a smoothed line."""

RUN_NAMES = ("run", "run_name", "run_id", "name", "experiment", "model")
SETTINGS = ("hparams.yaml", "config.json", "config.yaml")
NOT_METRICS = frozenset(("epoch", "step", "time", "timestamp", "created_at", "wall_time", "date"))
OTHER_AXES = re.compile(r"time|epoch|token|sample|example|flop", re.IGNORECASE)


def read_points_table(path: Path, options: Options) -> Iterator[dict[str, Any]]:
    """Yield the runs of a table of points, or of each metrics.csv of a folder."""
    if path.is_dir():
        tables = sorted(path.rglob("metrics.csv"))
        if not tables:
            raise InputError(f"{path} holds no metrics.csv; name the table itself")
        yield from each_run(tables, lambda table: one_run(table, options, None), options)
        return
    table = [row for _, row in rows(path)]
    if not table:
        raise InputError(f"{path} has no rows")
    names = list(table[0])
    panels = {n: m for n in names if (m := PANEL.match(n)) and not m["bound"]}
    if panels:
        yield from panel_runs(path, table, panels, options)
        return
    column = next((n for n in names if n.lower() in RUN_NAMES and is_text(table, n)), None)
    if column is None:
        yield one_run(path, options, table)
        return
    for run in dict.fromkeys(row[column] for row in table):
        own = [{k: v for k, v in r.items() if k != column} for r in table if r[column] == run]
        yield document(Draft(options, run, f"{path} run {run}"), own)


def is_text(table: list[dict[str, str]], column: str) -> bool:
    """Return whether a column holds names: some value that is no number."""
    return any(not re.fullmatch(r"[-+.\deE]*", row[column]) for row in table)


def one_run(path: Path, options: Options, table: list[dict[str, str]] | None) -> dict[str, Any]:
    """Return the run of a table of one run, with the settings that lie beside it."""
    name = path.stem if path.stem.lower() != "metrics" else path.resolve().parent.name
    draft = Draft(options, telling(name, path), str(path))
    settings = options.config or next(
        (path.parent / n for n in SETTINGS if (path.parent / n).is_file()), None
    )
    if settings:
        state_settings(draft, read_config(settings))
    return document(draft, table if table is not None else [row for _, row in rows(path)])


def state_settings(draft: Draft, config: dict[str, Any]) -> None:
    """State settings, nested or not: of a name given twice only where both agree."""
    leaves: dict[str, Any] = {}
    twice: set[str] = set()
    for key, value in flattened(config).items():
        leaf = key.rsplit(".", 1)[-1]
        if leaf in leaves and leaves[leaf] != value:
            twice.add(leaf)
        leaves[leaf] = value
    plain = {leaf: value for leaf, value in leaves.items() if leaf not in twice}
    for program in programs_of(plain, draft.options.aliases):
        draft.apply(program, plain)
    draft.raw_config = config


def panel_runs(
    path: Path,
    table: list[dict[str, str]],
    panels: Mapping[str, re.Match[str]],
    options: Options,
) -> Iterator[dict[str, Any]]:
    """Yield the runs of a W&B chart.

    Raises InputError where its x is no step.
    """
    axis = options.step_key or next(n for n in table[0] if n not in panels)
    if OTHER_AXES.search(axis) and not re.search("step|iter", axis, re.IGNORECASE):
        raise InputError(
            f'{path}: the chart is over "{axis}", not over steps. Set its x-axis to Step and '
            "export it again"
        )
    for run in dict.fromkeys(match["run"] for match in panels.values()):
        own = {n: m["metric"] for n, m in panels.items() if m["run"] == run}
        points = [
            {axis: row[axis], **{metric: row[n] for n, metric in own.items()}} for row in table
        ]
        draft = Draft(options, run, f"{path} run {run}")
        draft.set("/source_run", run)
        yield document(draft, points, axis)


def document(draft: Draft, table: list[dict[str, str]], axis: str | None = None) -> dict[str, Any]:
    """Return the run of the rows of one run.

    Raises InputError for a cell that is neither empty nor a number, and for steps that go back.
    """
    axis = axis or step_key(table, draft.options.step_key, draft.where)
    steps = [count_of(row[axis]) for row in table]
    if len(steps) > 1 and all(a and b is not None and a > b for a, b in pairwise(steps)):
        table.reverse()  # the newest row stands first
    numeric = {n for n in table[0] if n != axis and n.lower() not in NOT_METRICS}
    for number, row in enumerate(table, start=2):
        place = f"{draft.where} line {number}"
        if row[axis].strip().lower() in EMPTY:
            continue
        step = number_in(row[axis], place, axis, is_count=True)
        if step != int(step):
            raise InputError(f"{place}: {axis} is {step:g}; expected a whole number")
        tokens = [row[k] for k in TOKEN_KEYS if row.get(k, "").strip().lower() not in EMPTY]
        seen = int(number_in(tokens[0], place, "tokens", is_count=True)) if tokens else None
        for name in numeric - set(TOKEN_KEYS):
            text = row[name].strip()
            if text.lower() in NOT_FINITE:
                draft.point(name, int(step), float("nan"), seen, place=number)
            elif text.lower() not in EMPTY and re.search(r"\d", text):
                draft.point(name, int(step), number_in(text, place, name), seen, place=number)
    drop_gaps(draft)
    if not draft.seen:
        raise InputError(f"{draft.where}: no metric with a step; columns: {', '.join(table[0])}")
    return draft.document()


def drop_gaps(draft: Draft) -> None:
    """Drop the NaNs of a metric that goes on after one: nothing was logged there (pandas)."""
    last: dict[str, int] = {}
    for index, o in enumerate(draft.seen):
        if not math.isnan(o.value):
            last[o.metric] = index
    gaps = {
        o.metric
        for i, o in enumerate(draft.seen)
        if math.isnan(o.value) and i < last.get(o.metric, -1)
    }
    draft.seen = [o for o in draft.seen if not math.isnan(o.value) or o.metric not in gaps]
