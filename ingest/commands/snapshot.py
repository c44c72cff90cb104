"""`ncpl-data snapshot`: freeze the catalog, and look at what was frozen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ncpl_data.ingest.console import Console, catalog_option, output_options, table_text

EPILOG = """\b
Examples:
  ncpl-data snapshot
  ncpl-data snapshot --where "source = 'steplaw' and n_experts is null" --name dense
  ncpl-data snapshot list
  ncpl-data snapshot verify latest
"""


@click.group(invoke_without_command=True, epilog=EPILOG)
@click.option("--where", help="SQL condition over the view runs. Default: all runs.")
@click.option("--split", "policy", default="ncpl", show_default=True, help="Split policy.")
@click.option("--seed", type=click.IntRange(min=0), help="Seed of a policy that draws.")
@click.option("--name", help="Label in front of the id in the folder's name.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to put the snapshot in. Default: snapshots/ in the catalog.",
)
@catalog_option
@output_options
@click.pass_context
def snapshot(
    ctx: click.Context,
    where: str | None,
    policy: str,
    seed: int | None,
    name: str | None,
    out: Path | None,
    catalog_folder: Path,
    console: Console,
) -> None:
    """Freeze the catalog into a folder with an id; prints id and path.

    The id is the hash of the logical content: the same runs and split give the same id on any
    machine. What ncpl-train reads is a snapshot, never the catalog.
    """
    if ctx.invoked_subcommand is not None:
        return
    from ncpl_data.catalog.snapshot import take_snapshot
    from ncpl_data.catalog.store import Catalog

    taken = take_snapshot(
        Catalog(catalog_folder),
        where=where,
        policy=policy,
        seed=seed,
        name=name,
        out=out,
    )
    counts = taken.manifest["counts"]
    if not taken.is_new:
        console.note("this content is frozen already")
    console.result(
        {
            "id": taken.id,
            "path": str(taken.path),
            "is_new": taken.is_new,
            "counts": counts,
        },
        f"snapshot {taken.label}\n"
        f"id       {taken.id}\n"
        f"path     {taken.path}\n"
        f"runs     {counts['runs']:,} ({counts['curves']:,} curve points)\n"
        f"split    {split_text(policy, counts['splits_by_source'])}",
    )


def split_text(policy: str, by_source: dict[str, dict[str, int]]) -> str:
    """Return the split's counts in one line."""
    parts = []
    for source, counts in by_source.items():
        sides = ", ".join(f"{s} {counts[s]:,}" for s in ("train", "id", "ood") if s in counts)
        parts.append(f"{source}: {sides}")
    return f"{policy}: {'; '.join(parts) or 'no run of it is selected'}"


@snapshot.command("list", epilog="\b\nExample:\n  ncpl-data snapshot list --json")
@catalog_option
@output_options
def list_command(catalog_folder: Path, console: Console) -> None:
    """List the snapshots of the catalog, oldest first."""
    from ncpl_data.catalog.frozen import list_snapshots

    rows: list[dict[str, Any]] = [
        {
            "snapshot": s.label,
            "created_at": s.manifest["created_at"],
            "runs": s.manifest["counts"]["runs"],
            "curve_points": s.manifest["counts"]["curves"],
            "policy": s.manifest["selection"]["policy"],
            "where": s.manifest["selection"]["where"],
        }
        for s in list_snapshots(catalog_folder / "snapshots")
    ]
    console.result({"snapshots": rows}, table_text(rows))


@snapshot.command(epilog="\b\nExample:\n  ncpl-data snapshot verify latest")
@click.argument("which", default="latest")
@catalog_option
@output_options
def verify(which: str, catalog_folder: Path, console: Console) -> None:
    """Check every file of a snapshot against its manifest, and the content against the id."""
    from ncpl_data.catalog.frozen import find_snapshot, verify_snapshot

    path = find_snapshot(catalog_folder / "snapshots", which)
    manifest = verify_snapshot(path)
    n_files = sum(len(files) for files in manifest["tables"].values())
    console.result(
        {"id": manifest["id"], "path": str(path), "files": n_files, "ok": True},
        f"snapshot {path.name}: {n_files} files and the id are as they should be",
    )
