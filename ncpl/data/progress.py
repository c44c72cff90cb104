"""Runs in progress, read from whatever their program wrote: steps, losses, and what else it says.

A table of steps and losses (CSV, JSON lines) and a submission document are read here; every other
log by the readers of the data half (`ncpl_data.ingest.importers`), where they are installed.
"""

from __future__ import annotations

import csv
import importlib
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ncpl.data.documents import flat_config, is_document
from ncpl.data.schedules import Array
from ncpl.data.slips import number_hint
from ncpl.errors import ConfigError

STEPS = ("step", "steps", "iter", "iteration", "_step", "global_step")
TOKENS = ("tokens", "tokens_seen", "train_tokens_seen")
RUNS = ("run", "run_id", "run_name", "curve")
"""Columns of a table of several runs that say which a row is of."""
LOSSES = ("loss", "val_loss", "eval_loss", "valid_loss", "validation_loss", "train_loss", "value")
MOST_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True)
class RunProgress:
    """What a run has logged so far."""

    name: str
    steps: Array
    """Rising; empty where the log counts tokens only."""
    tokens: Array
    """As long as `loss` where the log counts tokens, else empty."""
    loss: Array
    """Nats per token; finite."""
    metric: str
    config: dict[str, Any]
    """Fields of the schema that the log states."""
    status: str | None = None
    """What the log says of how the run ended, if it does."""
    notes: list[str] = field(default_factory=list)
    """Restarts, values that are no number, what a reader decided."""


def read_progress(path: Path, *, metric: str | None = None) -> list[RunProgress]:
    """Return the runs of a log, file order kept.

    `metric` names the loss where a log has several. Raises ConfigError, naming the file and what
    was expected, where there is no loss in it.
    """
    if not path.exists():
        raise ConfigError(f"{path} does not exist; give the log of a run")
    if path.is_file() and path.stat().st_size > MOST_BYTES:
        raise ConfigError(f"{path} has more than {MOST_BYTES >> 20} MB; cut the log to its losses")
    found = _own(path, metric)
    return found if found is not None else _imported(path, metric)


def _own(path: Path, metric: str | None) -> list[RunProgress] | None:
    """Return the runs of a table or a document; None for what another reader is for."""
    suffix = path.suffix.lower()
    if not path.is_file() or suffix not in (".csv", ".tsv", ".jsonl", ".json"):
        return None
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} can not be read as UTF-8 text ({error})") from error
    if suffix in (".csv", ".tsv"):
        rows: list[Any] = list(csv.DictReader(io.StringIO(text), dialect=_dialect(suffix)))
    else:
        rows = _json_rows(text, path)
    if not rows:
        raise ConfigError(f"{path} holds no row yet; expected steps and losses")
    if all(isinstance(row, dict) and is_document(row) for row in rows):
        return [_of_document(row, path, metric, []) for row in rows]
    if not isinstance(rows[0], dict):
        return None
    step = next((n for n in STEPS if n in rows[0]), None)
    count = next((n for n in TOKENS if n in rows[0]), None)
    names = {name for row in rows[:1000] if isinstance(row, dict) for name in row}
    loss = metric if metric in names else next((n for n in LOSSES if n in names), None)
    if loss is None or (step is None and count is None):
        return None
    return _of_rows(rows, path, step, count, loss)


def _dialect(suffix: str) -> type[csv.Dialect]:
    return csv.excel_tab if suffix == ".tsv" else csv.excel


def _json_rows(text: str, path: Path) -> list[Any]:
    try:
        whole = json.loads(text)
        return whole if isinstance(whole, list) else [whole]
    except RecursionError as error:
        raise ConfigError(f"{path} is nested too deeply to be a log") from error
    except ValueError:
        lines = [line for line in text.splitlines() if line.strip()]
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(json.loads(line))
        except (ValueError, RecursionError) as error:
            if number == len(lines):
                break  # a log that is being written may end in half a line
            raise ConfigError(f"{path} line {number} is not JSON ({error})") from error
    return rows


def _of_rows(
    rows: Sequence[Any], path: Path, step: str | None, count: str | None, loss: str
) -> list[RunProgress]:
    runs: dict[str, list[tuple[float, float, float]]] = {}
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict) or row.get(loss) in (None, ""):
            continue  # a row of another metric
        name = next((str(row[n]) for n in RUNS if row.get(n) not in (None, "")), path.stem)
        at = (
            _number(row.get(step), path, number, step) if step else math.nan,
            _number(row.get(count), path, number, count) if count else math.nan,
        )
        runs.setdefault(name, []).append((*at, _number(row[loss], path, number, loss)))
    if not runs:
        raise ConfigError(f"{path}: no row has a {loss}")
    return [_of_points(name, points, path, loss) for name, points in runs.items()]


