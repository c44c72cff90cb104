"""Runs a bundle was trained on, kept with it so that a prediction can be judged by them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ncpl.data.fields import DERIVED, FIELDS
from ncpl.data.snapshot import Runs
from ncpl.errors import BundleError

SHOWN = (
    "optimizer", "params_non_embedding", "nominal_train_tokens", "learning_rate",
    "batch_size_sequences", "sequence_length", "weight_decay", "warmup_steps", "schedule",
)  # fmt: skip
"""Fields of a known run that are shown beside a prediction."""
KEPT = tuple(
    dict.fromkeys(
        (
            *SHOWN, "train_tokens", "train_steps", "decay_steps", "optimizer_extra",
            *(name for name in FIELDS if name not in DERIVED),
        )
    )
)  # fmt: skip
"""Fields of a known run that the bundle keeps: those a configuration may leave out."""


@dataclass(frozen=True)
class Known:
    """A training run near the one asked for."""

    run_id: str
    final_loss: float
    """Measured, nats per token."""
    distance: float
    """In length scales of the fitted process: well below one is much the same run."""
    config: dict[str, Any]
    """The fields of SHOWN it states."""


@dataclass(frozen=True)
class KnownRuns:
    """The training runs of one family, in the order of its process."""

    run_ids: list[str]
    losses: list[float]
    configs: list[dict[str, Any]]

    @classmethod
    def of(cls, train: Runs) -> KnownRuns:
        """Return what is kept of training runs."""
        configs = [{n: run[n] for n in KEPT if n in run} for run in train.configs]
        return cls(list(train.run_ids), train.loss.tolist(), configs)

    def at(self, places: Sequence[int], distances: Sequence[float]) -> list[Known]:
        """Return runs by place."""
        return [
            Known(
                self.run_ids[i],
                self.losses[i],
                round(far, 3),
                {name: self.configs[i][name] for name in SHOWN if name in self.configs[i]},
            )
            for i, far in zip(places, distances, strict=True)
        ]


def write_known(path: Path, families: Sequence[KnownRuns]) -> None:
    """Write the runs of all families to one Parquet file."""
    table = pa.table(
        {
            "family": pa.array(
                [i for i, known in enumerate(families) for _ in known.run_ids], pa.int32()
            ),
            "run_id": [run_id for known in families for run_id in known.run_ids],
            "final_loss": [loss for known in families for loss in known.losses],
            "config": [
                json.dumps(config, sort_keys=True) for known in families for config in known.configs
            ],
        }
    )
    pq.write_table(table, path, compression="zstd")


def read_known(path: Path, n_families: int) -> list[KnownRuns]:
    """Return the runs of each family. Raises BundleError if the file cannot be read."""
    try:
        rows = pq.ParquetFile(path).read().to_pylist()  # read_table loads much more
    except (OSError, pa.ArrowException) as error:
        raise BundleError(f"{path} cannot be read ({error}); train the bundle again") from error
    found = [KnownRuns([], [], []) for _ in range(n_families)]
    for row in rows:
        known = found[row["family"]]
        known.run_ids.append(row["run_id"])
        known.losses.append(row["final_loss"])
        known.configs.append(json.loads(row["config"]))
    return found
