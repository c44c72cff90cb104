"""Command ncpl bench allocate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ncpl.commands.boards import answer, board_folder, make_folder, progress_of
from ncpl.commands.options import bundle_option, catalog_option, common, snapshot_option

if TYPE_CHECKING:
    from ncpl.data.snapshot import Snapshot


@click.command("allocate")
@snapshot_option
@catalog_option
@bundle_option
@click.option(
    "--end", type=click.Choice(["best", "law"]), default="best", show_default=True,
    help="What the budget is for: the best run of a group, or a law that reaches larger sizes.",
)  # fmt: skip
@click.option("--strategy", "names", multiple=True, help="Only this strategy; may be repeated.")
@click.option(
    "--freeze", type=click.Path(path_type=Path, dir_okay=False),
    help="Write which runs each task has, to this file, and stop.",
)  # fmt: skip
@click.option(
    "--tasks", type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="File of tasks; the frozen ones that ship with the package if not given.",
)  # fmt: skip
@board_folder("allocate.md and allocate.json")
@common
def allocate(
    *,
    snapshot: str,
    catalog: Path | None,
    folder: Path | None,
    end: str,
    names: tuple[str, ...],
    freeze: Path | None,
    tasks: Path | None,
    out: Path | None,
    as_json: bool,
    no_progress: bool,
) -> None:
    """Replay ways to spend a budget over the measured curves of held-out groups.

    Example: ncpl bench allocate --snapshot latest --out board
    """
    from ncpl.bench.allocation import freeze_tasks, frozen_tasks, run_allocation
    from ncpl.bench.allocation_report import markdown
    from ncpl.bundles import load_ensemble
    from ncpl.data.find import find_snapshot
    from ncpl.plan.forecasts import forecaster_of
    from ncpl.plan.strategies import strategies

    found = find_snapshot(snapshot, catalog)
    make_folder(out)
    if end == "law":
        _law(found, out, as_json=as_json, no_progress=no_progress)
        return
    bundle = load_ensemble(folder, what="predicted curves")
    if freeze is not None:
        count = freeze_tasks(bundle, found.runs(), freeze)
        click.echo(json.dumps({"tasks": count}) if as_json else f"{count} tasks written: {freeze}")
        return
    known = strategies(forecaster_of(folder))
    for name in names:
        if name not in known:
            raise click.UsageError(f"no strategy {name!r}; there are: {', '.join(known)}")
    board = run_allocation(
        found,
        bundle,
        None if tasks is None else frozen_tasks(tasks),
        methods=[known[name] for name in names or known],
        tell=progress_of(no_progress=no_progress),
    )
    if not board.groups:
        raise click.ClickException(
            "no task of the board is in this snapshot; take one that has: ncpl-data snapshot"
        )
    answer("allocate", board.to_json(), markdown(board), out, as_json=as_json)


def _law(snapshot: Snapshot, out: Path | None, *, as_json: bool, no_progress: bool) -> None:
    """Print the board of laws that budgets buy."""
    from ncpl.bench.law_allocation import law_markdown, run_laws

    rows = run_laws(snapshot, tell=progress_of(no_progress=no_progress))
    if not rows:
        raise click.ClickException(
            "the snapshot has no optimizer with 100 training runs and larger held-out ones"
        )
    plain = {"snapshot_id": snapshot.id, "rows": rows}
    answer("laws", plain, law_markdown(rows), out, as_json=as_json)
