"""TensorBoard event files, read without TensorBoard: scalars only."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ncpl_data.catalog.errors import InputError
from ncpl_data.ingest.importers.base import Draft, Options, read_config

MAX_RECORD = 64 << 20
PRIMARY = ("eval/loss", "validation/loss", "val/loss", "train/loss", "Loss/train", "loss")
FLOAT, DOUBLE = 1, 2
"""Types of a tensor in TensorFlow's DataType."""

SINGLES = {(FLOAT, 4, 4), (FLOAT, 5, 4)}
DOUBLES = {(DOUBLE, 4, 8), (DOUBLE, 6, 8)}
"""(type, field, bytes) of a tensor that holds one number: its content, or its list of values."""


def read(path: str, options: Options) -> Iterator[dict[str, Any]]:
    """Yield one run for each folder of event files.

    Hyperparameters are in no event file: give them with --config FILE --aliases NAME, or --set.
    """
    root = Path(path)
    files = [root] if root.is_file() else sorted(root.rglob("*tfevents*"))
    if not files:
        raise InputError(f"{path} holds no event file (events.out.tfevents.*)")
    folders: dict[Path, list[Path]] = {}
    for file in files:
        folders.setdefault(file.parent, []).append(file)
    for folder, own in folders.items():
        draft = Draft(options, folder.resolve().name)
        if options.config:
            draft.apply(options.aliases, read_config(options.config))
        for file in own:
            for step, tag, value in scalars(file):
                draft.point(tag, step, value)
        if draft.curves:
            yield draft.document(PRIMARY)


def scalars(path: Path) -> Iterator[tuple[int, str, float]]:
    """Yield (step, tag, value) of every scalar in one event file.

    A file cut off by a crash ends there. Values are single precision; the shortest decimal that
    means the same is taken, so that 3.14159 comes back as it was logged.
    """
    for record in records(path):
        try:
            step, summaries = 0, []
            for number, value in protobuf(record):
                if number == 2 and isinstance(value, int):
                    step = value
                elif number == 5 and isinstance(value, bytes):
                    summaries += [v for n, v in protobuf(value) if n == 1 and isinstance(v, bytes)]
            for summary in summaries:
                found = scalar(summary)
                if found is not None:
                    yield step, *found
        except (ValueError, IndexError, struct.error, UnicodeDecodeError) as error:
            raise InputError(f"{path} is no TensorBoard event file ({error})") from error


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
