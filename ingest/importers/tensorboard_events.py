"""TensorBoard event files, read without TensorBoard: scalars only."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ncpl_data.catalog.errors import InputError
from ncpl_data.ingest.importers.base import BATCH, Draft, Options
from ncpl_data.ingest.importers.config_file import read_config
from ncpl_data.ingest.importers.folders import each_run, telling

MAX_RECORD = 64 << 20
PRIMARY = ("eval/loss", "validation/loss", "val/loss")
SESSION_START = 1
"""Status of a session that starts; its step is the one the run was resumed at (`purge_step`)."""

FLOAT, DOUBLE = 1, 2
"""Types of a tensor in TensorFlow's DataType."""

SINGLES = {(FLOAT, 4, 4), (FLOAT, 5, 4)}
DOUBLES = {(DOUBLE, 4, 8), (DOUBLE, 6, 8)}
"""(type, field, bytes) of a tensor that holds one number: its content, or its list of values."""


def read(path: str, options: Options) -> Iterator[dict[str, Any]]:
    """Yield one run for each folder of event files.

    A folder below that only holds one value of a group (`add_scalars`) belongs to the run above;
    one that only holds hyperparameters is no run. Hyperparameters are in no event file: give them
    with --config FILE --aliases NAME, or --set.
    """
    root = Path(path)
    files = [root] if root.is_file() else sorted(root.rglob("*tfevents*"))
    if not files:
        raise InputError(f"{path} holds no event file (events.out.tfevents.*)")
    folders: dict[Path, list[Path]] = {}
    for file in files:
        folders.setdefault(file.parent, []).append(file)
    runs = [folder for folder in folders if group_above(folder, folders) is None]
    names = Counter(folder.resolve().name for folder in runs)

    def convert(folder: Path) -> dict[str, Any]:
        name = folder.resolve().name
        if names[name] > 1:
            name = "-".join(folder.relative_to(root).parts) or name
        draft = Draft(options, telling(name, folders[folder][0]), str(folder))
        parts = [f for f in folders if f == folder or group_above(f, folders) == folder]
        return read_run(draft, {part: folders[part] for part in parts}, folder)

    held = [folder for folder in runs if holds_scalars(folders[folder])]
    yield from each_run(held, convert, options)


def holds_scalars(files: list[Path]) -> bool:
    """Return whether files hold a scalar that is no hyperparameter's result; bad ones do."""
    try:
        return any(not e.tag.startswith("hparam/") for f in files for e in events(f))
    except InputError:
        return True


def group_above(folder: Path, folders: dict[Path, list[Path]]) -> Path | None:
    """Return the run a folder belongs to, if it holds one value of a group of scalars."""
    for above in folder.parents:
        if above not in folders:
            continue
        own = folder.relative_to(above).as_posix()
        try:
            tags = {e.tag for file in folders[folder] for e in events(file)}
        except InputError:
            return None
        if tags and all(value_of_group(own, tag) for tag in tags):
            return above
    return None


def value_of_group(folder: str, tag: str) -> str | None:
    """Return which value of a group a folder holds: `loss/train`, `loss_train` of the tag loss."""
    for head in (f"{tag}/", tag.replace("/", "_") + "_"):
        if folder.startswith(head):
            return folder[len(head) :]
    return None


def read_run(draft: Draft, parts: dict[Path, list[Path]], folder: Path) -> dict[str, Any]:
    """Return the run of one folder and of the folders of its groups."""
    if draft.options.config:
        draft.apply(draft.options.aliases, read_config(draft.options.config))
    found = []
    for part, files in parts.items():
        own = part.relative_to(folder).as_posix()
        for file in files:
            for event in events(file):
                group = value_of_group(own, event.tag) if part != folder else None
                found.append((event, f"{event.tag}/{group}" if group else event.tag))
    for event, tag in sorted(found, key=lambda pair: pair[0].time):
        draft.point(tag, event.step, event.value, restarts_at=event.restarts_at)
    draft.settle()
    state_megatron_batch(draft)
    return draft.document(PRIMARY)


def state_megatron_batch(draft: Draft) -> None:
    """State the batch that Megatron logs: that of a whole step, in sequences."""
    batches = set(draft.points.get("batch-size", {}).values())
    if "lm_loss" in draft.points and len(batches) == 1:
        draft.set(BATCH, int(batches.pop()))


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
