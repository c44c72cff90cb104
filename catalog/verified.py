"""Verified reads: a data file is held against its SHA-256 before anything is read from it.

A disk may give other bytes than were written, and Parquet decodes most of them without an error.
So each process hashes each file once, before its first read; a file of another size, time of
change or inode is hashed again.
"""

from __future__ import annotations

from pathlib import Path

from ncpl_data.catalog.errors import IntegrityError
from ncpl_data.catalog.parquet import file_sha256

Stamp = tuple[int, int, int]
"""Size, time of the last change in nanoseconds, inode."""

KNOWN: dict[str, tuple[Stamp, str]] = {}
"""What this process has hashed: path -> (stamp before it was hashed, SHA-256)."""

HELP = "restore it from a copy; what else is damaged, and what can be saved: ncpl-data repair"


def stamp_of(path: Path) -> Stamp:
    """Return what changes when somebody writes to a file."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ino


def known_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, hashed once in this process while its stamp stays.

    Raises OSError if it can not be read.
    """
    stamp, key = stamp_of(path), str(path)
    found = KNOWN.get(key)
    if found is None or found[0] != stamp:
        found = KNOWN[key] = (stamp, file_sha256(path))
    return found[1]


def verified(path: Path, sha256: str) -> Path:
    """Return the path of a data file that holds the bytes its manifest says.

    Raises IntegrityError if it is missing, can not be read, or is altered.
    """
    try:
        found = known_sha256(path)
    except FileNotFoundError as error:
        raise IntegrityError(f"{path} is missing, although a manifest lists it; {HELP}") from error
    except OSError as error:
        raise IntegrityError(
            f"{path} can not be read: {error.strerror or error}; {HELP}"
        ) from error
    if found != sha256:
        raise IntegrityError(
            f"{path} is altered: its sha256 is {found[:16]}..., the manifest says "
            f"{sha256[:16]}...; {HELP}"
        )
    return path
