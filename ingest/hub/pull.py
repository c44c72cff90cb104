"""Pull a snapshot from a dataset repository: every file by its hash, the folder whole or not."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ncpl_data.catalog.errors import InputError, IntegrityError, SourceUnreachableError
from ncpl_data.catalog.folder import TEMPORARY_PREFIX, write_error
from ncpl_data.catalog.snapshots.read import (
    CHECKSUMS,
    MANIFEST,
    PAGES,
    TABLE_FILE,
    FrozenSnapshot,
    finish,
    label_of,
    parse_manifest,
    read_manifest,
    table_files,
)
from ncpl_data.catalog.snapshots.verify import snapshot_problems, verify_snapshot
from ncpl_data.ingest.base import RawFile
from ncpl_data.ingest.fetch import Progress, cache_folder, fetch
from ncpl_data.ingest.hub.repository import Repository, check_names, git_sha1, resolved
from ncpl_data.ingest.live.hub_dataset import HubFile

MAX_PAGE_BYTES = 32 << 20
"""Manifest, card, Croissant file and checksums; those of a billion rows are below a megabyte."""
MAX_SNAPSHOT_BYTES = 200 << 30
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Listing:
    """The files of a snapshot at one commit of a repository, each pinned."""

    repository: str
    commit: str
    sha256: Mapping[str, str]
    n_bytes: Mapping[str, int]


def pull(
    repository: str,
    folder: Path,
    *,
    revision: str = "main",
    expected_id: str | None = None,
    offline: bool = False,
    max_bytes: int = MAX_SNAPSHOT_BYTES,
    starting: Callable[[int], Progress | None] = lambda _: None,
) -> FrozenSnapshot:
    """Put the snapshot of a dataset repository into a folder and return it.

    Downloads are resumed, kept in the cache, and checked by hash; the snapshot appears only when
    files, rows and id are right. With `offline` only what was pulled before is read. `expected_id`
    is the id, or its start, that the caller got elsewhere. `starting` gets the number of bytes
    and returns what is told of their progress. Raises SourceUnreachableError if the repository
    can not be read, InputError for one that holds no snapshot or one beyond `max_bytes`,
    RawFileError or IntegrityError for files that are not what they should be.
    """
    check_names(repository, revision)
    cache = cache_folder()
    key = None
    if offline:
        listing = recalled(repository, revision, cache)
    else:
        with Repository(repository) as hub:
            listing, key = listed(hub, revision), hub.key

    def get(name: str, progress: Progress | None) -> Path:
        base = PurePosixPath(name).name
        address = resolved(repository, listing.commit, name)
        file = RawFile(base, listing.sha256[name], listing.n_bytes[name], address)
        return fetch(
            file,
            cache,
            source=repository,
            offline=offline,
            progress=progress,
            key=key,
            advice=f"pull again later, what arrived is kept: ncpl-data pull {repository}",
        )

    manifest = parse_manifest(get(MANIFEST, None).read_bytes(), f"{repository} {MANIFEST}")
    check_manifest(manifest, listing, expected_id, max_bytes)
    target = folder / label_of(manifest)
    if (target / MANIFEST).is_file():
        verify_snapshot(target)
        check_same(target, manifest)
        remember(listing, revision, cache)
        return FrozenSnapshot(target, read_manifest(target), is_new=False)
    if target.exists():
        raise InputError(f"{target} is in the way and is no snapshot; remove it or choose --out")
    draft = folder / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}"
    progress = starting(sum(listing.n_bytes.values()))
    try:
        draft.mkdir(parents=True)
        for name in listing.sha256:
            place = draft / name
            place.parent.mkdir(exist_ok=True)
            put(get(name, progress), place)
        for where, detail in snapshot_problems(draft):
            raise IntegrityError(f"{repository} {where} {detail}; nothing was written")
        finish(draft, target)
    except OSError as error:
        if not (target / MANIFEST).is_file():  # unless another process pulled it meanwhile
            raise write_error(target, error) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    remember(listing, revision, cache)
    return FrozenSnapshot(target, manifest)


def listed(hub: Repository, revision: str) -> Listing:
    """Return the files of the snapshot that a repository holds now.

    The checksums pin all files; the hub's own hash pins the checksums.
    """
    commit = hub.head(revision)
    if commit is None:
        raise SourceUnreachableError(
            f'the hub shows no dataset {hub.name} with a revision "{revision}"; check both, and if '
            "it is private, log in (hf auth login) or set HF_TOKEN"
        )
    remote = hub.files(commit)
    missing = [name for name in PAGES if name not in remote]
    if missing:
        raise InputError(f"{hub.name} at {commit[:12]} is no snapshot: it has no {missing[0]}")
    for name in PAGES:
        if remote[name].n_bytes > MAX_PAGE_BYTES:
            raise InputError(
                f"{hub.name} {name} has {remote[name].n_bytes:,} bytes, more than the "
                f"{MAX_PAGE_BYTES:,} that one of a snapshot has"
            )
    content = hub.read(commit, CHECKSUMS, MAX_PAGE_BYTES)
    check_arrived(hub.name, remote[CHECKSUMS], content)
    sums = parse_checksums(content, hub.name)
    absent = [name for name in sums if name not in remote]
    if absent:
        raise IntegrityError(f"{hub.name}: {CHECKSUMS} names {absent[0]}, which is not there")
    sums[CHECKSUMS] = hashlib.sha256(content).hexdigest()
    return Listing(hub.name, commit, sums, {name: remote[name].n_bytes for name in sums})


def check_arrived(repository: str, file: HubFile, content: bytes) -> None:
    """Raise IntegrityError if the checksums are not the file that the hub lists."""
    if file.sha256 is not None:
        is_same = hashlib.sha256(content).hexdigest() == file.sha256
    else:
        is_same = file.git_sha1 is not None and git_sha1(content) == file.git_sha1
    if not is_same:
        raise IntegrityError(
            f"{repository} {CHECKSUMS} was altered on the way: it has not the hash that the hub "
            "lists; pull again"
        )


def parse_checksums(content: bytes, repository: str) -> dict[str, str]:
    """Return the SHA-256 of each file, by name.

    Raises IntegrityError for what is no line of checksums, or names no file of a snapshot.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), 1):
        digest, _, name = line.partition("  ")
        if not SHA256.fullmatch(digest) or not (TABLE_FILE.fullmatch(name) or name in PAGES):
            raise IntegrityError(
                f'{repository} {CHECKSUMS} line {number} names "{name[:80]}", which is no file of '
                "a snapshot; nothing was written"
            )
        found[name] = digest
    if MANIFEST not in found:
        raise IntegrityError(f"{repository} {CHECKSUMS} does not name {MANIFEST}")
    return found


