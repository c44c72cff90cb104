"""Logs as text, whatever program wrote the file: encodings, colours, progress bars."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ncpl_data.catalog.errors import InputError

COLOURS = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07]*\x07")
"""Escape sequences of a terminal."""

MARKS = ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"\xef\xbb\xbf", "utf-8-sig"))


def text_of(path: Path) -> str:
    """Return a file as text: UTF-8, or UTF-16 as PowerShell writes it.

    Raises InputError if it can not be read, or if it is no text.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} can not be read: {error.strerror}") from error
    encoding = next((name for mark, name in MARKS if content.startswith(mark)), None)
    if encoding is None:
        head = content[:4000]
        if head[1::2].count(0) > len(head) // 4:
            encoding = "utf-16-le"
        elif head[::2].count(0) > len(head) // 4:
            encoding = "utf-16-be"
        elif b"\0" in head:
            raise InputError(f"{path} is no text; expected the lines a program printed")
    try:
        return content.decode(encoding or "utf-8", errors="replace")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} can not be read as {encoding} text: {error.reason}") from error


def lines_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (number, line) of a log, without colours; what a bar wrote over itself, one by one."""
    for number, line in enumerate(text_of(path).split("\n"), start=1):
        for part in line.split("\r"):
            if part.strip():
                yield number, COLOURS.sub("", part)
