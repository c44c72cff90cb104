"""Snapshots: a frozen, self-describing copy of a selection of the catalog.

The id is the hash of the logical content, so the same runs and split give the same id on any
machine, in any row order, before and after compaction. Format: catalog/FORMAT.md.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ncpl_data.catalog.card import snapshot_card
from ncpl_data.catalog.errors import InputError, IntegrityError
from ncpl_data.catalog.folder import sync_folder, write_error
from ncpl_data.catalog.parquet import file_sha256, read_parquet, write_parquet
from ncpl_data.catalog.query import connect, run_sql
from ncpl_data.catalog.splits import COLUMNS, assign_splits
from ncpl_data.catalog.store import Catalog, now
from ncpl_data.schema.load import SCHEMA_VERSION
from ncpl_data.schema.validate import check_document

FORMAT = "ncpl-snapshot/1"
MANIFEST = "manifest.json"
TABLES = ("runs", "curves", "evals", "splits")
LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")


@dataclass(frozen=True)
class Snapshot:
    """A snapshot on disk."""

    path: Path
    manifest: Mapping[str, Any]
    is_new: bool = True

    @property
    def id(self) -> str:
        """The hash of the logical content."""
        return str(self.manifest["id"])

    @property
    def label(self) -> str:
        """The folder's name: label and first twelve digits of the id."""
        return self.path.name


def snapshot_id(runs: pa.Table, splits: pa.Table, selection: Mapping[str, Any]) -> str:
    """Return the id of a selection: runs by content, splits, and how both were chosen.

    `runs` needs the columns run_id and run_hash; a run's hash covers its curves and evaluations.
    """
    digest = hashlib.sha256()
    head = {"format": FORMAT, "schema_version": SCHEMA_VERSION, "policy": selection["policy"]}
    digest.update(json.dumps(head | {"seed": selection["seed"]}, sort_keys=True).encode())
    for row in sorted(zip(runs["run_id"].to_pylist(), runs["run_hash"].to_pylist(), strict=True)):
        digest.update("\0".join(("run", *row, "")).encode())
    columns = [splits[name].to_pylist() for name in ("run_id", "split", "split_group")]
    for split in sorted(zip(*columns, strict=True)):
        digest.update("\0".join(("split", *split, "")).encode())
    return digest.hexdigest()


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


def take_snapshot(
    catalog: Catalog,
    *,
    where: str | None = None,
    policy: str = "ncpl",
    seed: int | None = None,
    name: str | None = None,
    out: Path | None = None,
) -> Snapshot:
    """Freeze a selection of the catalog and return the snapshot.

    An equal snapshot that is already there is returned as it is. The folder appears whole or not
    at all. Raises InputError if nothing is selected.
    """
    if name is not None and not LABEL.fullmatch(name):
        raise InputError(
            f'"{name[:80]}" can not be part of a folder\'s name; expected up to 60 letters, '
            "digits, dots, dashes and underscores"
        )
    manifest = catalog.manifest()
    chosen = set(select_runs(catalog, where))
    if not chosen:
        raise InputError(
            f"no run of {catalog.root} is selected"
            + (
                f" by --where {where}"
                if where
                else "; ingest a source first: ncpl-data ingest NAME"
            )
        )
    runs = pick(catalog.read("runs", manifest=manifest), chosen)
    splits = assign_splits(runs.select(COLUMNS), policy, seed)
    selection = {"where": where, "policy": policy, "seed": seed}
    identity = snapshot_id(runs, splits, selection)
    label = f"{name}-{identity[:12]}" if name else identity[:12]
    target = (out or catalog.root / "snapshots") / label
    if (target / MANIFEST).is_file():
        return Snapshot(target, read_manifest(target), is_new=False)

    draft = target.parent / f".tmp-{uuid.uuid4().hex}"
    try:
        draft.mkdir(parents=True)
        tables = {
            "runs": [write_part(draft, "runs/part-00000.parquet", runs)],
            "curves": write_by_source(draft, "curves", catalog, manifest, chosen),
            "evals": write_by_source(draft, "evals", catalog, manifest, chosen),
            "splits": [write_part(draft, "splits.parquet", splits)],
        }
        sources = set(runs["source"].to_pylist())
        content = {
            "format": FORMAT,
            "id": identity,
            "name": name,
            "schema_version": SCHEMA_VERSION,
            "created_at": now(),
            "selection": selection,
            "sources": [sheet for s, sheet in sorted(manifest.sources.items()) if s in sources],
            "counts": counts(tables, runs, splits),
            "tables": tables,
        }
        (draft / "README.md").write_text(snapshot_card(content), encoding="utf-8")
        text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False)
        (draft / MANIFEST).write_text(text, encoding="utf-8")
        sync_folder(draft)
        draft.rename(target)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        if (target / MANIFEST).is_file():  # another process froze the same content first
            return Snapshot(target, read_manifest(target), is_new=False)
        raise write_error(target, error) from error
    return Snapshot(target, content)


