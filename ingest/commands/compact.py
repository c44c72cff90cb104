"""`ncpl-data compact`: few large files in place of many small ones."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from ncpl_data.ingest.options import catalog_option
from ncpl_data.terminal.console import Console, output_options


@click.command(epilog="\b\nExample:\n  ncpl-data compact && ncpl-data gc --older-hours 24")
@catalog_option
@output_options
def compact(catalog_folder: Path, console: Console) -> None:
    """Merge the small and overlapping files of each source; rows and snapshot ids stay.

    The files that were merged stay on disk for readers of older states; `ncpl-data gc --keep`
    removes them.
    """
    from ncpl_data.catalog.compact import compact as compact_catalog
    from ncpl_data.catalog.store import Catalog

    catalog = Catalog(catalog_folder)
    console.note(f"catalog: {catalog.folder.place}")
    with console.progress("compacting", " rows") as progress:
        done = compact_catalog(catalog, progress=progress)
    console.result(
        {"catalog": catalog.folder.place} | asdict(done),
        f"{done.files_before:,} files became {done.files_after:,}"
        if done.version
        else f"{done.files_before:,} files; nothing to merge",
    )
