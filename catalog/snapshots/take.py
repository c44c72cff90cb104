"""Snapshots: a frozen, self-describing copy of a selection of the catalog.

The id is the hash of the logical content, so the same runs and split give the same id on any
machine, in any row order, before and after compaction. Format: catalog/FORMAT.md.
"""

from __future__ import annotations

import json
import re
import shutil
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ncpl_data.catalog.content import refuse_false_hashes
from ncpl_data.catalog.errors import InputError
from ncpl_data.catalog.folder import TEMPORARY_PREFIX, write_error
from ncpl_data.catalog.query import connect, run_sql
from ncpl_data.catalog.snapshots.card import snapshot_card
from ncpl_data.catalog.snapshots.croissant import croissant
from ncpl_data.catalog.snapshots.read import (
    FORMAT,
    MANIFEST,
    FrozenSnapshot,
    finish,
    label_of,
    next_time,
    read_manifest,
    snapshot_id,
)
from ncpl_data.catalog.snapshots.verify import write_checksums, write_text
from ncpl_data.catalog.snapshots.write import Selection, write_tables
from ncpl_data.catalog.splits import assign_splits, columns_of
from ncpl_data.catalog.store import Catalog
from ncpl_data.catalog.twins import COLUMNS as TWIN_COLUMNS
from ncpl_data.catalog.twins import merge_twins
from ncpl_data.catalog.waiting import left_out
from ncpl_data.schema.load import SCHEMA_VERSION

LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")


def select_runs(catalog: Catalog, where: str | None) -> list[str]:
    """Return the ids of the runs a condition selects, all of them without one, sorted."""
    if where is None:
        return sorted(catalog.read("runs", ["run_id"])["run_id"].to_pylist())
    con = connect(catalog)
    try:
        rows = run_sql(con, f"select run_id from runs where ({where}\n)").fetchall()
    finally:
        con.close()
    return sorted(row[0] for row in rows)


def select(
    catalog: Catalog, where: str | None, policy: str, seed: int | None, *, keep_twins: bool
) -> Selection:
    """Return what a snapshot will hold: its runs, one row a physical run, and their split.

    Contributed runs that wait for review, or were rejected, are left out (catalog/waiting.py).
    Raises InputError if nothing is selected.
    """
    chosen = select_runs(catalog, where)
    if not chosen:
        reason = (
            f" by --where {where}" if where else "; ingest a source first: ncpl-data ingest NAME"
        )
        raise InputError(f"no run of {catalog.folder.place} is selected{reason}")
    manifest = catalog.manifest()
    waiting = tuple(one.run_id for one in left_out(catalog, manifest))
    if waiting and len(chosen) == len(waiting):
        raise InputError(
            f"all {len(chosen):,} selected runs wait for review; see them: ncpl-data review list"
        )
    chosen = sorted(set(chosen) - set(waiting))
    columns = list(dict.fromkeys([*columns_of(policy), *TWIN_COLUMNS]))
    rows = catalog.read("runs", columns)
    all_by_source = count_values(rows["source"])
    rows = rows.filter(pc.is_in(rows["run_id"], pa.array(chosen, type=pa.string())))
    rows = rows.sort_by("run_id")
    splits = assign_splits(rows, policy, seed, manifest.submitted)
    merged = []
    if not keep_twins and rows["same_as"].null_count < rows.num_rows:
        assigned = set(splits["run_id"].to_pylist())
        merged = merge_twins(rows.select(TWIN_COLUMNS).to_pylist(), assigned, manifest.submitted)
    return Selection(rows, splits, tuple(merged), all_by_source)


