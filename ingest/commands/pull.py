"""`ncpl-data pull`: a snapshot out of a dataset repository of the Hugging Face hub."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import click

from ncpl_data.ingest.options import catalog_option
from ncpl_data.terminal.console import Console, NumberRange, output_options

EPILOG = """\b
Examples:
  ncpl-data pull me/runs
  ncpl-data pull me/runs --expect 41b0658 --revision 8f3c21...
  ncpl-data pull me/runs --offline                  what was pulled before
  ncpl-train --snapshot latest
"""


@click.command(epilog=EPILOG)
@click.argument("repository", metavar="OWNER/NAME")
@click.option("--revision", default="main", show_default=True, help="Branch, tag or commit.")
@click.option("--expect", "expected_id", metavar="ID", help="Refuse a snapshot of another id.")
@click.option("--offline", is_flag=True, help="Use only what was pulled before.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to put the snapshot in. Default: snapshots/ in the catalog.",
)
@click.option(
    "--max-gb",
    type=NumberRange(min=0, min_open=True),
    default=200.0,
    show_default=True,
    help="Refuse a larger snapshot.",
)
@catalog_option
@output_options
def pull(
    repository: str,
    revision: str,
    expected_id: str | None,
    offline: bool,
    out: Path | None,
    max_gb: float,
    catalog_folder: Path,
    console: Console,
) -> None:
    """Pull the snapshot of a dataset repository; prints id and path.

    Every file is checked by its hash, and the content by the id, before the folder appears. An
    interrupted pull goes on where it ended.
    """
    from ncpl_data.catalog.store import Catalog
    from ncpl_data.ingest.hub.pull import pull as pull_snapshot

    with contextlib.ExitStack() as stack:

        def starting(n_bytes: int) -> Callable[[int], object]:
            return stack.enter_context(console.progress(repository, "B", n_bytes))

        taken = pull_snapshot(
            repository,
            out or Catalog(catalog_folder).root / "snapshots",
            revision=revision,
            expected_id=expected_id,
            offline=offline,
            max_bytes=int(max_gb * 1e9),
            starting=starting,
        )
    counts = taken.manifest["counts"]
    if not taken.is_new:
        console.note("this snapshot is here already")
    console.result(
        {"id": taken.id, "path": str(taken.path), "is_new": taken.is_new, "counts": counts},
        f"snapshot {taken.label}\nid       {taken.id}\npath     {taken.path}\n"
        f"runs     {counts['runs']:,} ({counts['curves']:,} curve points)",
    )
