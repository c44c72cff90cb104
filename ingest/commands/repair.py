"""`ncpl-data repair`: bring back what a damaged or forked catalog still holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ncpl_data.ingest.options import catalog_option
from ncpl_data.terminal.console import EXIT_INVALID, Console, output_options

if TYPE_CHECKING:
    from ncpl_data.catalog.repair import Repaired

MAX_SHOWN = 10

EPILOG = """\b
Examples:
  ncpl-data repair             what is damaged or lost, and what would come back
  ncpl-data repair --apply     commit it as the newest state
"""


@click.command(epilog=EPILOG)
@click.option("--apply", "is_real", is_flag=True, help="Commit what can be restored.")
@catalog_option
@output_options
def repair(is_real: bool, catalog_folder: Path, console: Console) -> int:
    """Restore what the files of a catalog still hold, where its history or files are damaged.

    The newest state that can be read stands. Runs in files that it does not list come back if
    their rows check: of lost manifests, of both branches of a fork. Runs that are damaged in every
    file are named; ingest or submit those again. Nothing is removed.
    """
    from ncpl_data.catalog.repair import repair as repair_catalog
    from ncpl_data.catalog.store import Catalog
    from ncpl_data.ingest.sources import all_sources

    catalog = Catalog(catalog_folder)
    console.note(f"catalog: {catalog.folder.place}{'' if is_real else ' (nothing is written)'}")
    sheets = {name: source.sheet() for name, source in all_sources().items()}
    done = repair_catalog(catalog, apply=is_real, sheets=sheets)
    console.result(
        {"catalog": catalog.folder.place, "applied": is_real} | done.as_dict(),
        "\n".join(lines_of(done, is_real=is_real)),
    )
    return EXIT_INVALID if done.lost or (done.problems and not is_real) else 0


def lines_of(done: Repaired, *, is_real: bool) -> list[str]:
    """Return the report as lines."""
    lines = [str(problem) for problem in done.problems]
    if done.base:
        lines.append(f"state {done.base} stands")
    if done.unlisted_files:
        lines.append(f"{done.unlisted_files:,} data files are not in it")
    for what, run_ids in (
        ("come back" if not is_real else "came back", done.restored),
        ("stand in another version in the state, which is kept", done.superseded),
        ("are lost: damaged or incomplete in every file; bring them in again", done.lost),
    ):
        if run_ids:
            named = ", ".join(run_ids[:MAX_SHOWN]) + (" ..." if len(run_ids) > MAX_SHOWN else "")
            lines.append(f"{len(run_ids):,} runs {what}: {named}")
    if not done.problems and not done.restored:
        lines.append("nothing to repair")
    elif done.version:
        lines.append(f"committed as manifest {done.version}; now: ncpl-data check --deep")
    else:
        lines.append("to commit it: ncpl-data repair --apply")
    return lines
