"""The folder a catalog lives in: put a file only if it is absent, read it, list it.

Everything a catalog needs of its storage is in the few operations of `Storage`, so that a bucket
with conditional writes (catalog/bucket.py) stands in for a local folder.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from ncpl_data.catalog.disk import disk
from ncpl_data.catalog.errors import ConflictError, InputError, IntegrityError

TEMPORARY_PREFIX = ".tmp-"
LOCK_SUFFIX = ".lock"
NO_LINK_ERRNOS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV, errno.EMLINK}
LOCK_WAIT_SECONDS = 10.0
LOCK_STALE_SECONDS = 60.0
"""A lock is held for one rename; an older one was left by a killed writer."""


class Storage(Protocol):
    """Where a catalog's files lie. Names are relative, with forward slashes."""

    @property
    def place(self) -> str:
        """Folder or address, for messages."""

    @property
    def local_root(self) -> Path:
        """The folder that holds every file `path` returns."""

    def path(self, name: str) -> Path:
        """Return where a file can be read."""

    def names(self, prefix: str) -> list[str]:
        """Return the names of the finished files of one sub-folder, sorted."""

    def ages(self, prefix: str) -> Iterator[tuple[str, float]]:
        """Yield name and age in seconds of every file below a sub-folder, temporary ones too."""

    def read(self, name: str) -> bytes:
        """Return a file's bytes."""

    def temporary(self, name: str) -> Path:
        """Return a fresh local path, to be written and then put under the name."""

    def put_if_absent(self, name: str, temporary: Path) -> bool:
        """Move a finished temporary file to a name; return False if the name is taken."""

    def put_content(self, name: str, temporary: Path) -> None:
        """Move a finished temporary file to a name that says its content."""

    def put_bytes_if_absent(self, name: str, content: bytes) -> bool:
        """Write bytes under a name; return False if the name is taken."""

    def remove_if_older(self, name: str, seconds: float) -> bool:
        """Remove a file unless a writer touched it meanwhile; return whether it is gone."""

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""

    def mark(self, name: str) -> None:
        """Write an empty file whose name says everything."""

    def forget(self, name: str) -> bool:
        """Let go of a local copy, so that `path` gets it anew; return whether there is one."""


