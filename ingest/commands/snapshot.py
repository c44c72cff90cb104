"""`ncpl-data snapshot`: freeze the catalog, and look at what was frozen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ncpl_data.ingest import complete
from ncpl_data.ingest.options import at_option, catalog_option
from ncpl_data.terminal.console import EXIT_INVALID, Console, output_options
from ncpl_data.terminal.tables import table_text

MAX_SEED = 2**53 - 1
"""The largest whole number that every reader of JSON keeps."""

EPILOG = """\b
Examples:
  ncpl-data snapshot
  ncpl-data snapshot --where "source = 'steplaw' and n_experts is null" --name dense
  ncpl-data snapshot list
  ncpl-data snapshot --split compute:1e20 --seed 1
  ncpl-data snapshot --split community
  ncpl-data snapshot verify latest
  ncpl-data snapshot diff 41b0658 latest
\b
Split policies: ncpl (the published one), ncpl-open (the same, other runs in train), group-hash,
compute:FLOP, source:NAME, community (the published one, and parts of every other family).
"""


@click.group(invoke_without_command=True, epilog=EPILOG)
@click.option("--where", help="SQL condition over the view runs. Default: all runs.")
@click.option("--split", "policy", default="ncpl", show_default=True, help="Split policy.")
@click.option("--seed", type=click.IntRange(0, MAX_SEED), help="Seed of a policy that draws.")
@click.option("--name", help="Label in front of the id in the folder's name.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to put the snapshot in. Default: snapshots/ in the catalog.",
)
@click.option(
    "--keep-twins",
    is_flag=True,
    help="Keep every row of a run that several sources have. Default: one row a run.",
)
@at_option
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
    keep_twins: bool,
    at: int | None,
    catalog_folder: Path,
    console: Console,
) -> None:
    """Freeze the catalog into a folder with an id; prints id and path.

    The id is the hash of the logical content: the same runs and split give the same id on any
    machine. What ncpl-train reads is a snapshot, never the catalog. Of a run that several
    sources have, the owner's row stands, and takes over curves it lacks.
    """
    if ctx.invoked_subcommand is not None:
        return
    from ncpl_data.catalog import model_ready
    from ncpl_data.catalog.snapshots.read import list_snapshots
    from ncpl_data.catalog.snapshots.take import take_snapshot
    from ncpl_data.catalog.store import Catalog
    from ncpl_data.catalog.waiting import left_out

    catalog = Catalog(catalog_folder, at)
    tables = catalog.manifest().tables
    n_rows = None if where else sum(f.rows for t in ("curves", "evals") for f in tables[t])
    with console.progress("freezing", " rows", n_rows) as progress:
        taken = take_snapshot(
            catalog,
            where=where,
            policy=policy,
            seed=seed,
            name=name,
            out=out,
            keep_twins=keep_twins,
            progress=progress,
        )
    counts = taken.manifest["counts"]
    waiting = left_out(catalog, catalog.manifest())
    if waiting:
        console.note(
            f"{len(waiting):,} contributed runs wait for review, or were rejected, and are left "
            "out: ncpl-data review list"
        )
    if not taken.is_new:
        latest = list_snapshots(taken.path.parent)[0][-1]
        console.note(
            "this content is frozen already"
            + (
                ""
                if latest.path == taken.path
                else f"; the latest is {latest.label}, so name this one"
            )
        )
    rows = frozen_rows(taken.path)
    if policy == "ncpl" and (aside := families_aside(taken.path, rows)):
        console.note(
            f"{len(aside):,} other families ({sum(aside.values()):,} runs) are in no part of this "
            "split, so nothing of them is held out; to hold out parts of each: --split community"
        )
    learnable = model_ready.summary(rows)
    console.result(
        {
            "id": taken.id,
            "path": str(taken.path),
            "is_new": taken.is_new,
            "model_ready": learnable,
            "waiting": len(waiting),
            "counts": counts,
        },
        f"snapshot {taken.label}\n"
        f"id       {taken.id}\n"
        f"path     {taken.path}\n"
        f"runs     {counts['runs']:,} ({counts['curves']:,} curve points, "
        f"{counts['twins_merged']:,} twins merged)\n"
        f"split    {split_text(policy, counts['splits_by_source'])}\n"
        f"learned  {learnable}",
    )


def frozen_rows(path: Path) -> list[dict[str, Any]]:
    """Return the columns of a snapshot's runs that tell what a model can learn from them."""
    import pyarrow.parquet as pq

    from ncpl_data.catalog import model_ready

    known = set(pq.read_schema(next((path / "runs").iterdir())).names)
    columns = [name for name in model_ready.COLUMNS if name in known]
    found: list[dict[str, Any]] = pq.read_table(path / "runs", columns=columns).to_pylist()
    return found