def pick(rows: pa.Table, chosen: set[str]) -> pa.Table:
    """Return the rows of the chosen runs, sorted by run, metric and step where they have them."""
    ids = pa.array(sorted(chosen), type=pa.string())
    keys = [c for c in ("run_id", "metric", "task", "kind", "step") if c in rows.column_names]
    return rows.filter(pc.is_in(rows["run_id"], value_set=ids)).sort_by(
        [(key, "ascending") for key in keys]
    )


def write_by_source(
    draft: Path, table: str, catalog: Catalog, manifest: Any, chosen: set[str]
) -> list[dict[str, Any]]:
    """Write one file for each source of a table and return their entries."""
    entries = []
    for source in sorted({file.source for file in manifest.tables[table]}):
        rows = pick(catalog.read(table, source=source, manifest=manifest), chosen)
        if rows.num_rows:
            entries.append(write_part(draft, f"{table}/{source}-00000.parquet", rows))
    return entries


def write_part(draft: Path, name: str, rows: pa.Table) -> dict[str, Any]:
    """Write one file of the snapshot and return its entry in the manifest."""
    path = draft / name
    path.parent.mkdir(exist_ok=True)
    write_parquet(rows, path)
    return {
        "path": name,
        "sha256": file_sha256(path),
        "bytes": path.stat().st_size,
        "rows": rows.num_rows,
    }


def counts(
    tables: Mapping[str, list[dict[str, Any]]], runs: pa.Table, splits: pa.Table
) -> dict[str, Any]:
    """Return rows by table, runs by source and status, and runs by source and split."""
    found: dict[str, Any] = {t: sum(f["rows"] for f in files) for t, files in tables.items()}
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


def read_manifest(path: Path) -> dict[str, Any]:
    """Return a snapshot's manifest.

    Raises IntegrityError if it is missing, damaged or of another format.
    """
    try:
        content: dict[str, Any] = json.loads((path / MANIFEST).read_text("utf-8"))
    except FileNotFoundError as error:
        raise IntegrityError(f"{path} is no snapshot: it has no {MANIFEST}") from error
    except (ValueError, OSError) as error:
        raise IntegrityError(f"{path / MANIFEST} can not be read: {error}") from error
    problems = check_document(content, "snapshot")
    if problems:
        raise IntegrityError(f"{path / MANIFEST}: {problems[0]}")
    return content


def list_snapshots(folder: Path) -> list[Snapshot]:
    """Return the snapshots of a folder, oldest first."""
    if not folder.is_dir():
        return []
    found = [
        Snapshot(entry, read_manifest(entry), is_new=False)
        for entry in folder.iterdir()
        if (entry / MANIFEST).is_file() and not entry.name.startswith(".")
    ]
    return sorted(found, key=lambda s: (s.manifest["created_at"], s.label))


def find_snapshot(folder: Path, wanted: str) -> Path:
    """Return the folder of a snapshot: a path, a label, the start of an id, or "latest"."""
    if (Path(wanted) / MANIFEST).is_file():
        return Path(wanted)
    known = list_snapshots(folder)
    if wanted == "latest" and known:
        return known[-1].path
    matches = [s for s in known if s.id.startswith(wanted) or s.label == wanted]
    if len(matches) != 1:
        raise InputError(
            f'{len(matches)} snapshots of {folder} match "{wanted}"; there are: '
            + (", ".join(s.label for s in known) or "none; take one: ncpl-data snapshot")
        )
    return matches[0].path


def verify_snapshot(path: Path) -> dict[str, Any]:
    """Check every file of a snapshot against its manifest and return the manifest.

    Raises IntegrityError that names the first file that is missing, altered or extra rows long,
    or says that the content is not that of the id.
    """
    manifest = read_manifest(path)
    parts: dict[str, list[pa.Table]] = {"runs": [], "splits": []}
    for table, files in manifest["tables"].items():
        for file in files:
            place = path / file["path"]
            if not place.is_file():
                raise IntegrityError(f"snapshot {path.name}: {file['path']} is missing")
            if file_sha256(place) != file["sha256"]:
                raise IntegrityError(
                    f"snapshot {path.name}: {file['path']} is not what the manifest says "
                    f"(sha256 {file_sha256(place)[:16]}..., expected {file['sha256'][:16]}...). "
                    "Restore it or take it again: ncpl-data snapshot"
                )
            rows = read_parquet(place)
            if rows.num_rows != file["rows"]:
                raise IntegrityError(
                    f"snapshot {path.name}: {file['path']} has {rows.num_rows:,} rows, the "
                    f"manifest says {file['rows']:,}"
                )
            if table in parts:
                parts[table].append(rows)
    identity = snapshot_id(
        pa.concat_tables(parts["runs"]), pa.concat_tables(parts["splits"]), manifest["selection"]
    )
    if identity != manifest["id"]:
        raise IntegrityError(
            f"snapshot {path.name}: its content has id {identity[:12]}, the manifest says "
            f"{manifest['id'][:12]}"
        )
    return manifest
