"""Command ncpl gate."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from ncpl.commands.options import catalog_option, common
from ncpl_data.terminal.console import EXIT_INVALID

EPILOG = """
\b
The loop after new submissions:
  ncpl-data snapshot --split ncpl-open && ncpl-train --out runs/new
  ncpl gate runs/new --report gate.md && cp -r runs/new runs/current

\b
Exit code 0: not worse. 1: worse, with the reasons.
"""


@click.command(epilog=EPILOG)
@click.argument("new_folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--against", type=click.Path(path_type=Path, file_okay=False),
    help="Bundle in use; the one shipped with the package if not given.",
)  # fmt: skip
@click.option(
    "--snapshot", help="Whose held-out runs to score on: id, name, path, or latest; if not given, "
    "the one DIR was trained on.",
)  # fmt: skip
@click.option(
    "--list-cells", is_flag=True, help="Cells that became worse are listed, but do not refuse."
)
@click.option("--report", type=click.Path(path_type=Path), help="Write a Markdown page.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@catalog_option
@common
def gate(
    *,
    new_folder: Path,
    against: Path | None,
    snapshot: str | None,
    list_cells: bool,
    report: Path | None,
    seed: int,
    catalog: Path | None,
    as_json: bool,
    no_progress: bool,
) -> None:
    """Refuse the bundle in DIR when it is worse than the one in use.

    Both are scored on the same held-out runs; runs that one of them was trained on are left out.
    Worse is: a larger error by a paired bootstrap, or by a tenth; intervals further from 85 to 96%
    coverage; a larger choice gap; a cell of 20 runs or more that became much worse, or worse than
    the refitted Chinchilla.
    """
    del no_progress  # nothing takes long here
    from ncpl.bundles import load
    from ncpl.data.find import find_snapshot
    from ncpl.errors import SnapshotError
    from ncpl.evaluate.gate import judge
    from ncpl.evaluate.gate_data import data_change, trained_on
    from ncpl.evaluate.gate_report import as_markdown, as_text, data_lines, plain

    new, old = load(new_folder), load(against)
    found = find_snapshot(snapshot or new.snapshot_id, catalog)
    runs = found.runs()
    why_not, data, unfair = None, None, frozenset[str]()
    if new.snapshot_id != found.id:
        try:
            unfair |= trained_on(runs, find_snapshot(new.snapshot_id, catalog).runs())
        except SnapshotError:
            why_not = f"the new bundle's snapshot {new.snapshot_id[:12]} is not at hand"
    if old.snapshot_id != found.id:
        try:
            before = find_snapshot(old.snapshot_id, catalog).runs()
        except SnapshotError:
            why_not = (
                f"the snapshot {old.snapshot_id[:12]} of the bundle in use is not at hand; whether "
                "it was trained on runs that are held out here can not be told"
            )
        else:
            unfair |= trained_on(runs, before)
            data = data_change(runs, before)
    else:
        why_not = "both bundles are of the same snapshot"
    verdict = judge(new, old, runs, unfair=unfair, cells_refuse=not list_cells, seed=seed)
    about: dict[str, Any] = {
        "new": str(new_folder),
        "old": str(against or "the bundle shipped with the package"),
        "snapshot_id": found.id,
        "new_snapshot_id": new.snapshot_id,
        "old_snapshot_id": old.snapshot_id,
        "data_note": why_not,
    }
    lines = data_lines(data, why_not)
    if report is not None:
        report.parent.mkdir(parents=True, exist_ok=True)
        report.write_text(as_markdown(verdict, lines, about), encoding="utf-8")
    click.echo(json.dumps(plain(verdict, data, about)) if as_json else as_text(verdict, lines))
    if not verdict.passes:
        sys.exit(EXIT_INVALID)