def _number(value: Any, path: Path, number: int, name: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ConfigError(
            f"{path} row {number}: {name} is {value!r}; expected a number{number_hint(value)}"
        ) from None


def _of_points(
    name: str, points: Sequence[tuple[float, float, float]], path: Path, metric: str
) -> RunProgress:
    """Return a run of (step, tokens, loss) in log order: a place that comes again is a restart."""
    by_step = any(math.isfinite(step) for step, _, _ in points)
    kept: dict[float, tuple[float, float, float]] = {}
    notes, last, is_ill = [], -math.inf, False
    for point in points:
        at = point[0] if by_step else point[1]
        if not math.isfinite(at) or at < 0:
            raise ConfigError(f"{path}: {name} counts {at:g}; expected steps or tokens from 0 on")
        if at < last:
            notes.append(
                f"restart: the log goes back from {last:g} to {at:g}; the later one counts"
            )
            kept = {key: value for key, value in kept.items() if key < at}
        last = at
        is_ill = not math.isfinite(point[2])
        if is_ill:
            notes.append(f"the loss is {point[2]} at {at:g}")
        else:
            kept[at] = point
    own = np.array([kept[at] for at in sorted(kept)], dtype=np.float64).reshape(-1, 3)
    steps, tokens = own[:, 0], own[:, 1]
    return RunProgress(
        name, steps if by_step else steps[:0], tokens if np.isfinite(tokens).all() else tokens[:0],
        own[:, 2], metric, {}, "diverged" if is_ill else None, notes[:8],
    )  # fmt: skip


def _imported(path: Path, metric: str | None) -> list[RunProgress]:
    documents, notes = imported(path, metric)
    return [_of_document(document, path, metric, notes) for document in documents]


def imported(path: Path, metric: str | None = None) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the run documents of a log another program wrote, and what its reader decided.

    Raises ConfigError where the data half is not installed, or the log holds no run.
    """
    try:
        # By name: ncpl stands alone, and reads other programs' logs where the data half is there.
        read = importlib.import_module("ncpl_data.ingest.importers").importer("auto")
        base = importlib.import_module("ncpl_data.ingest.importers.base")
    except ImportError as error:
        raise ConfigError(
            f"{path}: to read this log {error.name or 'the data half'} is needed (pip install "
            "'ncpl-data'); a CSV file with step and loss is read without it"
        ) from error
    notes: list[str] = []
    options = base.Options(source="own", metric=metric, notes=notes)
    documents = list(read(str(path), options))
    if not documents:
        raise ConfigError(f"{path} holds no run; expected a log with steps and losses")
    return documents, notes


def _of_document(
    document: Mapping[str, Any], path: Path, metric: str | None, notes: Sequence[str]
) -> RunProgress:
    """Return a run document's curve of its final loss's metric, or of the one that is asked for."""
    outcome = document.get("outcome") or {}
    curves = {c["metric"]: c for c in document.get("curves") or [] if c.get("metric")}
    chosen = _metric(curves, outcome, metric, path)
    curve = curves[chosen]
    try:
        steps, loss = (np.array(curve[k], dtype=np.float64) for k in ("step", "value"))
        tokens = np.array(curve.get("tokens") or [], dtype=np.float64)
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path}: curve {chosen} has no lists of step and value") from error
    if len(steps) != len(loss) or (np.diff(steps) <= 0).any() or not np.isfinite(loss).all():
        raise ConfigError(
            f"{path}: curve {chosen}: expected rising steps, each with a finite value"
        )
    name = str(document.get("run_id") or path.stem)
    return RunProgress(
        name, steps, tokens if len(tokens) == len(loss) else tokens[:0], loss, chosen,
        flat_config(document), outcome.get("status"), list(notes),
    )  # fmt: skip


def _metric(
    curves: Mapping[str, Any], outcome: Mapping[str, Any], metric: str | None, path: Path
) -> str:
    """Return which curve is the loss. Raises ConfigError where none is, or several may be."""
    if metric is not None:
        if metric in curves:
            return metric
        raise ConfigError(f"{path} has no curve {metric!r}; it has {', '.join(curves) or 'none'}")
    if outcome.get("final_loss_metric") in curves:
        return str(outcome["final_loss_metric"])
    if not curves:
        raise ConfigError(f"{path}: the run has no curve; expected losses along it")
    units = {m.get("name"): m.get("unit") for m in outcome.get("metrics") or []}
    losses = [n for n in curves if units.get(n) == "nats_per_token" or n.endswith("loss")]
    held = [n for n in losses if n.startswith(("validation", "eval", "val"))]
    found = held or losses
    if len(found) != 1:
        raise ConfigError(
            f"{path}: expected one loss; there are {', '.join(found or curves)}. "
            "Name it: --metric NAME"
        )
    return found[0]
