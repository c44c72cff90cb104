"""TensorBoard event files, read without TensorBoard: scalars only."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ncpl_data.catalog.errors import InputError

MAX_RECORD = 64 << 20
SESSION_START = 1
"""Status of a session that starts; its step is the one the run was resumed at (`purge_step`)."""

FLOAT, DOUBLE = 1, 2
"""Types of a tensor in TensorFlow's DataType."""

SINGLES = {(FLOAT, 4, 4), (FLOAT, 5, 4)}
DOUBLES = {(DOUBLE, 4, 8), (DOUBLE, 6, 8)}
"""(type, field, bytes) of a tensor that holds one number: its content, or its list of values."""


@dataclass(frozen=True)
class Event:
    """One scalar, when it was logged, and where the program said it was resumed before."""

    time: float
    step: int
    tag: str
    value: float
    restarts_at: int | None = None


def scalars(path: Path) -> Iterator[tuple[int, str, float]]:
    """Yield (step, tag, value) of every scalar in one event file."""
    for event in events(path):
        yield event.step, event.tag, event.value


def events(path: Path) -> Iterator[Event]:
    """Yield every scalar of one event file, in its order.

    A file cut off by a crash ends there. Values are single precision; the shortest decimal that
    means the same is taken, so that 3.14159 comes back as it was logged.
    """
    restarts_at = None
    for record in records(path):
        try:
            time, step, summaries = 0.0, 0, []
            for number, value in protobuf(record):
                if number == 1 and isinstance(value, bytes):
                    time = float(struct.unpack("<d", value)[0])
                elif number == 2 and isinstance(value, int):
                    step = value
                elif number == 5 and isinstance(value, bytes):
                    summaries += [v for n, v in protobuf(value) if n == 1 and isinstance(v, bytes)]
                elif number == 7 and isinstance(value, bytes) and starts_session(value):
                    restarts_at = step
            for summary in summaries:
                found = scalar(summary)
                if found is not None:
                    yield Event(time, step, *found, restarts_at)
                    restarts_at = None
        except (ValueError, IndexError, struct.error, UnicodeDecodeError) as error:
            raise InputError(f"{path} is no TensorBoard event file ({error})") from error


def starts_session(log: bytes) -> bool:
    """Return whether a session log says that a program started."""
    return (1, SESSION_START) in list(protobuf(log))


def records(path: Path) -> Iterator[bytes]:
    """Yield the records of a TFRecord file: length, its checksum, data, its checksum."""
    with path.open("rb") as file:
        while len(head := file.read(12)) == 12:
            (length,) = struct.unpack("<Q", head[:8])
            if length > MAX_RECORD:
                raise InputError(f"{path} is no TensorBoard event file (a record of {length:,})")
            data = file.read(length)
            if len(data) < length or len(file.read(4)) < 4:
                return
            yield data


def protobuf(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield (field number, value) of a message: varints as int, everything else as bytes.

    Wire format: protobuf.dev/programming-guides/encoding. Raises ValueError if it is none.
    """
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = varint(data, at)
            yield number, value
            continue
        if kind == 2:
            length, at = varint(data, at)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise ValueError(f"wire type {kind}")
        if at + length > len(data):
            raise ValueError("a field is cut off")
        yield number, data[at : at + length]
        at += length


def varint(data: bytes, at: int) -> tuple[int, int]:
    """Return an integer of variable length and the offset after it."""
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("a number of more than ten bytes")


def scalar(summary: bytes) -> tuple[str, float] | None:
    """Return (tag, value) of one summary value, None where it is no scalar."""
    tag, value = "", None
    for number, content in protobuf(summary):
        if not isinstance(content, bytes):
            continue
        if number == 1:
            tag = content.decode("utf-8")
        elif number == 2:
            value = single(content)
        elif number == 8:
            value = tensor_scalar(content)
    return None if value is None or not tag else (tag, value)


def tensor_scalar(tensor: bytes) -> float | None:
    """Return the one number of a tensor of rank 0, None for any other tensor."""
    kind, found = 0, None
    for number, content in protobuf(tensor):
        if number == 1 and isinstance(content, int):
            kind = content
        elif number == 2 and content:  # a shape with dimensions
            return None
        elif isinstance(content, bytes) and (kind, number, len(content)) in SINGLES:
            found = single(content)
        elif isinstance(content, bytes) and (kind, number, len(content)) in DOUBLES:
            found = float(struct.unpack("<d", content)[0])
    return found


def single(content: bytes) -> float:
    """Return a number of single precision as the shortest decimal that means the same."""
    import numpy as np

    return float(str(np.frombuffer(content, "<f4")[0]))
