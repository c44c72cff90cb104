"""`ncpl-data coverage`: which runs of a published split the catalog has."""

from __future__ import annotations

from pathlib import Path

import click

from ncpl_data.ingest.console import (
    Console,
    at_option,
    catalog_option,
    output_options,
    table_text,
)

COLUMNS = ("source", "part", "named", "in_catalog", "with_loss", "with_curve")

EPILOG = """\b
Examples:
  ncpl-data coverage
  ncpl-data coverage --missing     names the runs that have no loss here
"""


@click.command(epilog=EPILOG)
@click.option("--split", default="ncpl", show_default=True, help="Published split.")
@click.option("--missing", is_flag=True, help="Name the runs without a loss, one a line.")
@at_option
@catalog_option
@output_options
def coverage(
    split: str, missing: bool, at: int | None, catalog_folder: Path, console: Console
) -> None:
    """Count which runs of a split are in the catalog, with a loss, with a curve."""
    from ncpl_data.catalog.stats import coverage as split_coverage
    from ncpl_data.catalog.store import Catalog

    rows = [part.as_dict() for part in split_coverage(Catalog(catalog_folder, at), split)]
    names = [f"{row['source']}\t{row['part']}\t{name}" for row in rows for name in row["missing"]]
    text = "\n".join(names) if missing else table_text(rows, COLUMNS)
    console.result({"split": split, "parts": rows}, text)
    if names and not missing:
        console.note(f"{len(names):,} runs have no loss here; their names: --missing")
