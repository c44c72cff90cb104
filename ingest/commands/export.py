"""`ncpl-data export`: the catalog's files as Delta or Iceberg tables, without a copy."""

from __future__ import annotations

from pathlib import Path

import click

from ncpl_data.ingest.options import at_option, catalog_option
from ncpl_data.terminal.console import Console, output_options
from ncpl_data.terminal.tables import table_text

EPILOG = """\b
Examples:
  ncpl-data export --format delta --out runs-delta
  ncpl-data export --format iceberg --out runs-iceberg --at 12
"""


@click.command(epilog=EPILOG)
@click.option(
    "--format", "layout", type=click.Choice(["delta", "iceberg"]), required=True, help="Format."
)
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="New folder."
)
@at_option
@catalog_option
@output_options
def export(layout: str, out: Path, at: int | None, catalog_folder: Path, console: Console) -> None:
    """Register the files of one state as Delta or Iceberg tables: runs, curves, evals.

    Data files are linked, not copied. Spark, Trino, Daft, Polars and others read the result.
    """
    from ncpl_data.catalog.export import export_catalog
    from ncpl_data.catalog.store import Catalog

    found = export_catalog(Catalog(catalog_folder, at), layout, out)
    rows = [{"table": table} | entry for table, entry in found.items()]
    console.result({"format": layout, "out": str(out), "tables": found}, table_text(rows))
