"""The files of a dataset repository on the Hugging Face hub."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from ncpl_data.catalog.errors import SourceUnreachableError
from ncpl_data.ingest.live.transport import Transport

BASE_URL = "https://huggingface.co"
SUFFIXES = (".json", ".jsonl", ".parquet")
MAX_FILE_BYTES = 64 << 20


@dataclass(frozen=True)
class HubFile:
    """One file of a repository."""

    path: str
    n_bytes: int
    sha256: str | None
    """Of large files only; the hub gives small ones another hash."""
    git_sha1: str | None = None
    """Git's hash of what lies in the repository: of a small file its content."""


def revision_of(transport: Transport, repository: str, revision: str) -> str:
    """Return the commit a branch or tag stands for."""
    answer, _ = transport.get_json(f"/api/datasets/{repository}/revision/{quote(revision, '')}")
    if not isinstance(answer, dict) or not isinstance(answer.get("sha"), str):
        raise SourceUnreachableError(f"the hub did not name a commit of {repository}")
    return str(answer["sha"])


def data_files(transport: Transport, repository: str, commit: str) -> Iterator[HubFile]:
    """Yield the data files of a repository at a commit."""
    return (f for f in all_files(transport, repository, commit) if f.path.endswith(SUFFIXES))


def all_files(transport: Transport, repository: str, commit: str) -> Iterator[HubFile]:
    """Yield the files of a repository at a commit, page by page."""
    address: str | None = f"/api/datasets/{repository}/tree/{commit}?recursive=true"
    asked: set[str] = set()
    while address is not None and address not in asked:
        asked.add(address)
        entries, address = transport.get_json(address)
        if not isinstance(entries, list):
            raise SourceUnreachableError(f"the hub did not list the files of {repository}")
        for entry in entries:
            if isinstance(entry, dict) and entry.get("type") == "file":
                yield hub_file(entry)


def hub_file(entry: dict[str, Any]) -> HubFile:
    """Return one file of a listing.

    Raises SourceUnreachableError for one that is no file inside the repository.
    """
    path, n_bytes, large = entry.get("path"), entry.get("size"), entry.get("lfs") or {}
    if not isinstance(path, str) or not isinstance(n_bytes, int) or not isinstance(large, dict):
        raise SourceUnreachableError(f"the hub lists a file without path or size: {entry!r:.200}")
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        raise SourceUnreachableError(f'the hub lists a file outside its repository: "{path}"')
    return HubFile(path, n_bytes, large.get("oid"), entry.get("oid"))


def download(
    transport: Transport, repository: str, commit: str, file: HubFile, folder: Path
) -> Path:
    """Write one file below a folder and return its path.

    Raises SourceUnreachableError if what arrives is not the file that was listed.
    """
    if file.n_bytes > MAX_FILE_BYTES:
        raise SourceUnreachableError(
            f"{file.path} has {file.n_bytes:,} bytes, more than the {MAX_FILE_BYTES:,} a log needs"
        )
    address = f"/datasets/{repository}/resolve/{commit}/{quote(file.path)}"
    content = transport.get_bytes(address)
    found = hashlib.sha256(content).hexdigest()
    if len(content) != file.n_bytes or (file.sha256 and found != file.sha256):
        raise SourceUnreachableError(
            f"{file.path}: {len(content):,} bytes with sha256 {found[:16]}... arrived, the hub "
            f"lists {file.n_bytes:,} bytes; try again"
        )
    path = folder / file.path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    part.replace(path)
    return path