def families_aside(path: Path, rows: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Return how many usable runs each family has that a snapshot's split leaves out entirely.

    Families too small for the community split to hold anything out are not among them.
    """
    import pyarrow.parquet as pq

    from ncpl_data.catalog.families import COLUMNS, MIN_USABLE, family_of, is_usable

    placed = set(pq.read_table(path / "splits.parquet", columns=["run_id"])["run_id"].to_pylist())
    counts: dict[str, int] = {}
    taken: set[str] = set()
    for row in (dict.fromkeys(COLUMNS) | row for row in rows):
        family = family_of(row)
        if family is None:
            continue
        if row["run_id"] in placed:
            taken.add(family.key)
        elif is_usable(row):
            counts[family.key] = counts.get(family.key, 0) + 1
    return {k: n for k, n in counts.items() if n >= MIN_USABLE and k not in taken}


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
def list_command(catalog_folder: Path, console: Console) -> int:
    """List the snapshots of the catalog, oldest first; exit 1 if one is damaged."""
    from ncpl_data.catalog.snapshots.read import list_snapshots
    from ncpl_data.catalog.store import Catalog

    known, damaged = list_snapshots(Catalog(catalog_folder).root / "snapshots")
    rows: list[dict[str, Any]] = [
        {
            "snapshot": s.label,
            "created_at": s.manifest["created_at"],
            "runs": s.manifest["counts"]["runs"],
            "curve_points": s.manifest["counts"]["curves"],
            "policy": s.manifest["selection"]["policy"],
            "where": s.manifest["selection"]["where"],
        }
        for s in known
    ]
    console.result({"snapshots": rows, "damaged": sorted(damaged)}, table_text(rows))
    for error in damaged.values():
        console.note(f"damaged: {error}")
    return EXIT_INVALID if damaged else 0


@snapshot.command(epilog="\b\nExample:\n  ncpl-data snapshot verify latest")
@click.argument("which", default="latest", shell_complete=complete.snapshots)
@catalog_option
@output_options
def verify(which: str, catalog_folder: Path, console: Console) -> None:
    """Check every file of a snapshot against its manifest, and the content against the id."""
    from ncpl_data.catalog.snapshots.read import find_snapshot
    from ncpl_data.catalog.snapshots.verify import verify_snapshot
    from ncpl_data.catalog.store import Catalog

    path = find_snapshot(Catalog(catalog_folder).root / "snapshots", which)
    manifest = verify_snapshot(path)
    n_files = sum(len(files) for files in manifest["tables"].values())
    console.result(
        {"id": manifest["id"], "path": str(path), "files": n_files, "ok": True},
        f"snapshot {path.name}: {n_files} files and the id are as they should be",
    )


@snapshot.command(epilog="\b\nExample:\n  ncpl-data snapshot diff 41b0658 latest")
@click.argument("first", shell_complete=complete.snapshots)
@click.argument("second", default="latest", shell_complete=complete.snapshots)
@catalog_option
@output_options
def diff(first: str, second: str, catalog_folder: Path, console: Console) -> int:
    """Say how the SECOND snapshot differs from the FIRST; exit 1 if it does, as diff does."""
    from ncpl_data.catalog.snapshots.diff import difference
    from ncpl_data.catalog.snapshots.read import find_snapshot
    from ncpl_data.catalog.store import Catalog

    folder = Catalog(catalog_folder).root / "snapshots"
    paths = [find_snapshot(folder, wanted) for wanted in (first, second)]
    found = difference(*paths).as_dict()
    fields = found["changed_by_field"]
    lines = [
        f"{paths[0].name} -> {paths[1].name}: {len(found['added']):,} runs added, "
        f"{len(found['removed']):,} removed, {len(found['changed']):,} changed, "
        f"{found['unchanged']:,} unchanged; {len(found['split_changed']):,} on another side",
        *(f"  {count:,} changed in {name}" for name, count in fields.items()),
    ]
    if console.verbosity > 0:
        lines += [f"  + {run_id}" for run_id in found["added"]]
        lines += [f"  - {run_id}" for run_id in found["removed"]]
        lines += [f"  ~ {i}: {', '.join(names)}" for i, names in found["changed"].items()]
    console.result(found, "\n".join(lines))
    is_same = not (found["added"] or found["removed"] or found["changed"])
    return 0 if is_same and not found["split_changed"] else EXIT_INVALID
