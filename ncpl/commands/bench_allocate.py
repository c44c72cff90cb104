"""Command ncpl bench allocate."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ncpl.commands.options import bundle_option, catalog_option, common, snapshot_option

if TYPE_CHECKING:
    from ncpl.data.snapshot import Snapshot

log = logging.getLogger("ncpl.bench")


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
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False),
    help="Folder for allocate.md and allocate.json.",
)  # fmt: skip
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
    from ncpl.bench.tables import write_text
    from ncpl.bundles import load_ensemble
    from ncpl.data.find import find_snapshot
    from ncpl.plan.strategies import strategies

    found = find_snapshot(snapshot, catalog)
    if end == "law":
        _law(found, out, as_json=as_json, no_progress=no_progress)
        return
    bundle = load_ensemble(folder, what="predicted curves")
    if freeze is not None:
        count = freeze_tasks(bundle, found.runs(), freeze)
        click.echo(json.dumps({"tasks": count}) if as_json else f"{count} tasks written: {freeze}")
        return
    known = strategies()
    for name in names:
        if name not in known:
            raise click.UsageError(f"no strategy {name!r}; there are: {', '.join(known)}")
    board = run_allocation(
        found,
        bundle,
        None if tasks is None else frozen_tasks(tasks),
        methods=[known[name] for name in names or known],
        tell=lambda text: None if no_progress else log.info("%s", text),
    )
    if not board.groups:
        raise click.ClickException(
            "no task of the board is in this snapshot; take one that has: ncpl-data snapshot"
        )
    texts = {
        "allocate.json": json.dumps(board.to_json(), indent=1) + "\n",
        "allocate.md": markdown(board),
    }
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            write_text(out / name, text)
    click.echo(json.dumps(board.to_json()) if as_json else texts["allocate.md"], nl=as_json)


def _law(snapshot: Snapshot, out: Path | None, *, as_json: bool, no_progress: bool) -> None:
    """Print the board of laws that budgets buy."""
    from ncpl.bench.law_allocation import law_markdown, run_laws
    from ncpl.bench.tables import write_text

    rows = run_laws(snapshot, tell=lambda text: None if no_progress else log.info("%s", text))
    if not rows:
        raise click.ClickException(
            "the snapshot has no optimizer with 100 training runs and larger held-out ones"
        )
    plain = {"snapshot_id": snapshot.id, "rows": rows}
    texts = {"laws.json": json.dumps(plain, indent=1) + "\n", "laws.md": law_markdown(rows)}
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            write_text(out / name, text)
    click.echo(json.dumps(plain) if as_json else texts["laws.md"], nl=as_json)
