"""Receipts of commits: empty files whose names say number and digest of each recent manifest.

A manifest that is lost, or replaced by that of another copy of the catalog, leaves its receipt
behind. What this machine committed last is also written down outside of the catalog, so that a
backup that was put in its place is noticed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from ncpl_data.catalog.errors import NcplDataError
from ncpl_data.catalog.folder import Storage

NAME = re.compile(r"heads/(\d{10})-([0-9a-f]{16})")
DIGITS = 16


@dataclass(frozen=True)
class Head:
    """One commit that was made."""

    version: int
    digest: str
    """The first digits of its manifest's SHA-256."""
    catalog: str | None = None
    """Of the last commit of this machine: which catalog it was."""

    @property
    def name(self) -> str:
        """The receipt's file."""
        return f"heads/{self.version:010d}-{self.digest}"

    def is_of(self, sha256: str | None) -> bool:
        """Return whether a manifest of this digest is the one that was committed."""
        return (sha256 or "").startswith(self.digest)


def heads(folder: Storage) -> list[Head]:
    """Return the receipts in a catalog, oldest first."""
    found = map(NAME.fullmatch, folder.names("heads"))
    return [Head(int(match[1]), match[2]) for match in found if match]


def write_head(folder: Storage, version: int, sha256: str, catalog: str | None) -> None:
    """Leave the receipt of a commit; where that fails the commit stands all the same."""
    head = Head(version, sha256[:DIGITS])
    with contextlib.suppress(NcplDataError, OSError):
        folder.mark(head.name)
    path = memory(folder)
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"version": version, "digest": head.digest, "catalog": catalog})
        temporary = path.with_name(f"{path.name}.{os.getpid()}")
        temporary.write_text(text, "utf-8")
        temporary.replace(path)


def remembered(folder: Storage) -> Head | None:
    """Return what this machine committed last to a catalog of this place, if it knows."""
    try:
        data = json.loads(memory(folder).read_text("utf-8"))
        return Head(int(data["version"]), str(data["digest"]), data["catalog"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def memory(folder: Storage) -> Path:
    """Return the file in the user's cache that holds the last commit to a place."""
    given = os.environ.get("NCPL_CACHE")
    base = Path(given) if given else platformdirs.user_cache_path("ncpl-data")
    place = folder.place if ":/" in folder.place else str(Path(folder.place).resolve())
    return base / "heads" / f"{hashlib.sha256(place.encode()).hexdigest()[:24]}.json"
