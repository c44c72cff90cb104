"""Task results of many models beside their losses, from a snapshot or from a table of one's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from ncpl.data.snapshot import Snapshot
from ncpl.downstream.tasks import Task, task_of
from ncpl.errors import ConfigError, SnapshotError

Array = npt.NDArray[np.float64]
RESERVED = ("model", "family", "params", "tokens", "loss")
SUPERSEDED = "superseded_by_rerun"
"""Flag of a run whose owner replaced it by another."""
FEWEST_MODELS = 3
LARGEST_PERCENT = 100.0


@dataclass(frozen=True)
class TaskTable:
    """M models, one a row, with the tasks they were scored on; NaN is a value nobody states."""

    name: str
    models: list[str]
    family: list[str]
    """What shares one relation of loss to tasks: the training data, or a model family."""
    params: Array
    """(M,) parameters, all of them where the source counts them."""
    tokens: Array
    """(M,) training tokens."""
    losses: Mapping[str, Array]
    """(M,) each, nats per token, the main one first."""
    tasks: list[Task]
    values: Array
    """(M, T) results."""

    def __len__(self) -> int:
        """Return the number of models."""
        return len(self.models)

    @property
    def loss(self) -> Array:
        """Return the main loss, (M,); NaN where no model has one."""
        return next(iter(self.losses.values()), np.full(len(self), np.nan))

    @property
    def flop(self) -> Array:
        """Return training compute, 6 x parameters x tokens."""
        return np.asarray(6 * self.params * self.tokens)

    def take(self, keep: npt.NDArray[Any]) -> TaskTable:
        """Return the models of a mask or of places."""
        at = np.flatnonzero(keep) if keep.dtype == bool else keep
        return replace(
            self,
            models=[self.models[i] for i in at],
            family=[self.family[i] for i in at],
            params=self.params[at],
            tokens=self.tokens[at],
            losses={name: values[at] for name, values in self.losses.items()},
            values=self.values[at],
        )

    def only(self, at: Sequence[int]) -> TaskTable:
        """Return the table with the tasks at these places."""
        return replace(self, tasks=[self.tasks[i] for i in at], values=self.values[:, list(at)])

    def shares(self) -> TaskTable:
        """Return the table with tasks in [0, 1] only: accuracies and probabilities."""
        return self.only([i for i, t in enumerate(self.tasks) if t.is_share])


def from_snapshot(snapshot: Snapshot, source: str | None = None) -> TaskTable:
    """Return the task results of one source of a snapshot, at the end of each run.

    Raises SnapshotError if there are none, or several sources have some and none is named.
    """
    evals = snapshot.table("evals")
    if evals is None or not len(evals):
        raise SnapshotError(
            f"{snapshot.path} holds no task results; ingest a source that has some, for example: "
            "ncpl-data ingest marin olmo_ladder && ncpl-data snapshot"
        )
    owner = owners(evals)
    sources = sorted(set(owner.to_pylist()))
    if source is None and len(sources) > 1:
        raise ConfigError(
            f"several sources have task results: {', '.join(sources)}; name one: --source NAME"
        )
    source = source or sources[0]
    if source not in sources:
        raise ConfigError(
            f"{source!r} has no task results in {snapshot.path}; these have: {', '.join(sources)}"
        )
    rows = at_the_end(evals.filter(pc.equal(owner, source)).to_pylist())
    names = ["run_id", "params_total", "params_non_embedding", "train_tokens", "model_family",
             "nominal_train_tokens", "dataset", "final_loss", "final_loss_metric", "metrics",
             "flags"]  # fmt: skip
    runs = snapshot.table("runs", names)
    if runs is None:
        raise SnapshotError(f"{snapshot.path}: the table runs is missing")
    known = {
        row["run_id"]: row for row in runs.to_pylist() if SUPERSEDED not in (row["flags"] or ())
    }
    return table_of(source, rows, known)


def owners(evals: pa.Table) -> pa.ChunkedArray:
    """Return the source of each row, which its run id begins with."""
    return pc.list_element(pc.split_pattern(evals["run_id"], "/"), 0)


def sources_with_tasks(snapshot: Snapshot) -> list[str]:
    """Return the sources of a snapshot that have task results."""
    evals = snapshot.table("evals", ["run_id"])
    return [] if evals is None else sorted(set(owners(evals).to_pylist()))


def at_the_end(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return each run's last result of each task."""
    last: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:
        key = (row["run_id"], row["task"], row["kind"], row.get("n_shots"))
        if key not in last or (row.get("step") or 0) >= (last[key].get("step") or 0):
            last[key] = row
    return list(last.values())


