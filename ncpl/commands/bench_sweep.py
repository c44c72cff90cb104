"""Command ncpl bench sweep."""

from __future__ import annotations

from pathlib import Path

import click

from ncpl.commands.boards import answer, board_folder, make_folder, progress_of
from ncpl.commands.options import catalog_option, common, snapshot_option


@click.command("sweep")
@snapshot_option
@catalog_option
@board_folder("sweep.md and sweep.json")
@common
def sweep(
    *, snapshot: str, catalog: Path | None, out: Path | None, as_json: bool, no_progress: bool
) -> None:
    """Follow small runs in families left out: how much narrower the largest runs are told then.

    Every family of the snapshot with enough cheap runs has a row; one that holds all sources is
    made by: ncpl-data snapshot --split community

    Example: ncpl bench sweep --snapshot latest --out board
    """
    from ncpl.bench.small_runs import run_sweeps, sweeps_json, sweeps_markdown
    from ncpl.data.families import families_in
    from ncpl.data.find import find_snapshot
    from ncpl.train.population import fit_population

    found = find_snapshot(snapshot, catalog)
    make_folder(out)
    rows, absent = run_sweeps(
        families_in(found), fit_population, tell=progress_of(no_progress=no_progress)
    )
    if not rows:
        raise click.ClickException(
            f"no family of the snapshot can be followed ({'; '.join(set(absent.values()))}); make "
            "one of all sources: ncpl-data snapshot --split community"
        )
    plain = sweeps_json(found.id, rows, absent)
    answer("sweep", plain, sweeps_markdown(rows, absent), out, as_json=as_json)