def check_manifest(
    manifest: Mapping[str, Any], listing: Listing, expected_id: str | None, max_bytes: int
) -> None:
    """Raise IntegrityError or InputError if a manifest and the listing do not agree."""
    where = f"{listing.repository} {MANIFEST}"
    if expected_id is not None and not str(manifest["id"]).startswith(expected_id):
        raise IntegrityError(
            f"{listing.repository} holds snapshot {manifest['id'][:12]}, expected "
            f"{expected_id[:64]}; name the commit that holds it with --revision"
        )
    try:
        entries = table_files(manifest)
    except IntegrityError as error:
        raise IntegrityError(f"{listing.repository} {error}; nothing was written") from error
    tables = {name for name in listing.sha256 if name not in PAGES}
    if tables != set(entries):
        odd = min(tables ^ set(entries))
        raise IntegrityError(f"{where} and {CHECKSUMS} do not name the same files: {odd}")
    for name, entry in entries.items():
        if entry["sha256"] != listing.sha256[name] or entry["bytes"] != listing.n_bytes[name]:
            raise IntegrityError(
                f"{where} says {name} has {entry['bytes']:,} bytes and sha256 "
                f"{entry['sha256'][:16]}..., the repository has {listing.n_bytes[name]:,} bytes "
                f"and {listing.sha256[name][:16]}..."
            )
    total = sum(listing.n_bytes.values())
    if total > max_bytes:
        raise InputError(
            f"{listing.repository} has {total:,} bytes, more than the limit of {max_bytes:,}; "
            "raise it with --max-gb"
        )


def check_same(target: Path, manifest: Mapping[str, Any]) -> None:
    """Raise InputError if a folder of the same name holds another snapshot."""
    own = read_manifest(target)["id"]
    if own != manifest["id"]:
        raise InputError(f"{target} holds another snapshot, {own[:12]}; choose another --out")


def put(path: Path, place: Path) -> None:
    """Put a file of the cache into a snapshot: linked where that is possible, else copied."""
    try:
        os.link(path, place)
    except OSError:
        shutil.copyfile(path, place)


def notes_path(repository: str, revision: str, cache: Path) -> Path:
    """Return where the listing of a pulled repository is kept."""
    name = hashlib.sha256(f"{repository}\0{revision}".encode()).hexdigest()[:24]
    return cache / "hub" / f"{name}.json"


def remember(listing: Listing, revision: str, cache: Path) -> None:
    """Keep a listing for pulls without a network, under the revision and under the commit."""
    text = json.dumps(vars(listing), sort_keys=True)
    for one in {revision, listing.commit}:
        path = notes_path(listing.repository, one, cache)
        part = path.with_name(f".{uuid.uuid4().hex}.part")
        with contextlib.suppress(OSError):  # the snapshot is there; only --offline would miss it
            path.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(text, encoding="utf-8")
            part.replace(path)


def recalled(repository: str, revision: str, cache: Path) -> Listing:
    """Return the listing of the last pull.

    Raises SourceUnreachableError if there was none.
    """
    try:
        kept = json.loads(notes_path(repository, revision, cache).read_text("utf-8"))
        return Listing(**kept)
    except (OSError, ValueError, TypeError) as error:
        raise SourceUnreachableError(
            f"{repository} at {revision} was not pulled before, and --offline forbids a download. "
            "Pull it once with a network"
        ) from error
