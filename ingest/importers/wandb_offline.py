"""Offline runs of Weights & Biases (`run-*.wandb`), taken as an export: wandb's own records.

The file is framed as a LevelDB log (blocks of 32 KiB, records of a checksum, a length and a type)
after a header of seven bytes; what a frame holds is a record of `wandb.proto`.
"""

from __future__ import annotations

import json
import struct
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ncpl_data.catalog.errors import InputError
from ncpl_data.ingest.importers.spelling import jsonable
from ncpl_data.ingest.secrets import scrubbed

MARK, BLOCK, HEAD = b":W&B", 1 << 15, 7
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4
"""Types of a frame: a whole record, or a part of one."""


@contextmanager
def exported(paths: Sequence[Path]) -> Iterator[Path]:
    """Give a temporary folder with the runs of some files, one folder a run.

    Raises InputError without the package, and for a file that is no run.
    """
    try:
        from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]
    except ImportError as error:
        raise InputError(
            "reading an offline W&B run needs the package: pip install 'ncpl-data[wandb]'"
        ) from error
    with tempfile.TemporaryDirectory(prefix="ncpl-wandb-") as folder:
        for path in paths:
            export(path, Record, Path(folder))
        yield Path(folder)


def frames(path: Path) -> Iterator[bytes]:
    """Yield the records of a file, up to where it was cut off.

    Raises InputError if it is no offline run.
    """
    content = path.read_bytes()
    if not content.startswith(MARK):
        raise InputError(f"{path} is no offline W&B run; it does not begin with {MARK.decode()}")
    at, parts = HEAD, b""
    while at + HEAD <= len(content):
        left = BLOCK - at % BLOCK
        if left < HEAD:  # the end of a block is padded
            at += left
            continue
        length, kind = struct.unpack_from("<HB", content, at + 4)
        data = content[at + HEAD : at + HEAD + length]
        at += HEAD + length
        if len(data) < length or kind not in (FULL, FIRST, MIDDLE, LAST):
            return
        parts = data if kind in (FULL, FIRST) else parts + data
        if kind in (FULL, LAST):
            yield parts


def export(path: Path, record_of: Any, folder: Path) -> None:
    """Write one run as a folder: run.json, config.json, history.jsonl."""
    facts: dict[str, Any] = {}
    config: dict[str, Any] = {}
    rows: list[dict[str, Any]] = []
    for data in frames(path):
        record = record_of()
        record.ParseFromString(data)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            facts |= {"id": record.run.run_id, "name": record.run.display_name}
            config |= items(record.run.config.update)
        elif kind == "config":
            config |= items(record.config.update)
        elif kind == "history":
            row = items(record.history.item)
            if record.history.HasField("step"):
                row.setdefault("_step", record.history.step.num)
            rows.append(row)
        elif kind == "exit":
            facts["state"] = "finished" if record.exit.exit_code == 0 else "failed"
    own = folder / (facts.get("id") or path.stem)
    own.mkdir(parents=True, exist_ok=True)
    (own / "run.json").write_text(json.dumps(facts), "utf-8")
    (own / "config.json").write_text(json.dumps(jsonable(scrubbed(config))), "utf-8")
    lines = "".join(json.dumps(jsonable(row)) + "\n" for row in rows)
    (own / "history.jsonl").write_text(lines, "utf-8")


def items(found: Any) -> dict[str, Any]:
    """Return the entries of a record; a nested key is joined by slashes."""
    return {
        (item.key or "/".join(item.nested_key)): json.loads(item.value_json)
        for item in found
        if item.value_json
    }
