"""Command ncpl bench transfer."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import click

from ncpl.commands import complete
from ncpl.commands.options import catalog_option, common, snapshot_option

log = logging.getLogger("ncpl.bench")


@click.command("transfer")
@snapshot_option
@catalog_option
@click.option(
    "--family", "names", multiple=True, help="Only families whose name holds this text.",
    shell_complete=complete.families,
)  # fmt: skip
@click.option("--no-baselines", is_flag=True, help="Only the adapted population.")
@click.option(
    "--tasks", type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="File of tasks; the frozen ones that ship with the package if not given.",
)  # fmt: skip
@click.option(
    "--freeze", type=click.Path(path_type=Path, dir_okay=False),
    help="Draw tasks from this snapshot, write them to this file and stop.",
)  # fmt: skip
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False),
    help="Folder for transfer.md and transfer.json.",
)  # fmt: skip
@common
def transfer(
    *,
    snapshot: str,
    catalog: Path | None,
    names: tuple[str, ...],
    no_baselines: bool,
    tasks: Path | None,
    freeze: Path | None,
    out: Path | None,
    as_json: bool,
    no_progress: bool,
) -> None:
    """Score what a few small runs of a new family tell of its larger ones.

    The family, and every one that shares a source with it, is left out of what is learned.

    Example: ncpl bench transfer --snapshot latest --out board
    """
    from ncpl.bench.tables import write_text
    from ncpl.bench.transfer import run_transfer
    from ncpl.bench.transfer_report import markdown
    from ncpl.data.families import families_in
    from ncpl.data.find import find_snapshot
    from ncpl.evaluate import transfer_tasks
    from ncpl.train.population import fit_population

    found = find_snapshot(snapshot, catalog)
    families = families_in(found)
    if freeze is not None:
        count = transfer_tasks.freeze(families, freeze)
        click.echo(json.dumps({"tasks": count}) if as_json else f"{count} tasks written: {freeze}")
        return
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    wanted = transfer_tasks.frozen_tasks(tasks or transfer_tasks.FROZEN)
    if names:
        wanted = [t for t in wanted if any(name in t.family for name in names)]
        if not wanted:
            raise click.UsageError(f"no family of the tasks has a name with {' or '.join(names)}")
    board = run_transfer(
        found.id,
        families,
        wanted,
        learn=fit_population,
        baselines=not no_baselines,
        tell=lambda text: None if no_progress else log.info("%s", text),
    )
    texts = {
        "transfer.json": json.dumps(board.to_json(), indent=1) + "\n",
        "transfer.md": markdown(board),
    }
    if out is not None:
        for name, text in texts.items():
            write_text(out / name, text)
    click.echo(json.dumps(board.to_json()) if as_json else texts["transfer.md"], nl=as_json)
