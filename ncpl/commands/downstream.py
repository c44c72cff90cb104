"""Commands ncpl downstream fit, predict, audit and board."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ncpl.commands.options import catalog_option, common
from ncpl_data.terminal.console import NumberRange

if TYPE_CHECKING:
    from ncpl.downstream.table import TaskTable

log = logging.getLogger(__name__)
source_option = click.option("--source", help="Source whose models and tasks are meant.")
table_argument = click.argument(
    "file", required=False, type=click.Path(path_type=Path, dir_okay=False)
)
from_snapshot_option = click.option(
    "--snapshot", help="Task results of a snapshot instead of FILE: id, name, path, or latest."
)


@click.group()
def downstream() -> None:
    """Say what a model can do from its loss: tasks, with intervals, or why nothing can be said.

    Example: ncpl downstream predict --loss 2.9 --tasks hellaswag,arc_easy
    """


@downstream.command()
@table_argument
@from_snapshot_option
@catalog_option
@source_option
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True,
              help="JSON file to write.")  # fmt: skip
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False),
              help="Figure of the tasks over the loss: png, svg or pdf.")  # fmt: skip
@common
def fit(
    *,
    file: Path | None,
    snapshot: str | None,
    catalog: Path | None,
    source: str | None,
    out: Path,
    plot: Path | None,
    as_json: bool,
    no_progress: bool,
) -> None:
    """Fit how the tasks of many models follow from their loss, and keep it as a file.

    FILE is CSV or Parquet, one model a row: model, loss (nats per token), params, tokens, family,
    and one column a task (a share in [0, 1]; NAME, or NAME:KIND for another metric than accuracy).

    Example: ncpl downstream fit --snapshot latest --source marin --out marin-tasks.json
    """
    del no_progress  # it is over in seconds
    from ncpl.downstream.saved import relate

    table, snapshot_id = table_from(file, snapshot, catalog, source)
    relation = relate(table, snapshot_id)
    out.write_text(json.dumps(relation.to_json()) + "\n", encoding="utf-8")
    usable = [i for i, a in enumerate(relation.audits) if a.is_predictable]
    if plot is not None:
        from ncpl.figures.downstream import task_curves

        task_curves(relation, table, plot, usable or range(len(relation.tasks)))
    found = {"out": str(out), "source": relation.source, "models": relation.n_models,
             "tasks": len(relation.tasks), "predictable": len(usable)}  # fmt: skip
    if as_json:
        click.echo(json.dumps(found))
        return
    click.echo(
        f"{found['models']} models of {found['source']}, {found['tasks']} tasks, "
        f"{found['predictable']} of them predictable (ncpl downstream audit tells why not)\n"
        f"written: {out}. Use it: ncpl downstream predict --fit {out} --loss 2.9"
    )


@downstream.command()
@click.option("--fit", "fit_file", type=click.Path(path_type=Path, dir_okay=False),
              help="File of ncpl downstream fit; else the shipped one of --source.")  # fmt: skip
@source_option
@click.option("--loss", type=NumberRange(0, min_open=True), help="Loss of the model, nats per "
              "token, in the metric of the source.")  # fmt: skip
@click.option("--loss-sd", type=NumberRange(0), default=0.0, show_default=True,
              help="Standard deviation of the loss.")  # fmt: skip
@click.option("--tasks", help="Names, with commas between; all if not given.")
@click.option("--family", default="", help="Training data or model family of the fit, for its own "
              "shift.")  # fmt: skip
@common
def predict(
    *,
    fit_file: Path | None,
    source: str | None,
    loss: float | None,
    loss_sd: float,
    tasks: str | None,
    family: str,
    as_json: bool,
    no_progress: bool,
) -> None:
    """Predict tasks from a loss. From a configuration: ncpl predict config.json --tasks NAMES.

    Example: ncpl downstream predict --loss 2.9 --loss-sd 0.01 --tasks hellaswag,arc_easy
    """
    del no_progress
    from ncpl.downstream.saved import read_relation

    if loss is None:
        raise click.UsageError(
            "give --loss, or a configuration: "
            "ncpl predict config.json --source marin --tasks hellaswag"
        )
    relation = read_relation(fit_file, source)
    rows = relation.answer(loss, loss_sd, words(tasks), family)
    notes = relation.notes(loss)
    if as_json:
        click.echo(json.dumps({"loss": loss, "tasks": rows, "notes": notes}))
        return
    click.echo("\n".join(task_lines(rows)))
    for note in notes:
        click.echo(f"note: {note}")


@downstream.command()
@table_argument
@from_snapshot_option
@catalog_option
@source_option
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False),
              help="Heat map of the audit: png, svg or pdf.")  # fmt: skip
@common
def audit(
    *,
    file: Path | None,
    snapshot: str | None,
    catalog: Path | None,
    source: str | None,
    plot: Path | None,
    as_json: bool,
    no_progress: bool,
) -> None:
    """Tell which tasks can be predicted at all, and by which metric.

    Ranks: Spearman's correlation with log compute and with minus the loss. Errors: on the three
    tenths of the models with the most compute, of our curve and of the largest smaller model.

    Example: ncpl downstream audit --snapshot latest --source marin
    """
    del no_progress
    from ncpl.downstream.audit import audit as run_audit
    from ncpl_data.terminal.tables import table_text

    table, _ = table_from(file, snapshot, catalog, source)
    rows = run_audit(table)
    if plot is not None:
        from ncpl.figures.downstream import audit_map

        audit_map(rows, plot)
    if as_json:
        click.echo(json.dumps({"source": table.name, "tasks": [r.to_json() for r in rows]}))
        return
    click.echo(table_text([{k: short(v) for k, v in r.to_json().items()} for r in rows]))


@downstream.command()
@from_snapshot_option
@catalog_option
@source_option
@click.option("--out", type=click.Path(path_type=Path, file_okay=False),
              help="Folder for board.md, board.json and predicted_and_measured.png.")  # fmt: skip
@common
def board(
    *,
    snapshot: str | None,
    catalog: Path | None,
    source: str | None,
    out: Path | None,
    as_json: bool,
    no_progress: bool,
) -> None:
    """Score every method on models left out, for each source of the snapshot that has a case.

    Takes minutes. Cases: ncpl/downstream/board.py.

    Example: ncpl downstream board --source marin --out boards/downstream
    """
    del no_progress  # one line a case on stderr
    from ncpl.data.find import find_snapshot
    from ncpl.downstream.board import CASES, markdown, run_case
    from ncpl.downstream.table import from_snapshot, sources_with_tasks
    from ncpl.errors import ConfigError

    opened = find_snapshot(snapshot or "latest", catalog)
    here = sources_with_tasks(opened)
    cases = [c for c in CASES if c.source in here and source in (None, c.source)]
    if not cases:
        known = ", ".join(dict.fromkeys(c.source for c in CASES))
        raise ConfigError(
            f"no case for {source or 'this snapshot'}: it has task results of "
            f"{', '.join(here) or 'no source'}; there are cases for {known}"
        )
    scores = []
    for case in cases:
        log.info("%s: %s", case.source, case.name)
        table = from_snapshot(opened, case.source)
        found = list(run_case(case, table))
        scores += found
        if out is not None and found:
            from ncpl.figures.downstream import predicted_and_measured

            out.mkdir(parents=True, exist_ok=True)
            name = f"{case.source}_{cases.index(case)}.png"
            predicted_and_measured(table, case.folds(table.shares()), out / name)
    content = {"snapshot": opened.id, "scores": [s.to_json() for s in scores]}
    if out is not None:
        (out / "board.md").write_text(markdown(scores), encoding="utf-8")
        (out / "board.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    click.echo(json.dumps(content) if as_json else markdown(scores), nl=as_json)


def table_from(
    file: Path | None, snapshot: str | None, catalog: Path | None, source: str | None
) -> tuple[TaskTable, str]:
    """Return the table that a user named, and the id of its snapshot if it is from one."""
    from ncpl.data.find import find_snapshot
    from ncpl.downstream.table import from_snapshot, read_own

    if file is not None and snapshot is not None:
        raise click.UsageError("give FILE or --snapshot, one of them")
    if file is not None:
        return read_own(file), ""
    opened = find_snapshot(snapshot or "latest", catalog)
    return from_snapshot(opened, source), opened.id


def words(text: str | None) -> list[str]:
    """Return the names of a list with commas."""
    return [word.strip() for word in (text or "").split(",") if word.strip()]


def task_lines(rows: list[dict[str, Any]]) -> list[str]:
    """Return predicted tasks as lines of aligned text."""
    from ncpl_data.terminal.tables import aligned

    cells = [["task", "metric", "value", "90% interval", ""]]
    for row in rows:
        if "value" in row:
            told = "" if row["emerged"] else "at chance"
            interval = f"{row['low']:.3f} to {row['high']:.3f}"
            cells.append([row["task"], row["kind"], f"{row['value']:.3f}", interval, told])
        else:
            cells.append([row["task"], row["kind"], "-", "", row["verdict"]])
    return aligned(cells)


def short(value: Any) -> Any:
    """Return a number with three decimals for a table."""
    return round(value, 3) if isinstance(value, float) else value