class LocalFolder:
    """A folder on a local file system."""

    def __init__(self, root: Path, *, has_links: bool = True) -> None:
        """Take the folder's path; it need not exist before the first write.

        `has_links` false goes straight to the lock file, as on a mount without hard links.
        """
        self.root = root
        self.has_links = has_links

    @property
    def place(self) -> str:
        """The folder, for messages."""
        return str(self.root)

    @property
    def local_root(self) -> Path:
        """The folder that holds every file `path` returns."""
        return self.root

    def path(self, name: str) -> Path:
        """Return where a file lies.

        Raises IntegrityError if the name would lead out of the folder.
        """
        # A catalog may have many files, and `Path` takes ten times as long to see the same.
        if (
            not name
            or name[0] == "/"
            or ".." in name.split("/")
            or (os.name == "nt" and Path(name).is_absolute())
        ):
            raise IntegrityError(f'"{name}" is not a path inside {self.root}')
        return self.root / name

    def names(self, prefix: str) -> list[str]:
        """Return the names of the finished files of one sub-folder, sorted."""
        folder = self.path(prefix)
        try:
            return sorted(
                f"{prefix}/{name}"
                for name in disk().names(folder)
                if not name.startswith(TEMPORARY_PREFIX)
            )
        except FileNotFoundError:
            return []
        except OSError as error:
            raise IntegrityError(f"{folder} can not be listed: {error.strerror}") from error

    def ages(self, prefix: str) -> Iterator[tuple[str, float]]:
        """Yield name and age in seconds of every file below a sub-folder, temporary ones too."""
        for entry in sorted(self.path(prefix).rglob("*")):
            with contextlib.suppress(FileNotFoundError):  # another process removed it meanwhile
                if entry.is_file():
                    age = time.time() - entry.stat().st_mtime
                    yield entry.relative_to(self.root).as_posix(), age

    def remove_if_older(self, name: str, seconds: float) -> bool:
        """Remove a file unless a writer touched it meanwhile; return whether it is gone.

        It is moved aside first and put back if it turns out young: a writer that finds the name
        taken makes the file young again before it commits to it.
        """
        target = self.path(name)
        aside = target.with_name(f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}")
        try:
            disk().rename(target, aside)
            if time.time() - aside.stat().st_mtime < seconds:
                with contextlib.suppress(FileExistsError):
                    disk().link(aside, target)
                disk().unlink(aside)
                return False
            disk().unlink(aside)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise write_error(target, error) from error
        return True

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        try:
            with contextlib.suppress(FileNotFoundError):
                disk().unlink(self.path(name))
        except OSError as error:
            raise write_error(self.path(name), error) from error

    def mark(self, name: str) -> None:
        """Write an empty file whose name says everything."""
        target = self.path(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        disk().touch(target)

    def forget(self, name: str) -> bool:
        """Return False: a folder holds no copies."""
        del name
        return False

    def read(self, name: str) -> bytes:
        """Return a file's bytes."""
        try:
            return disk().read(self.path(name))
        except FileNotFoundError as error:
            raise IntegrityError(f"{self.path(name)} is missing") from error
        except OSError as error:
            raise IntegrityError(f"{self.path(name)} can not be read: {error.strerror}") from error

    def temporary(self, name: str) -> Path:
        """Return a fresh path beside a name, to be written and then put."""
        target = self.path(name)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise write_error(target.parent, error) from error
        return target.parent / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}"

    def put_if_absent(self, name: str, temporary: Path) -> bool:
        """Move a finished temporary file to its name; return False if the name is taken.

        The file is on disk before its name appears, and a name once taken never changes. A plain
        rename would silently replace another writer's file, so a hard link takes the name.
        """
        target = self.path(name)
        try:
            disk().sync(temporary)
            if not self.has_links:
                return put_under_lock(target, temporary)
            try:
                disk().link(temporary, target)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in NO_LINK_ERRNOS:
                    raise
                return put_under_lock(target, temporary)
            sync_folder(target.parent)
            return True
        except OSError as error:
            raise write_error(target, error) from error
        finally:
            discard(temporary)

    def put_content(self, name: str, temporary: Path) -> None:
        """Move a finished temporary file to a name that says its content.

        A file of that name holds the same bytes, so a rename over it loses nothing; it also makes
        the file young again, so that `gc` spares what a writer is about to commit.
        """
        target = self.path(name)
        try:
            disk().sync(temporary)
            disk().replace(temporary, target)
            sync_folder(target.parent)
        except OSError as error:
            discard(temporary)
            raise write_error(target, error) from error

    def put_bytes_if_absent(self, name: str, content: bytes) -> bool:
        """Write bytes under a name; return False if the name is taken."""
        temporary = self.temporary(name)
        try:
            with disk().create(temporary) as file:
                file.write(content)
        except OSError as error:
            discard(temporary)
            raise write_error(temporary, error) from error
        return self.put_if_absent(name, temporary)


def discard(temporary: Path) -> None:
    """Remove a temporary file if that is possible; `gc` takes what stays."""
    with contextlib.suppress(OSError):
        disk().unlink(temporary)


def put_under_lock(target: Path, temporary: Path) -> bool:
    """Take a name on a mount without hard links: whoever creates the lock file may rename.

    Raises ConflictError if others hold the lock all the time.
    """
    lock = target.with_name(f"{TEMPORARY_PREFIX}{target.name}{LOCK_SUFFIX}")
    until = time.monotonic() + LOCK_WAIT_SECONDS
    while not take_lock(lock):
        if target.exists():
            return False
        if time.monotonic() > until:
            raise ConflictError(f"{lock} is held by another writer; try again")
        time.sleep(0.01)
    try:
        if target.exists():
            return False
        disk().rename(temporary, target)
        sync_folder(target.parent)
        return True
    finally:
        lock.unlink(missing_ok=True)


def take_lock(lock: Path) -> bool:
    """Create a lock file; return False if it is held. One a killed writer left is cleared."""
    try:
        os.close(os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        with contextlib.suppress(FileNotFoundError):
            if time.time() - lock.stat().st_mtime > LOCK_STALE_SECONDS:
                lock.rename(lock.with_name(f"{lock.name}-{uuid.uuid4().hex}"))
        return False
    return True


def sync_folder(folder: Path) -> None:
    """Make a new name durable; some systems can not open a folder, and need no such call."""
    with contextlib.suppress(OSError):
        disk().sync(folder)


def write_error(path: Path, error: OSError) -> InputError:
    """Return a failed write as one sentence."""
    reason = error.strerror or " ".join(str(error).split())
    return InputError(
        f"could not write {path}: {reason}; the catalog is as it was. "
        "Free space or choose another folder with --catalog"
    )
