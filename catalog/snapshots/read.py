"""A frozen snapshot on disk: its id, its manifest, the files it may have, finding it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from ncpl_data.catalog.disk import disk
from ncpl_data.catalog.errors import InputError, IntegrityError
from ncpl_data.catalog.folder import sync_folder
from ncpl_data.schema.load import SCHEMA_VERSION
from ncpl_data.schema.validate import check_document

FORMAT = "ncpl-snapshot/1"
MANIFEST = "manifest.json"
CHECKSUMS = "SHA256SUMS"
PAGES = (MANIFEST, "README.md", "croissant.json", CHECKSUMS)
TABLES = ("runs", "curves", "evals", "splits")
TABLE_FILE = re.compile(
    r"(?:runs|curves|evals)/[A-Za-z0-9_][A-Za-z0-9._-]*\.parquet|splits\.parquet"
)
"""What a file of a snapshot's tables may be called, so that none lies outside the folder."""


LAST_TIME = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class FrozenSnapshot:
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


def label_of(manifest: Mapping[str, Any]) -> str:
    """Return the folder's name: the label its maker gave, and the start of the id."""
    start = str(manifest["id"])[:12]
    return f"{manifest['name']}-{start}" if manifest.get("name") else start


def table_files(manifest: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the entries of all tables' files by name.

    Raises IntegrityError for a name that no file of a snapshot has.
    """
    entries = {f["path"]: f for files in manifest["tables"].values() for f in files}
    for name in entries:
        if not TABLE_FILE.fullmatch(name):
            raise IntegrityError(f'{MANIFEST} names "{name[:80]}", which is no file of a snapshot')
    return entries


def finish(draft: Path, target: Path) -> None:
    """Make a draft durable and give it its name."""
    for path in (*(p for p in draft.rglob("*") if p.is_file()), draft):
        with contextlib.suppress(PermissionError):  # some systems can not sync what they read
            disk().sync(path)
    disk().rename(draft, target)
    sync_folder(target.parent)


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


def read_manifest(path: Path) -> dict[str, Any]:
    """Return a snapshot's manifest.

    Raises IntegrityError if it is missing, damaged or of another format.
    """
    try:
        content = disk().read(path / MANIFEST)
    except FileNotFoundError as error:
        raise IntegrityError(f"{path} is no snapshot: it has no {MANIFEST}") from error
    except OSError as error:
        raise IntegrityError(f"{path / MANIFEST} can not be read: {error.strerror}") from error
    return parse_manifest(content, str(path / MANIFEST))


def parse_manifest(text: bytes, where: str) -> dict[str, Any]:
    """Return the manifest that a text holds.

    Raises IntegrityError if it is damaged or of another format.
    """
    try:
        content: dict[str, Any] = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise IntegrityError(
            f"{where} is damaged ({error}); restore the folder, or remove it and take the snapshot "
            "again: ncpl-data snapshot"
        ) from error
    problems = check_document(content, "snapshot")
    if problems:
        raise IntegrityError(f"{where}: {problems[0]}")
    return content


def list_folders(folder: Path) -> list[Path]:
    """Return the finished snapshot folders in a folder, damaged ones too, by name."""
    if not folder.is_dir():
        return []
    return sorted(e for e in folder.iterdir() if e.is_dir() and not e.name.startswith("."))


def list_snapshots(folder: Path) -> tuple[list[FrozenSnapshot], dict[str, IntegrityError]]:
    """Return the snapshots of a folder, oldest first, and what is wrong with others, by name."""
    found, damaged = [], {}
    for entry in list_folders(folder):
        if (entry / MANIFEST).is_file():
            try:
                found.append(FrozenSnapshot(entry, read_manifest(entry), is_new=False))
            except IntegrityError as error:
                damaged[entry.name] = error
    return sorted(found, key=lambda s: (time_taken(s.manifest), s.label)), damaged


def time_taken(manifest: Mapping[str, Any]) -> datetime:
    """Return when a snapshot was taken, UTC; the beginning of time if that can not be read."""
    try:
        stated = datetime.fromisoformat(manifest["created_at"])
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return stated if stated.tzinfo else stated.replace(tzinfo=UTC)


def next_time(folder: Path) -> str:
    """Return the time, UTC, to the microsecond, and later than that of any snapshot of a folder.

    So the one taken last is the latest, even within one tick of the clock or with a clock set back.
    """
    known = [time_taken(s.manifest) for s in list_snapshots(folder)[0]]
    tick = timedelta(microseconds=1)
    later = [t + tick for t in known if t < LAST_TIME - tick]  # a date of year 9999 has none
    time = max([datetime.now(UTC), *later])
    return time.isoformat(timespec="microseconds").replace("+00:00", "Z")


def find_snapshot(folder: Path, wanted: str) -> Path:
    """Return the folder of a snapshot: a path, label, name, the start of an id, or "latest"."""
    if (Path(wanted) / MANIFEST).is_file():
        return Path(wanted)
    known, damaged = list_snapshots(folder)
    for name, error in damaged.items():
        # When it was taken is not known, so it may be the one that is meant.
        if wanted in ("latest", name) or name.rpartition("-")[2].startswith(wanted):
            raise error
    if wanted == "latest" and known:
        return known[-1].path
    named = [s for s in known if wanted in (s.label, s.manifest.get("name"))]
    matches = named or [s for s in known if s.id.startswith(wanted)]
    if len({s.id for s in matches}) != 1:  # one content may lie there under several names
        raise InputError(
            f'{len(matches)} snapshots of {folder} match "{wanted}"; there are: '
            + (", ".join(s.label for s in known) or "none; take one: ncpl-data snapshot")
        )
    return matches[-1].path
