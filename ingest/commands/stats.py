"""`ncpl-data stats`: what the catalog holds."""

from __future__ import annotations

from pathlib import Path

import click

from ncpl_data.ingest.options import at_option, catalog_option
from ncpl_data.terminal.console import Console, output_options
from ncpl_data.terminal.tables import table_text

COLUMNS = (
    "source",
    "runs",
    "finished",
    "diverged",
    "with_loss",
    "with_curve",
    "curve_points",
    "evals",
    "rejects",
    "seen_elsewhere",
)


@click.command(epilog="\b\nExample:\n  ncpl-data stats --json")
@at_option
@catalog_option
@output_options
def stats(at: int | None, catalog_folder: Path, console: Console) -> None:
    """Count the runs, curves, evaluations and rejects of each source, and the files."""
    from ncpl_data.catalog.stats import catalog_stats
    from ncpl_data.catalog.store import Catalog

    catalog = Catalog(catalog_folder, at)
    found = catalog_stats(catalog)
    console.result(
        {"catalog": catalog.folder.place} | found,
        f"{catalog.folder.place}, manifest {found['manifest']}\n\n"
        f"{table_text(found['sources'], COLUMNS)}\n\n{table_text(found['tables'])}",
    )
