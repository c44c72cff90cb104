"""Where laws get their data: a file of runs, or one part of a snapshot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq

from ncpl.data.snapshot import Family, Runs, Snapshot
from ncpl.errors import ConfigError

Table = dict[str, npt.NDArray[np.generic]]
READERS = {
    ".csv": pa.csv.read_csv,
    ".parquet": pq.read_table,
    ".jsonl": pa.json.read_json,
    ".json": pa.json.read_json,
}


def read_table(file: Path) -> Table:
    """Return the columns of a CSV, Parquet or JSONL file.

    Raises ConfigError when it cannot be read or holds no rows.
    """
    reader = READERS.get(file.suffix.lower())
    if reader is None:
        raise ConfigError(f"{file}: expected a file ending in {', '.join(READERS)}")
    try:
        table = reader(file)
    except (OSError, pa.ArrowException) as error:
        raise ConfigError(f"{file} cannot be read as {file.suffix[1:]}: {error}") from error
    if not table.num_rows:
        raise ConfigError(f"{file} holds no rows")
    check_names(file, table.column_names)
    return {name: table[name].to_numpy() for name in table.column_names}


def check_names(file: Path, names: Sequence[str]) -> None:
    """Raise ConfigError where a table has two columns of one name."""
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"{file} has more than one column {twice}; keep the one meant")


def write_text(file: Path, text: str) -> None:
    """Write a file. Raises ConfigError where it cannot be written."""
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"{file} cannot be written ({error.strerror}); give a file in a folder that exists and "
            "is yours"
        ) from error


def snapshot_table(
    snapshot: Snapshot,
    source: str | None,
    split: str | None,
    *,
    dataset: str | None = None,
    metric: str | None = None,
) -> Table:
    """Return runs of one comparable-loss family as the columns the laws know.

    Runs that do not state size, tokens, learning rate and batch size are left out. Raises
    ConfigError where no run, or more than one family, is left.
    """
    from ncpl.bench.part import Part

    runs = snapshot.runs()
    part = Part(runs.where(family=_family(snapshot, runs, source, dataset, metric), split=split))
    name = part.runs.family[0][0] if len(part) else source
    if not len(part):
        raise ConfigError(f"{snapshot.path}: {name} has no run in the part {split!r}")
    part = part.take(part.has_recipe)
    if not len(part):
        raise ConfigError(
            f"{snapshot.path}: no run of {name} states size, tokens, learning rate and batch size, "
            "which the laws read"
        )
    n, d = part.sizes
    return {
        "run_id": np.array(part.runs.run_ids),
        "group": np.array([g or "" for g in part.runs.group]),
        "optimizer": np.array(part.optimizer),
        "params_non_embedding": n,
        "train_tokens": d,
        "batch_tokens": part.batch_tokens,
        "learning_rate": part.learning_rate,
        "weight_decay": part.column("weight_decay"),
        "loss": part.loss,
    }


def _family(
    snapshot: Snapshot, runs: Runs, source: str | None, dataset: str | None, metric: str | None
) -> Family:
    """Return the one family that is meant; ConfigError where none or several are."""
    every = runs.families()
    sources = ", ".join(sorted({f[0] for f in every})) or "none"
    policy = snapshot.policy
    own = [f for f in every if source in (None, f[0])]
    if not own:
        raise ConfigError(
            f"{snapshot.path}: no run of {source} is in its split ({policy}), which has runs of "
            f"{sources}; take a snapshot with another split: ncpl-data snapshot --split group-hash"
        )
    if len({f[0] for f in own}) > 1:
        raise ConfigError(
            f"{snapshot.path}: losses are comparable only inside one source; give --source, one "
            f"of: {sources}"
        )
    found = [f for f in own if dataset in (None, f[2]) and metric in (None, f[1])]
    if len(found) != 1:
        known = "; ".join(f"metric {f[1]}, dataset {f[2] or 'not stated'}" for f in own)
        raise ConfigError(
            f"{snapshot.path}: {own[0][0]} has {len(own)} families of losses that do not compare "
            f"({known}); give --dataset or --metric so that one is left"
        )
    return found[0]
