"""A disk that fails once, at a chosen call; after SQLite's tests of its file system.

error        the call does nothing and fails (EIO, ENOSPC)
short write  a part of the bytes is written, then the disk is full
power loss   the process is gone, and with it what was not synced: bytes of files, names
lost answer  a bucket does what is asked, and the answer does not arrive
short read   a bucket's answer breaks off
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO

from ncpl_data.catalog.disk import Disk

MODES = ("EIO", "ENOSPC", "short write", "power loss")


class PowerLoss(BaseException):
    """The process ends here."""


class FaultyDisk(Disk):
    """Counts its calls and fails at one of them."""

    def __init__(self, fails_at: int = -1, mode: str = "EIO") -> None:
        """Fail at call number `fails_at`, from 0; at none by default."""
        self.fails_at = fails_at
        self.mode = mode
        self.calls: list[str] = []
        self.is_gone = False
        self.unsynced: dict[Path, bytes | None] = {}
        """Files whose bytes may be lost, with what is on disk of them."""
        self.opened: list[BinaryIO] = []
        self.undo: list[tuple[Path, Callable[[], object]]] = []
        """What takes back the changes of names in each folder that was not synced since."""

    def call(self, kind: str) -> str | None:
        """Count a call; fail, or return what is to be done half."""
        if self.is_gone:
            raise PowerLoss
        self.calls.append(kind)
        if len(self.calls) - 1 != self.fails_at:
            return None
        if self.mode == "power loss":
            self.is_gone = True
            raise PowerLoss
        if self.mode == "short write" and kind == "write":
            return "half"
        number = errno.EIO if self.mode == "EIO" else errno.ENOSPC
        raise OSError(number, os.strerror(number))

    def lose_power(self) -> None:
        """Put on disk what is left: synced bytes, synced names."""
        for file in self.opened:
            file.close()
        for path, content in self.unsynced.items():
            if path.exists():
                path.write_bytes(content or b"")
        for _, take_back in reversed(self.undo):
            take_back()

    def create(self, path: Path) -> BinaryIO:
        self.call("open")
        known = path.read_bytes() if path.exists() else None
        file = super().create(path)
        self.opened.append(file)
        self.unsynced[path] = known
        if known is None:
            self.undo.append((path.parent, lambda: path.unlink(missing_ok=True)))
        return FaultyFile(file, self)  # type: ignore[return-value]

    def read(self, path: Path) -> bytes:
        self.call("read")
        return super().read(path)

    def open(self, path: Path) -> BufferedReader:
        self.call("read")
        return super().open(path)

    def touch(self, path: Path) -> None:
        self.call("open")
        super().touch(path)
        self.undo.append((path.parent, lambda: path.unlink(missing_ok=True)))

    def names(self, folder: Path) -> list[str]:
        self.call("list")
        return super().names(folder)

    def sync(self, path: Path) -> None:
        self.call("fsync")
        super().sync(path)
        self.unsynced.pop(path, None)
        if path.is_dir():
            self.undo = [(folder, back) for folder, back in self.undo if folder != path]

    def link(self, path: Path, target: Path) -> None:
        self.call("link")
        super().link(path, target)
        self.moved(path, target, None)
        self.undo.append((target.parent, lambda: target.unlink(missing_ok=True)))

    def replace(self, path: Path, target: Path) -> None:
        self.call("rename")
        known = target.read_bytes() if target.is_file() else None
        super().replace(path, target)
        self.moved(path, target, known)

        def back() -> None:
            if target.exists() and not path.exists():
                target.rename(path)
            if known is not None:
                target.write_bytes(known)

        self.undo.append((target.parent, back))

    def rename(self, path: Path, target: Path) -> None:
        self.call("rename")
        super().rename(path, target)
        self.moved(path, target, None)

        def back() -> None:
            if target.exists() and not path.exists():
                target.rename(path)

        self.undo.append((target.parent, back))

    def unlink(self, path: Path) -> None:
        self.call("unlink")
        content = path.read_bytes()
        super().unlink(path)
        self.undo.append((path.parent, lambda: path.exists() or path.write_bytes(content)))

    def moved(self, path: Path, target: Path, known: bytes | None) -> None:
        """Keep in mind that unsynced bytes have another name now."""
        if path in self.unsynced:
            self.unsynced[target] = self.unsynced[path] if known is None else known


class FaultyFile:
    """A file whose writes count as calls."""

    def __init__(self, file: BinaryIO, disk: FaultyDisk) -> None:
        self.file = file
        self.disk = disk

    def write(self, content: bytes) -> int:
        if self.disk.call("write") == "half":
            self.file.write(bytes(content)[: len(bytes(content)) // 2])
            self.file.flush()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.file.write(content)

    def __enter__(self) -> FaultyFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


STORE_MODES = ("error", "lost answer", "short read", "power loss", "power loss after")
STORE_CALLS = ("get", "put", "list", "head", "delete")


class FaultyStore:
    """The module obstore, counting its calls and failing at one of them."""

    def __init__(self, obstore: Any, fails_at: int = -1, mode: str = "error") -> None:
        """Fail at call number `fails_at`, from 0; at none by default."""
        self.obstore = obstore
        self.fails_at = fails_at
        self.mode = mode
        self.calls: list[str] = []
        self.is_gone = False

    def __getattr__(self, name: str) -> Any:
        real = getattr(self.obstore, name)
        if name not in STORE_CALLS:
            return real

        def call(*args: Any, **options: Any) -> Any:
            if self.is_gone:
                raise PowerLoss
            self.calls.append(name)
            if len(self.calls) - 1 != self.fails_at:
                return real(*args, **options)
            if self.mode in ("lost answer", "power loss after"):
                answer = real(*args, **options)
                _ = [*answer] if name == "list" else None
            if self.mode == "short read":
                return HalfAnswer(bytes(real(*args, **options).bytes()))
            if self.mode.startswith("power loss"):
                self.is_gone = True
                raise PowerLoss
            raise self.obstore.exceptions.GenericError("the connection was reset")

        return call


class HalfAnswer:
    """The first half of what was asked for."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def bytes(self) -> bytes:
        return self.content[: len(self.content) // 2]