def take_snapshot(
    catalog: Catalog,
    *,
    where: str | None = None,
    policy: str = "ncpl",
    seed: int | None = None,
    name: str | None = None,
    out: Path | None = None,
    keep_twins: bool = False,
    progress: Callable[[int], object] = lambda _: None,
) -> FrozenSnapshot:
    """Freeze a selection of the catalog and return the snapshot.

    One physical run is one row, unless `keep_twins` (rule: catalog/twins.py). An equal snapshot
    that is already there is returned as it is. The folder appears whole or not at all. `progress`
    is told the rows of curves and evaluations that were written. Raises InputError if nothing is
    selected.
    """
    if name is not None and not LABEL.fullmatch(name):
        raise InputError(
            f'"{name[:80]}" can not be part of a folder\'s name; expected up to 60 letters, '
            "digits, dots, dashes and underscores"
        )
    manifest = catalog.manifest()
    catalog = catalog.at(manifest.version)  # others may commit meanwhile
    refuse_false_hashes(catalog, manifest)
    selected = select(catalog, where, policy, seed, keep_twins=keep_twins)
    runs, splits = selected.kept_runs(), selected.kept_splits()
    selection = {
        "where": where,
        "policy": policy,
        "seed": seed,
        "twins": "kept" if keep_twins else "merged",
    }
    identity = snapshot_id(runs, splits, selection)
    target = (out or catalog.root / "snapshots") / label_of({"name": name, "id": identity})
    if (target / MANIFEST).is_file():
        return FrozenSnapshot(target, read_manifest(target), is_new=False)

    draft = target.parent / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}"
    try:
        draft.mkdir(parents=True)
        tables = write_tables(catalog, manifest, selected, draft, progress)
        sources = {f.source for files in manifest.tables.values() for f in files}
        held = sources & {*runs["source"].to_pylist(), *sources_of(tables)}
        content = {
            "format": FORMAT,
            "id": identity,
            "name": name,
            "schema_version": SCHEMA_VERSION,
            "created_at": next_time(target.parent),
            "selection": selection,
            "sources": [sheet for s, sheet in sorted(manifest.sources.items()) if s in held],
            "counts": counts(tables, selected),
            "tables": tables,
        }
        write_pages(draft, content)
        finish(draft, target)
    except OSError as error:
        if (target / MANIFEST).is_file():  # another process froze the same content first
            return FrozenSnapshot(target, read_manifest(target), is_new=False)
        raise write_error(target, error) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return FrozenSnapshot(target, content)


def sources_of(tables: Mapping[str, list[dict[str, Any]]]) -> set[str]:
    """Return the sources that the files of curves and evaluations are named after."""
    names = [f["path"] for table in ("curves", "evals") for f in tables[table]]
    return {name.partition("/")[2].rpartition("-")[0] for name in names}


def write_pages(draft: Path, content: Mapping[str, Any]) -> None:
    """Write manifest, card, Croissant file and checksums."""
    schemas = {
        table: pq.read_schema(draft / files[0]["path"])
        for table, files in content["tables"].items()
        if files
    }
    write_text(draft / "README.md", snapshot_card(content))
    pages = {MANIFEST: content, "croissant.json": croissant(content, schemas)}
    for page, value in pages.items():
        text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False)
        write_text(draft / page, text)
    known = {f["path"]: f["sha256"] for files in content["tables"].values() for f in files}
    write_checksums(draft, known)


def counts(tables: Mapping[str, list[dict[str, Any]]], selected: Selection) -> dict[str, Any]:
    """Return rows by table, runs by source and status, and runs by source and split."""
    runs, splits = selected.kept_runs(), selected.kept_splits()
    found: dict[str, Any] = {t: sum(f["rows"] for f in files) for t, files in tables.items()}
    found["twins_merged"] = sum(len(m.dropped) for m in selected.merged)
    by_source = runs.group_by(["source", "status"]).aggregate([("run_id", "count")]).to_pylist()
    found["runs_by_source"] = nest(
        {(r["source"], r["status"] or "unknown"): r["run_id_count"] for r in by_source}
    )
    source_of = dict(zip(runs["run_id"].to_pylist(), runs["source"].to_pylist(), strict=True))
    by_split: dict[tuple[str, str], int] = {}
    for run_id, split in zip(
        splits["run_id"].to_pylist(), splits["split"].to_pylist(), strict=True
    ):
        key = (source_of[run_id], split)
        by_split[key] = by_split.get(key, 0) + 1
    found["splits_by_source"] = nest(by_split)
    return found


def nest(flat: Mapping[tuple[str, str], int]) -> dict[str, dict[str, int]]:
    """Return counts by two keys as a mapping of mappings, sorted."""
    found: dict[str, dict[str, int]] = {}
    for (outer, inner), count in sorted(flat.items()):
        found.setdefault(outer, {})[inner] = count
    return found


def count_values(values: pa.ChunkedArray) -> dict[str, int]:
    """Return how often each value occurs."""
    return {row["values"]: row["counts"] for row in pc.value_counts(values).to_pylist()}
