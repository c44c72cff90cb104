"""The calls by which a catalog touches a disk: the one place where a disk can fail.

Tests put another disk in, which fails at a chosen call (tests/catalog/faulty.py).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextvars import ContextVar
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO


class Disk:
    """A disk as the system gives it."""

    def create(self, path: Path) -> BinaryIO:
        """Open a new file, or an old one that is emptied, for writing."""
        return path.open("wb")

    def read(self, path: Path) -> bytes:
        """Return a file's bytes."""
        return path.read_bytes()

    def open(self, path: Path) -> BufferedReader:
        """Open a file for reading."""
        return path.open("rb")

    def touch(self, path: Path) -> None:
        """Make an empty file."""
        path.touch()

    def names(self, folder: Path) -> list[str]:
        """Return what a folder holds."""
        return [entry.name for entry in folder.iterdir()]

    def sync(self, path: Path) -> None:
        """Wait until a file's bytes, or a folder's names, are on disk."""
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def link(self, path: Path, target: Path) -> None:
        """Give a file a second name, which must be free."""
        os.link(path, target)

    def replace(self, path: Path, target: Path) -> None:
        """Give a file another name, whether or not it is taken."""
        path.replace(target)

    def rename(self, path: Path, target: Path) -> None:
        """Give a file or folder another name."""
        path.rename(target)

    def unlink(self, path: Path) -> None:
        """Remove a name."""
        path.unlink()


CURRENT: ContextVar[Disk] = ContextVar("disk", default=Disk())  # noqa: B039 - it has no state


def disk() -> Disk:
    """Return the disk in use."""
    return CURRENT.get()


@contextlib.contextmanager
def using(other: Disk) -> Iterator[None]:
    """Use another disk."""
    token = CURRENT.set(other)
    try:
        yield
    finally:
        CURRENT.reset(token)
