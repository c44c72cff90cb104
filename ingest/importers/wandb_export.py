"""Weights & Biases: an export folder, an offline run, or a project through its API.

One folder a run: config.json (or config.yaml), summary.json, and its history as Parquet
(`*.runhistory.parquet`, what `run.download_history_exports` writes), history.jsonl or history.csv.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ncpl_data.catalog.errors import InputError
from ncpl_data.ingest.importers.base import Draft, Options
from ncpl_data.ingest.importers.config_file import read_config
from ncpl_data.ingest.importers.encodings import text_of
from ncpl_data.ingest.importers.folders import each_run, telling
from ncpl_data.ingest.importers.huggingface import set_batch
from ncpl_data.ingest.importers.programs import programs_of
from ncpl_data.ingest.importers.step_axis import STEP_KEYS, step_key
from ncpl_data.ingest.importers.text_rows import number_in

PRIMARY = ("eval/loss", "validation/loss", "val/loss", "eval_loss", "val_loss")
CONFIGS = ("config.json", "config.yaml", "files/config.yaml")
SUMMARIES = ("summary.json", "wandb-summary.json", "files/wandb-summary.json")
META = "run.json"
"""Name, id and state of a run, as the API download writes them."""

STATES = {"finished": "finished", "crashed": "failed", "failed": "failed", "killed": "truncated"}
TOKEN_KEYS = (
    *("throughput/total_tokens", "train/total_tokens", "total_tokens", "tokens_seen", "tokens"),
    *("train/tokens_seen", "train/num_input_tokens_seen", "train/num_tokens", "consumed_tokens"),
)


def read(path: str, options: Options) -> Iterator[dict[str, Any]]:
    """Yield the runs of an export folder, or of `entity/project` through the API.

    Histories are read whole: parts that overlap are joined by `_step`, the later row stands.
    Configurations lose their keys and passwords before anything else happens.
    """
    root = Path(path)
    if root.suffix == ".wandb" or (root.is_dir() and offline(root)):
        from ncpl_data.ingest.importers.wandb_offline import exported

        with exported([root] if root.is_file() else offline(root)) as folder:
            yield from read_folder(folder, options)
        return
    if not root.exists() and path.count("/") == 1 and not path.startswith((".", "/")):
        from ncpl_data.ingest.importers.wandb_api import downloaded

        with downloaded(path) as folder:
            yield from read_folder(folder, options)
        return
    yield from read_folder(root, options)


def offline(root: Path) -> list[Path]:
    """Return the offline runs of a folder that holds no exported history."""
    return (
        []
        if any(histories(p) for p in (root, *root.rglob("*")) if p.is_dir())
        else sorted(root.rglob("run-*.wandb"))
    )


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
    yield from each_run(runs, lambda folder: read_run(folder, options), options)


def histories(folder: Path) -> list[Path]:
    """Return the history files of one run, in order."""
    patterns = ("*history*.parquet", "history.jsonl", "history.csv")
    return [path for pattern in patterns for path in sorted(folder.glob(pattern))]


def read_run(folder: Path, options: Options) -> dict[str, Any]:
    """Return the run of one folder."""
    meta = read_first(folder, (META,))
    config = unwrapped(read_first(folder, CONFIGS))
    own = histories(folder)
    # Names of runs repeat inside a project; ids do not.
    name = str(meta.get("id") or telling(folder.resolve().name, own[0]))
    draft = Draft(options, name, str(folder))
    draft.set("/source_run", meta.get("name"))
    programs = programs_of(config, options.aliases)
    for program in programs:
        draft.apply(program, config)
    if "huggingface" in programs:
        set_batch(draft, config, {})
    draft.set("/outcome/status", STATES.get(str(meta.get("state", ""))))
    rows = joined(row for history in own for row in history_rows(history))
    axis = step_key(rows, options.step_key, str(folder))
    for place, row in enumerate(rows, start=1):
        read_point(draft, row, axis, place)
    summary = read_first(folder, SUMMARIES)
    runtime = summary.get("_runtime")
    if isinstance(runtime, (int, float)) and runtime > 0:
        draft.set("/system/wall_time_seconds", runtime)
    return draft.document(PRIMARY)


def joined(rows: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows with one for each `_step`: of parts that overlap, what the later says stands."""
    found: dict[Any, dict[str, Any]] = {}
    for number, row in enumerate(rows):
        step = number_in(row.get("_step"))
        key = ("row", number) if step is None else ("step", step)
        known = found.setdefault(key, {})
        known.update({k: v for k, v in row.items() if v is not None and v != ""})
    keyed = [k for k in found if k[0] == "step"]
    order = sorted(keyed, key=lambda k: k[1]) if len(keyed) == len(found) else list(found)
    return [found[key] for key in order]


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
            text = text_of(path).lstrip("\ufeff")
            yield from map(checked_row, csv.DictReader(text.splitlines()))
        else:
            lines = text_of(path).splitlines()
            yield from (checked_row(json.loads(line)) for line in lines if line.strip())
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path} can not be read: {error}") from error


def checked_row(row: Any) -> dict[str, Any]:
    """Return a row of a history.

    Raises ValueError if it is no object, or has more values than the header has names.
    """
    if not isinstance(row, dict) or None in row:
        raise ValueError(f"{str(row)[:80]} is no row; expected a value for each name")
    return row


def read_point(draft: Draft, row: Mapping[str, Any], axis: str, place: int) -> None:
    """Take the numbers of one history row; a key that starts with _ is W&B's own."""
    step = number_in(row.get(axis))
    if step is None or not step.is_integer():
        return
    found = (number_in(row.get(key)) for key in TOKEN_KEYS)
    tokens = next((int(v) for v in found if v is not None and v.is_integer()), None)
    for key, value in row.items():
        if key.startswith(("_", "system/")) or key in {*TOKEN_KEYS, *STEP_KEYS, axis}:
            continue
        converted = number_in(value)
        if converted is not None:
            draft.point(key, int(step), converted, tokens, place=place)
