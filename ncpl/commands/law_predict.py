"""The command ncpl laws predict."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ncpl.commands.options import common

if TYPE_CHECKING:
    from ncpl.bench.tables import Table
    from ncpl.laws.forecast import Forecast
    from ncpl.laws.registry import Ready

NAMES = ("run_id", "id", "name", "run", "curve")
"""Columns that name a row, the first that is there."""
TRUTHS = ("loss", "final_loss", "truth")
"""Columns of measured losses, the first that is there."""


@click.command()
@click.argument("fitted", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--set", "pairs", multiple=True, help="NAME=NUMBER instead of FILE; repeat it.")
@click.option("--loss", "loss_column", help="Column of measured losses; loss, final_loss or truth.")
@common
def predict(
    *,
    fitted: Path,
    file: Path | None,
    pairs: tuple[str, ...],
    loss_column: str | None,
    as_json: bool,
    no_progress: bool,
) -> None:
    """Predict losses with a saved fit, for the rows of FILE or for one --set point.

    The 90% interval is one of a new run; beyond the fitted ranges it widens, and the row says so.

    Example: ncpl laws predict fit.json --set params_non_embedding=1e9 --set train_tokens=2e10
    """
    del no_progress  # nothing takes long here
    if (file is None) == (not pairs):
        raise click.UsageError("give FILE or --set NAME=NUMBER, one of them")
    from ncpl.bench import tables
    from ncpl.errors import ConfigError
    from ncpl.laws import registry, saved
    from ncpl.laws.forecast import forecast

    found = saved.load(fitted)
    table = tables.read_table(file) if file is not None else _point(pairs)
    if loss_column is not None and loss_column not in table:
        raise ConfigError(f"{file}: no column {loss_column!r}; there are: {', '.join(table)}")
    try:
        data = registry.ready(found.name, table)
        unread = [] if file is not None else registry.unread(found.name, table)
        if unread:
            raise ValueError(
                f"{unread[0]!r} is not read; law {found.name} reads {', '.join(data.inputs)}"
            )
        told = forecast(found, data)
    except ValueError as error:
        raise ConfigError(f"{file or 'the given point'}: {error}") from error
    rows = rows_of(table, data, told, loss_column)
    summary = _summary(rows)
    if as_json:
        click.echo(json.dumps({"law": found.name, "predictions": rows, "summary": summary}))
        return
    for row in rows:
        click.echo(_line(row))
    for note in dict.fromkeys(row["note"].split(",")[0].split()[0] for row in rows if row["note"]):
        low, high = found.ranges[note]
        click.echo(f"note: {note} goes beyond the fitted {low:.4g} to {high:.4g}; intervals widen")
    if summary is not None:
        covers = summary["covered"]
        inside = "" if covers is None else f", 90% intervals hold {100 * covers:.0f}% of them"
        click.echo(f"{summary['n']} measured: MAE {summary['mae']:.4f}{inside}")


def _point(pairs: Sequence[str]) -> Table:
    """Return a table of one row from NAME=NUMBER texts."""
    import numpy as np

    try:
        split = [pair.split("=", 1) for pair in pairs]
        return {name: np.array([float(value)]) for name, value in split}
    except ValueError as error:
        raise click.UsageError(f"--set takes NAME=NUMBER: {error}") from error


def rows_of(
    table: Table, data: Ready, told: Forecast, loss_column: str | None
) -> list[dict[str, Any]]:
    """Return one prediction a row: its name, inputs, loss, intervals, measured loss, note."""
    name = next((n for n in NAMES if n in table), None)
    truth = loss_column or next((n for n in TRUTHS if n in table), None)
    rows: list[dict[str, Any]] = []
    for i, loss in enumerate(told.loss.tolist()):
        row: dict[str, Any] = {"row": i + 1}
        if name is not None:
            row["name"] = str(table[name][i])
        row["inputs"] = {n: float(v[i]) for n, v in data.inputs.items() if n != "row"}
        row["loss"] = loss
        if told.band is not None and told.law_band is not None:
            row |= {"low": float(told.band[0, i]), "high": float(told.band[1, i])}
            row |= {"law_low": float(told.law_band[0, i]), "law_high": float(told.law_band[1, i])}
        if truth is not None:
            row["measured"] = float(table[truth][i])
        row["note"] = told.notes[i] or None
        rows.append(row)
    return rows


def _line(row: dict[str, Any]) -> str:
    """Return a prediction in one line: name, inputs, loss, interval, what was measured."""
    inputs = ", ".join(f"{name} {value:.4g}" for name, value in row["inputs"].items())
    ends = f"  90% {row['low']:.4f} to {row['high']:.4f}" if "low" in row else ""
    measured = f"  measured {row['measured']:.4f}" if "measured" in row else ""
    lead = f"{row.get('name', row['row'])}: {inputs}: " if inputs else f"{row['row']}: "
    return f"{lead}{row['loss']:.4f}{ends}{measured}"


def _summary(rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return how far off the measured rows are; None where none is measured."""
    own = [row for row in rows if "measured" in row and row["measured"] == row["measured"]]
    if not own:
        return None
    inside = [row["low"] <= row["measured"] <= row["high"] for row in own if "low" in row]
    return {
        "n": len(own),
        "mae": sum(abs(row["loss"] - row["measured"]) for row in own) / len(own),
        "covered": sum(inside) / len(inside) if inside else None,
    }
