"""`ncpl-data gc`: remove what no manifest lists."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from ncpl_data.ingest.options import catalog_option
from ncpl_data.terminal.console import Console, NumberRange, output_options

SAFE_HOURS = 24.0

EPILOG = """\b
Examples:
  ncpl-data gc --dry-run
  ncpl-data gc --keep 10       forget all states but the newest ten
"""


@click.command(epilog=EPILOG)
@click.option(
    "--older-hours",
    type=NumberRange(min=0),
    default=24.0,
    show_default=True,
    help="Spare younger files: a writer at work may be about to commit them.",
)
@click.option(
    "--keep",
    type=click.IntRange(min=1),
    metavar="N",
    help="Remove all manifests but the newest N. Default: keep all.",
)
@click.option(
    "--force",
    is_flag=True,
    help="Allow less than 24 hours, and a catalog whose history is damaged.",
)
@click.option("--dry-run", is_flag=True, help="Print what would go; remove nothing.")
@catalog_option
@output_options
def gc(
    older_hours: float,
    keep: int | None,
    force: bool,
    dry_run: bool,
    catalog_folder: Path,
    console: Console,
) -> None:
    """Remove the files that no manifest lists and what killed writers left half-written.

    It refuses where a part of the history is lost: what no manifest lists may then be needed.
    """
    from ncpl_data.catalog.gc import collect
    from ncpl_data.catalog.store import Catalog

    if older_hours < SAFE_HOURS and not (force or dry_run):
        raise click.UsageError(
            f"--older-hours below {SAFE_HOURS:g} may remove what a writer at work is about to "
            "commit; if nobody writes, add --force"
        )
    catalog = Catalog(catalog_folder)
    console.note(f"catalog: {catalog.folder.place}{' (dry run)' if dry_run else ''}")
    gone = collect(
        catalog, older_hours=older_hours, keep_manifests=keep, dry_run=dry_run, force=force
    )
    console.result(
        {"catalog": catalog.folder.place, "dry_run": dry_run} | asdict(gone),
        f"{'would remove' if dry_run else 'removed'} {len(gone.data_files):,} data files, "
        f"{len(gone.temporary):,} temporary files, {len(gone.manifests):,} manifests",
    )
