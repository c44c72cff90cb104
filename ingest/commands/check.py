"""`ncpl-data check`: is the catalog whole, and does it keep its laws?"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ncpl_data.ingest.options import at_option, catalog_option
from ncpl_data.terminal.console import EXIT_INVALID, Console, output_options

if TYPE_CHECKING:
    from ncpl_data.catalog.store import Catalog

MAX_TOLD = 3
MAX_ROWS = 200_000
"""Runs beyond which configurations are not compared: all of them are held in memory for it."""

EPILOG = """\b
Examples:
  ncpl-data check              every file, every law between rows, every snapshot
  ncpl-data check --deep       also builds each run again and compares its content hash
"""


@click.command(epilog=EPILOG)
@click.option("--deep", is_flag=True, help="Also compare the content hash of every run.")
@click.option("--no-snapshots", is_flag=True, help="Leave the snapshots of the catalog out.")
@at_option
@catalog_option
@output_options
def check(
    deep: bool, no_snapshots: bool, at: int | None, catalog_folder: Path, console: Console
) -> int:
    """Check every file of the catalog and the laws its rows keep; name what is wrong.

    Files: present, the bytes the manifest says, sorted. Rows: one row a run, no curve without
    its run, steps increase, tokens = batch x sequence x step.
    """
    from ncpl_data.catalog.chain import history_problems
    from ncpl_data.catalog.check import check_catalog, n_unlisted
    from ncpl_data.catalog.errors import InputError, NcplDataError
    from ncpl_data.catalog.history import versions
    from ncpl_data.catalog.store import Catalog

    catalog = Catalog(catalog_folder, at)
    if not versions(catalog.folder) and not history_problems(catalog.folder):
        raise InputError(
            f"{catalog.folder.place} holds no catalog; name one with --catalog, or begin it: "
            "ncpl-data ingest NAME"
        )
    n_bytes = 0
    with contextlib.suppress(NcplDataError):  # `check_catalog` tells what is wrong
        n_bytes = sum(f.bytes for files in catalog.manifest().tables.values() for f in files)
    with console.progress("checking", "B", n_bytes) as progress:
        problems = check_catalog(catalog, deep=deep, snapshots=not no_snapshots, progress=progress)
    unlisted = n_unlisted(catalog)
    told = [] if problems else far_apart(catalog)
    console.result(
        {
            "catalog": catalog.folder.place,
            "ok": not problems,
            "unlisted_files": unlisted,
            "problems": [p.as_dict() for p in problems],
            "indistinct": told,
        },
        "\n".join(str(p) for p in problems) or f"{catalog.folder.place}: all is well",
    )
    if unlisted:
        console.note(
            f"{unlisted:,} data files are in no state: a writer was killed, or is at work, or "
            "commits were lost. What they hold: ncpl-data repair"
        )
    for sentence in told[:MAX_TOLD]:
        console.note(sentence)
    if len(told) > MAX_TOLD:
        console.note(f"and {len(told) - MAX_TOLD:,} configurations more; all: --json")
    if problems:
        console.note(
            f"{len(problems)} problems. Restore damaged files from a copy, or see what can be "
            "saved without one: ncpl-data repair"
        )
    return EXIT_INVALID if problems else 0


def far_apart(catalog: Catalog) -> list[str]:
    """Return a sentence for each configuration that no model can tell apart, the widest first."""
    from ncpl_data.catalog.readable import indistinct_runs

    table = catalog.read("runs")
    rows = table.to_pylist() if table.num_rows <= MAX_ROWS else []
    return [one.sentence for one in indistinct_runs(rows)]
