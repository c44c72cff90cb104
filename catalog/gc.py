"""Garbage collection: what killed writers, compactions and dropped manifests left behind."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ncpl_data.catalog.chain import data_files, history_problems
from ncpl_data.catalog.errors import InputError, NcplDataError
from ncpl_data.catalog.folder import TEMPORARY_PREFIX
from ncpl_data.catalog.heads import heads
from ncpl_data.catalog.history import numbers_of, packs, states
from ncpl_data.catalog.manifest import loose, manifest_name
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
    catalog: Catalog,
    *,
    older_hours: float,
    keep_manifests: int | None,
    dry_run: bool,
    force: bool = False,
) -> Collected:
    """Remove what no manifest lists and is older than some hours, and return it.

    A writer at work has files that no manifest lists yet: keep the age above the time an ingest
    takes. With `keep_manifests` all but that many of the newest states go first, unless they
    are young themselves; a removed manifest is a state that can not be read again. States that
    are packed together go together.

    Raises InputError, with nothing removed, where a part of the history is lost: what looks
    superfluous may then be all that is left of it. With `force` only a catalog without any
    manifest is refused.
    """
    folder, seconds = catalog.folder, older_hours * 3600
    refuse_damaged(catalog, force=force)
    old = dropped_states(catalog, seconds, keep_manifests, dry_run=dry_run)
    gone = {version for version, name in numbers_of(folder).items() if name in old}
    listed: set[str] = set()
    for version, state in states(folder):
        if isinstance(state, NcplDataError):
            raise state
        if version not in gone:
            listed |= {f.path for files in state.tables.values() for f in files}

    unlisted: list[str] = []
    temporary: list[str] = []
    for prefix in ("data", "manifests", "history"):
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


def refuse_damaged(catalog: Catalog, *, force: bool) -> None:
    """Raise InputError where files that no manifest lists may be all that is left of runs."""
    folder = catalog.folder
    if not numbers_of(folder):
        if data_files(folder):
            raise InputError(
                f"{folder.place} holds data files but no manifest, so nothing says which are "
                "superfluous; nothing was removed. See what can be saved: ncpl-data repair"
            )
        return
    problems = [] if force else history_problems(folder)
    if problems:
        raise InputError(
            f"{folder.place}: nothing was removed, for a part of its history is lost: "
            f"{problems[0]}. Repair it first, or add --force"
        )


def dropped_states(
    catalog: Catalog, seconds: float, keep_manifests: int | None, *, dry_run: bool
) -> list[str]:
    """Remove all but the newest states, oldest first, and return their files.

    It stops at the first that is young: `check` would tell of a gap.
    """
    if not keep_manifests:
        return []
    folder = catalog.folder
    numbers = numbers_of(folder)
    dropped = set(list(numbers)[: max(len(numbers) - keep_manifests, 0)])
    ages = dict(folder.ages("manifests")) | dict(folder.ages("history"))
    files = [(last, name) for _, last, name in packs(folder)]
    files += [(version, manifest_name(version)) for version in loose(folder)]
    old: list[str] = []
    for version, name in files:
        is_old = version in dropped and ages.get(name, 0.0) >= seconds
        if not is_old or not (dry_run or folder.remove_if_older(name, seconds)):
            break
        old.append(name)
    if not dry_run:
        left = min(numbers_of(folder), default=0)
        for head in heads(folder):
            if head.version < left:
                folder.remove(head.name)
    return old


def old_drafts(root: Path, seconds: float) -> Iterator[Path]:
    """Yield the folders that killed snapshots and sorts left half-written."""
    for folder in (root, root / "snapshots"):
        if folder.is_dir():
            for path in sorted(folder.glob(f"{TEMPORARY_PREFIX}*")):
                newest = max((p.stat().st_mtime for p in path.rglob("*")), default=0.0)
                newest = max(newest, path.stat().st_mtime)
                if path.is_dir() and time.time() - newest >= seconds:
                    yield path
