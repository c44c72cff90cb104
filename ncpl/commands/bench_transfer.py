"""Command ncpl bench transfer."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ncpl.commands import complete
from ncpl.commands.boards import answer, board_folder, make_folder, progress_of
from ncpl.commands.options import catalog_option, common, snapshot_option

EPILOG = """
\b
Examples:
  ncpl bench transfer --snapshot latest --out board
  ncpl bench transfer --snapshot latest --extra --no-baselines
  ncpl bench transfer --snapshot latest --compare --json
"""


@click.command("transfer", epilog=EPILOG)
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
    "--extra", is_flag=True,
    help="Also rows beside the board: larger and shorter runs of nanochat, two of QuEST.",
)  # fmt: skip
@click.option(
    "--compare", is_flag=True,
    help="Instead: the board with and without covariates, curves, synthetic families, other "
    "families.",
)  # fmt: skip
@board_folder("transfer.md and transfer.json (or compare.md and compare.json)")
@common
def transfer(
    *,
    snapshot: str,
    catalog: Path | None,
    names: tuple[str, ...],
    no_baselines: bool,
    tasks: Path | None,
    freeze: Path | None,
    extra: bool,
    compare: bool,
    out: Path | None,
    as_json: bool,
    no_progress: bool,
) -> None:
    """Score what a few small runs of a new family tell of its larger ones.

    The family, and every one that shares a source with it, is left out of what is learned.
    """
    from ncpl.bench import transfer_beside, transfer_compare
    from ncpl.bench.transfer import run_transfer
    from ncpl.bench.transfer_report import compare_markdown, markdown
    from ncpl.data.families import families_in
    from ncpl.data.find import find_snapshot
    from ncpl.evaluate import transfer_tasks
    from ncpl.train.population import fit_population, locate

    if compare and (extra or no_baselines):
        raise click.UsageError("--compare has rows of its own: leave --extra and --no-baselines")
    found = find_snapshot(snapshot, catalog)
    families = families_in(found)
    if freeze is not None:
        count = transfer_tasks.freeze(families, freeze)
        click.echo(json.dumps({"tasks": count}) if as_json else f"{count} tasks written: {freeze}")
        return
    make_folder(out)
    wanted = transfer_tasks.frozen_tasks(tasks or transfer_tasks.FROZEN)
    if names:
        wanted = [t for t in wanted if any(name in t.family for name in names)]
        if not wanted:
            raise click.UsageError(f"no family of the tasks has a name with {' or '.join(names)}")
    tell = progress_of(no_progress=no_progress)
    if compare:
        rows = transfer_compare.compare(
            found, found.runs(), families, wanted,
            learn=fit_population, locate=lambda f, p: locate(f, p).mean, tell=tell,
        )  # fmt: skip
        plain = transfer_compare.to_json(found.id, rows)
        answer("compare", plain, compare_markdown(plain), out, as_json=as_json)
        return
    board = run_transfer(
        found.id,
        families,
        wanted,
        learn=fit_population,
        baselines=not no_baselines,
        tell=tell,
    )
    plain, page = board.to_json(), markdown(board)
    if extra:
        beside, absent = transfer_beside.run_beside(families, fit_population, board.measured)
        plain["beside"] = transfer_beside.to_json(beside, absent)
        page += "\n" + transfer_beside.markdown(beside, absent)
    answer("transfer", plain, page, out, as_json=as_json)
