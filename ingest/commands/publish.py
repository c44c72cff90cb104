"""`ncpl-data publish`: a snapshot into a dataset repository of the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

import click

from ncpl_data.ingest import complete
from ncpl_data.ingest.options import catalog_option
from ncpl_data.terminal.console import Console, output_options

EPILOG = """\b
Examples:
  ncpl-data publish me/runs --dry-run               what would be sent
  ncpl-data publish me/runs --private
  ncpl-data publish me/runs --snapshot 41b0658 --revision dense
\b
Afterwards anybody reads it: ncpl-data pull me/runs, or
  datasets.load_dataset("me/runs", "runs")
The key comes from HF_TOKEN or `hf auth login`, the address from HF_ENDPOINT.
"""


@click.command(epilog=EPILOG)
@click.argument("repository", metavar="OWNER/NAME")
@click.option(
    "--snapshot", "which", default="latest", show_default=True, help="Which snapshot.",
    shell_complete=complete.snapshots,
)  # fmt: skip
@click.option("--revision", default="main", show_default=True, help="Branch to commit to.")
@click.option("--private", "is_private", is_flag=True, help="Create the repository for you only.")
@click.option(
    "--accept-unlicensed",
    is_flag=True,
    help="Publish also runs whose source states no licence.",
)
@click.option("--dry-run", is_flag=True, help="Print what would change; send nothing.")
@catalog_option
@output_options
def publish(
    repository: str,
    which: str,
    revision: str,
    is_private: bool,
    accept_unlicensed: bool,
    dry_run: bool,
    catalog_folder: Path,
    console: Console,
) -> None:
    """Publish a snapshot to a dataset repository, in one commit.

    The repository then holds this snapshot and no table of another one. Files it has are not
    sent again; run the same command again after an interruption. Exit code 4: somebody committed
    meanwhile, and nothing of yours is visible.
    """
    from ncpl_data.catalog.snapshots.read import find_snapshot
    from ncpl_data.catalog.store import Catalog
    from ncpl_data.ingest.hub.publish import publish as publish_snapshot

    path = find_snapshot(Catalog(catalog_folder).root / "snapshots", which)
    done = publish_snapshot(
        path,
        repository,
        revision=revision,
        is_private=is_private,
        accepts_unlicensed=accept_unlicensed,
        shows_progress=console.shows_progress,
        dry_run=dry_run,
    )
    plan = done.plan
    if not done.is_new:
        text = f"{repository} holds snapshot {done.label} already, commit {done.commit}"
    else:
        verb = "would send" if dry_run else "sent"
        text = (
            f"{repository} ({revision}): {verb} {len(plan.send):,} files of snapshot {done.label}, "
            f"{plan.send_bytes:,} bytes; {len(plan.keep):,} were there, {len(plan.remove):,} "
            f"{'would go' if dry_run else 'removed'}"
        )
        text += "" if dry_run else f"\ncommit {done.commit}"
    console.result(done.as_dict() | {"dry_run": dry_run}, text)
