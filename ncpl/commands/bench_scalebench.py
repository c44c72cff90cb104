"""Command ncpl bench scalebench."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ncpl.commands.boards import answer, board_folder, make_folder
from ncpl.commands.options import catalog_option, common, snapshot_option


@click.command("scalebench")
@snapshot_option
@catalog_option
@board_folder("scalebench.md, scalebench.json and result.json, ScaleBench's own form")
@common
def scalebench(
    *, snapshot: str, catalog: Path | None, out: Path | None, as_json: bool, no_progress: bool
) -> None:
    """Score ScaleBench's learning-rate and batch task under its cost rule, beside its paper's rows.

    Example: ncpl bench scalebench --snapshot latest --out board
    """
    del no_progress  # over in seconds
    from ncpl.bench import scalebench as bench
    from ncpl.data.find import find_snapshot

    found = find_snapshot(snapshot, catalog)
    make_folder(out)
    rows = bench.run_scalebench(*bench.task_of(found))
    plain = bench.as_json(found.id, rows)
    more = {"result.json": json.dumps(plain["submission"], indent=1) + "\n"}
    answer("scalebench", plain, bench.markdown(rows), out, as_json=as_json, more=more)
