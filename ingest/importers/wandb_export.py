"""Weights & Biases: an export folder, or a project through its API.

One folder a run: config.json (or config.yaml), summary.json, and its history as Parquet
(`*.runhistory.parquet`, what `run.download_history_exports` writes), history.jsonl or history.csv.
Of a history that logs training steps beside `_step`, rows that do not name them are passed over.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ncpl_data.catalog.errors import InputError
from ncpl_data.ingest.importers.base import Draft, Options, read_config
from ncpl_data.ingest.importers.spelling import metric_name

PRIMARY = ("eval/loss", "validation/loss", "val/loss", "eval_loss", "val_loss", "train/loss")
PRIMARY_LAST = ("train_loss", "train/cross_entropy_loss", "train/CE_loss", "loss")
CONFIGS = ("config.json", "config.yaml", "files/config.yaml")
SUMMARIES = ("summary.json", "wandb-summary.json", "files/wandb-summary.json")
META = "run.json"
"""Name, id and state of a run, as the API download writes them."""

STATES = {"finished": "finished", "crashed": "failed", "failed": "failed", "killed": "truncated"}
STEP_KEYS = ("train/global_step", "trainer/global_step")
"""Training steps as transformers and Lightning log them; their `_step` only counts log calls."""

TOKEN_KEYS = ("throughput/total_tokens", "train/total_tokens", "total_tokens", "tokens")


def read(path: str, options: Options) -> Iterator[dict[str, Any]]:
    """Yield the runs of an export folder, or of `entity/project` through the API.

    Histories are read whole: parts that overlap are joined by `_step`, the later row stands.
    Configurations lose their keys and passwords before anything else happens.
    """
    root = Path(path)
    if not root.exists() and path.count("/") == 1 and not path.startswith((".", "/")):
        from ncpl_data.ingest.importers.wandb_api import downloaded

        with downloaded(path) as folder:
            yield from read_folder(folder, options)
        return
    yield from read_folder(root, options)


def read_folder(root: Path, options: Options) -> Iterator[dict[str, Any]]:
    """Yield the runs of an export folder."""
    candidates = [root, *sorted(p for p in root.rglob("*") if p.is_dir() and not p.is_symlink())]
    runs = [folder for folder in candidates if histories(folder)]
    if not runs:
        raise InputError(
            f"{root} holds no exported run; expected config.json beside *.runhistory.parquet, "
            "history.jsonl or history.csv. To read a project: ncpl-data convert wandb "
            "ENTITY/PROJECT (needs a W&B key, even for public projects)"
        )
    for folder in runs:
        yield read_run(folder, options)


def histories(folder: Path) -> list[Path]:
    """Return the history files of one run, in order."""
    patterns = ("*history*.parquet", "history.jsonl", "history.csv")
    return [path for pattern in patterns for path in sorted(folder.glob(pattern))]


def read_run(folder: Path, options: Options) -> dict[str, Any]:
    """Return the run of one folder."""
    meta = read_first(folder, (META,))
    config = unwrapped(read_first(folder, CONFIGS))
    # Names of runs repeat inside a project; ids do not.
    draft = Draft(options, str(meta.get("id") or folder.resolve().name))
    draft.set("/source_run", meta.get("name"))
    program = options.aliases if options.aliases != "common" else guess_program(config)
    draft.apply(program, config)
    draft.set("/outcome/status", STATES.get(str(meta.get("state", ""))))
    axis = step_key(folder)
    for history in histories(folder):
        for row in history_rows(history):
            read_point(draft, row, axis)
    summary = read_first(folder, SUMMARIES)
    runtime = summary.get("_runtime")
    if isinstance(runtime, (int, float)) and runtime > 0:
        draft.set("/system/wall_time_seconds", runtime)
    return draft.document((*PRIMARY, *PRIMARY_LAST))


def guess_program(config: Mapping[str, Any]) -> str:
    """Return whose configuration this is, by keys only one program has."""
    if "per_device_train_batch_size" in config:
        return "huggingface"
    if isinstance(config.get("trainer"), Mapping) and "num_train_steps" in config["trainer"]:
        return "levanter"
    if isinstance(config.get("train_module"), Mapping):
        return "olmo_core"
    return "common"


def read_first(folder: Path, names: tuple[str, ...]) -> dict[str, Any]:
    """Return the first of some files that is there, {} if none is."""
    path = next((folder / n for n in names if (folder / n).is_file()), None)
    return {} if path is None else read_config(path)


def unwrapped(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration without the wrapping of config.yaml ({key: {value: ...}})."""
    return {
        key: value["value"] if isinstance(value, dict) and "value" in value else value
        for key, value in config.items()
        if not key.startswith("_") and key != "wandb_version"
    }


def history_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of one history file."""
    try:
        if path.suffix == ".parquet":
            import pyarrow.parquet as pq

            for batch in pq.ParquetFile(path).iter_batches(10_000):
                yield from batch.to_pylist()
        elif path.suffix == ".csv":
            with path.open(encoding="utf-8-sig", newline="") as file:
                yield from map(checked_row, csv.DictReader(file))
        else:
            with path.open(encoding="utf-8") as file:
                yield from (checked_row(json.loads(line)) for line in file if line.strip())
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path} can not be read: {error}") from error


def checked_row(row: Any) -> dict[str, Any]:
    """Return a row of a history.

    Raises ValueError if it is no object, or has more values than the header has names.
    """
    if not isinstance(row, dict) or None in row:
        raise ValueError(f"{str(row)[:80]} is no row; expected a value for each name")
    return row


def step_key(folder: Path) -> str:
    """Return the key that counts training steps in the histories of one run."""
    rows = (row for history in histories(folder) for row in history_rows(history))
    found = (key for row in rows for key in STEP_KEYS if number(row.get(key)) is not None)
    return next(found, "_step")


def read_point(draft: Draft, row: Mapping[str, Any], axis: str) -> None:
    """Take the numbers of one history row; a key that starts with _ is W&B's own."""
    step = number(row.get(axis))
    if step is None or not step.is_integer():
        return
    found = (number(row.get(key)) for key in TOKEN_KEYS)
    tokens = next((int(v) for v in found if v is not None and v.is_integer()), None)
    for key, value in row.items():
        if key.startswith(("_", "system/")) or key in {*TOKEN_KEYS, *STEP_KEYS}:
            continue
        converted = number(value)
        if converted is not None:
            draft.point(metric_name(key), int(step), converted, tokens)


def number(value: Any) -> float | None:
    """Return a number, None for anything else (W&B writes NaN and Infinity as text)."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        return float(value)
    except ValueError:
        return None
