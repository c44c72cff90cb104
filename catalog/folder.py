"""The folder a catalog lives in: put a file only if it is absent, read it, list it.

Everything a catalog needs of its storage is in these few operations, so that a bucket with
conditional writes can stand in for a local folder.
"""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from pathlib import Path

from ncpl_data.catalog.errors import ConflictError, InputError, IntegrityError

TEMPORARY_PREFIX = ".tmp-"
NO_LINK_ERRNOS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV, errno.EMLINK}


class LocalFolder:
    """A folder on a local file system."""

    def __init__(self, root: Path) -> None:
        """Take the folder's path; it need not exist before the first write."""
        self.root = root

    def path(self, name: str) -> Path:
        """Return where a file lies.

        Raises IntegrityError if the name would lead out of the folder.
        """
        parts = Path(name).parts
        if Path(name).is_absolute() or ".." in parts or not parts:
            raise IntegrityError(f'"{name}" is not a path inside {self.root}')
        return self.root / name

    def names(self, prefix: str) -> list[str]:
        """Return the names of the finished files of one sub-folder, sorted."""
        folder = self.path(prefix)
        if not folder.is_dir():
            return []
        return sorted(
            f"{prefix}/{entry.name}"
            for entry in folder.iterdir()
            if not entry.name.startswith(TEMPORARY_PREFIX)
        )

    def read(self, name: str) -> bytes:
        """Return a file's bytes."""
        try:
            return self.path(name).read_bytes()
        except FileNotFoundError as error:
            raise IntegrityError(f"{self.path(name)} is missing") from error

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
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            try:
                os.link(temporary, target)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in NO_LINK_ERRNOS:
                    raise
                return self.put_under_lock(target, temporary)
            sync_folder(target.parent)
            return True
        except OSError as error:
            raise write_error(target, error) from error
        finally:
            temporary.unlink(missing_ok=True)

    def put_under_lock(self, target: Path, temporary: Path) -> bool:
        """Take a name on a mount without hard links: whoever creates the lock file may rename."""
        lock = target.with_name(f"{TEMPORARY_PREFIX}{target.name}.lock")
        try:
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError as error:
            if target.exists():
                return False
            raise ConflictError(
                f"{lock} is held by another writer; if none is running, remove it and try again"
            ) from error
        try:
            if target.exists():
                return False
            temporary.rename(target)
            sync_folder(target.parent)
            return True
        finally:
            lock.unlink(missing_ok=True)

    def put_bytes_if_absent(self, name: str, content: bytes) -> bool:
        """Write bytes under a name; return False if the name is taken."""
        temporary = self.temporary(name)
        try:
            temporary.write_bytes(content)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise write_error(temporary, error) from error
        return self.put_if_absent(name, temporary)


def sync_folder(folder: Path) -> None:
    """Make a new name durable; some systems can not open a folder, and need no such call."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_error(path: Path, error: OSError) -> InputError:
    """Return a failed write as one sentence."""
    reason = error.strerror or str(error)
    return InputError(
        f"could not write {path}: {reason}; the catalog is as it was. "
        "Free space or choose another folder with --catalog"
    )
