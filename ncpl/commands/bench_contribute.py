"""Command ncpl bench contribute."""

from __future__ import annotations

from pathlib import Path

import click

from ncpl.commands import complete
from ncpl.commands.boards import answer, board_folder, make_folder, progress_of
from ncpl.commands.options import catalog_option, common, snapshot_option


@click.command("contribute")
@snapshot_option
@catalog_option
@click.option(
    "--family", "names", multiple=True, help="Only families whose name holds this text.",
    shell_complete=complete.families,
)  # fmt: skip
@board_folder("contribute.md and contribute.json")
@common
def contribute(
    *,
    snapshot: str,
    catalog: Path | None,
    names: tuple[str, ...],
    out: Path | None,
    as_json: bool,
    no_progress: bool,
) -> None:
    """Score what half of a family's runs gives to whoever holds the other half.

    Training runs only, runs of one size and data together, each half contributed in turn. The
    family, and every one that shares a source with it, is left out of what is learned.

    Example: ncpl bench contribute --snapshot latest --out board
    """
    from ncpl.bench.contribute import markdown, run_contribute
    from ncpl.data.families import families_in
    from ncpl.data.find import find_snapshot
    from ncpl.train.community import learned_from
    from ncpl.train.population import fit_population

    found = find_snapshot(snapshot, catalog)
    families = [family.training() for family in families_in(found)]
    make_folder(out)
    board = run_contribute(
        found.id,
        families,
        learn=fit_population,
        learned=learned_from(families),
        names=names,
        tell=progress_of(no_progress=no_progress),
    )
    if not board.halves and names:
        told = "; ".join(f"{name}: {why}" for name, why in board.absent.items())
        told = told or f"no family has a name with {' or '.join(names)}"
        raise click.UsageError(told)
    answer("contribute", board.to_json(), markdown(board), out, as_json=as_json)
