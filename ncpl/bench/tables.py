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

from ncpl.data.snapshot import Snapshot
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


def snapshot_table(snapshot: Snapshot, source: str | None, split: str | None) -> Table:
    """Return runs of one comparable-loss family as the columns the laws know.

    Raises ConfigError where no run, or more than one family, is left.
    """
    from ncpl.bench.part import Part

    runs = snapshot.runs()
    families = [f for f in runs.families() if source in (None, f[0])]
    if len(families) != 1:
        found = ", ".join(sorted({f[0] for f in runs.families()})) or "none"
        raise ConfigError(
            f"{snapshot.path}: losses are comparable only inside one source; give --source, "
            f"one of: {found}"
        )
    part = Part(runs.where(family=families[0], split=split))
    if not len(part):
        raise ConfigError(f"{snapshot.path}: {families[0][0]} has no run in the part {split!r}")
    part = part.take(part.has_recipe)
    if not len(part):
        raise ConfigError(
            f"{snapshot.path}: no run of {families[0][0]} states size, tokens, learning rate and "
            "batch size, which the laws read"
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
