"""Garbage collection: what killed writers, compactions and dropped manifests left behind."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ncpl_data.catalog.folder import TEMPORARY_PREFIX
from ncpl_data.catalog.manifest import manifest_name, read_manifest, versions
from ncpl_data.catalog.store import Catalog


@dataclass(frozen=True)
class Collected:
    """What was, or would be, removed."""

    data_files: tuple[str, ...]
    """Data files that no kept manifest lists."""
    temporary: tuple[str, ...]
    """What writers that were killed left half-written."""
    manifests: tuple[str, ...]


def collect(
    catalog: Catalog, *, older_hours: float, keep_manifests: int | None, dry_run: bool
) -> Collected:
    """Remove what no manifest lists and is older than some hours, and return it.

    A writer at work has files that no manifest lists yet: keep the age above the time an ingest
    takes. With `keep_manifests` all but that many of the newest manifests go first, unless they
    are young themselves; a removed manifest is a state that can not be read again.
    """
    folder, seconds = catalog.folder, older_hours * 3600
    ages = dict(folder.ages("manifests"))
    known = versions(folder)
    dropped = known[: max(len(known) - keep_manifests, 0)] if keep_manifests else []
    old: list[str] = []
    for name in map(manifest_name, dropped):  # oldest first and no gap: `check` would tell of one
        if ages.get(name, 0.0) < seconds or not (dry_run or folder.remove_if_older(name, seconds)):
            break
        old.append(name)
    listed = set()
    for version in known:
        if manifest_name(version) in old:
            continue
        manifest = read_manifest(folder, version)
        assert manifest is not None
        listed |= {f.path for files in manifest.tables.values() for f in files}

    unlisted: list[str] = []
    temporary: list[str] = []
    for prefix in ("data", "manifests"):
        for name, age in folder.ages(prefix):
            is_temporary = name.rpartition("/")[2].startswith(TEMPORARY_PREFIX)
            if age < seconds or not (is_temporary or (prefix == "data" and name not in listed)):
                continue
            if dry_run or folder.remove_if_older(name, seconds):
                (temporary if is_temporary else unlisted).append(name)
    for path in old_drafts(catalog.root, seconds):
        if not dry_run:
            shutil.rmtree(path, ignore_errors=True)
        temporary.append(path.relative_to(catalog.root).as_posix())
    return Collected(tuple(unlisted), tuple(temporary), tuple(old))


def old_drafts(root: Path, seconds: float) -> Iterator[Path]:
    """Yield the folders that killed snapshots and sorts left half-written."""
    for folder in (root, root / "snapshots"):
        if folder.is_dir():
            for path in sorted(folder.glob(f"{TEMPORARY_PREFIX}*")):
                newest = max((p.stat().st_mtime for p in path.rglob("*")), default=0.0)
                newest = max(newest, path.stat().st_mtime)
                if path.is_dir() and time.time() - newest >= seconds:
                    yield path