def table_of(
    source: str, rows: list[dict[str, Any]], runs: Mapping[str, Mapping[str, Any]]
) -> TaskTable:
    """Return long rows of results as a table, one model a row."""
    models = sorted({row["run_id"] for row in rows if row["run_id"] in runs})
    place = {run_id: i for i, run_id in enumerate(models)}
    tasks: dict[Task, int] = {}
    cells = []
    for row in rows:
        if row["run_id"] in place and row["value"] is not None:
            task = task_of(row["task"], row["kind"], source=source, n_shots=row.get("n_shots"))
            cells.append((place[row["run_id"]], tasks.setdefault(task, len(tasks)), row["value"]))
    values = np.full((len(models), len(tasks)), np.nan)
    for i, j, value in cells:
        values[i, j] = value
    kept = [runs[m] for m in models]
    return TaskTable(
        name=source,
        models=models,
        family=[str(r.get("dataset") or r.get("model_family") or source) for r in kept],
        params=number(kept, "params_total", "params_non_embedding"),
        tokens=number(kept, "nominal_train_tokens", "train_tokens"),
        losses=losses_of(kept),
        tasks=list(tasks),
        values=values,
    )


def number(rows: Sequence[Mapping[str, Any]], *fields: str) -> Array:
    """Return the first of the fields that each row states, NaN where it states none."""
    found = [next((r[f] for f in fields if r.get(f) is not None), np.nan) for r in rows]
    return np.array(found, dtype=np.float64)


def losses_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, Array]:
    """Return the final losses of every validation metric that all rows have, the main one first."""
    if not any(r.get("final_loss") is not None for r in rows):
        return {}
    main = next(r["final_loss_metric"] for r in rows if r.get("final_loss") is not None)
    losses = {main: number(rows, "final_loss")}
    finals = [
        {m["name"]: m["value"] for m in r.get("metrics") or () if m.get("value") is not None}
        for r in rows
    ]
    shared = set(finals[0]).intersection(*finals[1:]) - {main}
    for name in sorted(n for n in shared if not n.startswith("train/")):
        losses[name] = np.array([f[name] for f in finals], dtype=np.float64)
    return losses


def read_own(path: Path) -> TaskTable:
    """Return a table of one's own: CSV or Parquet, one model a row.

    Columns `model`, `params`, `tokens`, `loss` (nats per token) and `family` are read by name, all
    but `model` optional; `loss:NAME` is a further loss; every other column is a task, `NAME` scored
    as accuracy or `NAME:KIND`. Raises ConfigError for values that cannot be what the column says.
    """
    try:
        parquet = path.suffix.lower() == ".parquet"
        table = pq.read_table(path) if parquet else pyarrow.csv.read_csv(path)
    except (OSError, pa.ArrowException) as error:
        raise ConfigError(f"{path} is no table that can be read ({error}); expected CSV or Parquet"
                          ) from error  # fmt: skip
    columns = {name: table[name].to_pylist() for name in table.column_names}
    if "model" not in columns:
        raise ConfigError(
            f"{path} has no column `model`; it has {', '.join(columns)}. Expected one model a row: "
            "model,params,tokens,loss,hellaswag,..."
        )
    if len(columns["model"]) < FEWEST_MODELS:
        raise ConfigError(
            f"{path} holds {len(columns['model'])} models; expected at least {FEWEST_MODELS}"
        )
    models = [str(m) for m in columns["model"]]
    numbers = {n: floats(path, n, v) for n, v in columns.items() if n not in ("model", "family")}
    tasks, values = [], []
    for name, column in numbers.items():
        if name not in RESERVED and not name.startswith("loss:"):
            raw, _, kind = name.partition(":")
            tasks.append(task_of(raw, kind or "accuracy"))
            values.append(checked(path, tasks[-1], column, models))
    if not tasks:
        raise ConfigError(f"{path} has no column of a task; expected for example `hellaswag`")
    nothing = np.full(len(models), np.nan)
    losses = {"loss": numbers["loss"]} if "loss" in numbers else {}
    losses |= {n[5:]: v for n, v in numbers.items() if n.startswith("loss:")}
    return TaskTable(
        name=path.stem,
        models=models,
        family=[str(f or "") for f in columns.get("family", [""] * len(models))],
        params=numbers.get("params", nothing),
        tokens=numbers.get("tokens", nothing),
        losses=losses,
        tasks=tasks,
        values=np.array(values).T,
    )


def floats(path: Path, name: str, values: list[Any]) -> Array:
    """Return a column as numbers, empty cells as NaN; raises ConfigError with the row otherwise."""
    numbers = np.full(len(values), np.nan)
    for i, value in enumerate(values):
        if value is None or value == "":
            continue
        try:
            numbers[i] = float(value)
        except (TypeError, ValueError):
            raise ConfigError(
                f"{path} row {i + 2}, column {name}: found {value!r}; expected a number"
            ) from None
    return numbers


def checked(path: Path, task: Task, values: Array, models: list[str]) -> Array:
    """Return a task's column; raises ConfigError for a share outside [0, 1]."""
    if not task.is_share:
        return values
    bad = np.flatnonzero((values < 0) | (values > 1))
    if len(bad):
        value = values[bad[0]]
        percent = np.nanmin(values) >= 0 and np.nanmax(values) <= LARGEST_PERCENT
        cure = ("these look like percents: divide the column by 100" if percent
                else "mend the row, or leave the cell empty")  # fmt: skip
        raise ConfigError(
            f"{path}, column {task.name}, model {models[bad[0]]}: {task.kind} is {value:g}; "
            f"expected a share in [0, 1]; {cure}"
        )
    return values
