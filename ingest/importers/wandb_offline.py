"""Offline runs of Weights & Biases (`run-*.wandb`), read with wandb's own reader as an export."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ncpl_data.catalog.errors import InputError
from ncpl_data.ingest.importers.spelling import jsonable
from ncpl_data.ingest.secrets import scrubbed


@contextmanager
def exported(paths: Sequence[Path]) -> Iterator[Path]:
    """Give a temporary folder with the runs of some files, one folder a run.

    Raises InputError without the package, and for a file that is no run.
    """
    try:
        from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]
        from wandb.sdk.internal.datastore import DataStore
    except ImportError as error:
        raise InputError(
            "reading an offline W&B run needs the package: pip install 'ncpl-data[wandb]'"
        ) from error
    with tempfile.TemporaryDirectory(prefix="ncpl-wandb-") as folder:
        for path in paths:
            store = DataStore()
            try:
                store.open_for_scan(str(path))
                export(store, Record, Path(folder), path)
            except (AssertionError, OSError, ValueError) as error:
                raise InputError(f"{path} is no offline W&B run ({error})") from error
        yield Path(folder)


def export(store: Any, record_of: Any, folder: Path, path: Path) -> None:
    """Write one run as a folder: run.json, config.json, history.jsonl."""
    facts: dict[str, Any] = {}
    config: dict[str, Any] = {}
    rows: list[dict[str, Any]] = []
    while True:
        try:
            data = store.scan_data()
        except AssertionError:  # a run that was killed ends in half a record
            break
        if data is None:
            break
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
