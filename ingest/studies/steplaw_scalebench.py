"""Step Law's dense runs as ScaleBench's learning-rate and batch-size table lists them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ncpl_data.catalog.errors import RawFileError
from ncpl_data.catalog.parquet import file_sha256
from ncpl_data.catalog.record import Run, Skipped
from ncpl_data.ingest.studies import losscast
from ncpl_data.ingest.studies.steplaw import (
    DECLARED,
    RUN_NAME,
    SEQUENCE_LENGTH,
    SOURCE_NAME,
    DenseShape,
    dense_id,
    dense_size,
)
from ncpl_data.ingest.studies.steplaw_run import (
    CITATION,
    dense_flags,
    origins,
    outcome,
    read_curves,
    with_curve,
)

NAME = SOURCE_NAME
SCALEBENCH_URL = "https://github.com/PlanarG/active-sl"


SCALEBENCH_REVISION = "e0a58ffde4f6fdfb20880d47d6d180fdbcb1440d"


MAX_ROUNDING = 0.003
"""The token budget D is rounded; the largest deviation of a named run is .22%."""


def read_scalebench(files: Mapping[str, Path]) -> Iterator[Run | Skipped]:
    """Yield the 2,819 dense runs of ScaleBench's learning-rate and batch-size table.

    The table has no run names. 2,581 rows are named by the NCPL split (same size, batch and
    learning rate, tokens within .3%); their names give the step counts. The other 238 rows take
    the shape of their size and the step count of named runs with the same tokens and batch, or
    floor(tokens / (batch x 2048)), which holds for all 2,178 named runs of a round token budget.
    """
    named = NamedRuns(files["steplaw_keys_model_split.json"])
    curves = read_curves(files[losscast.SHIPPED.name])
    for part in ("train", "test"):
        path = files[f"{part}-00000-of-00001.parquet"]
        digest = file_sha256(path)
        for number, row in enumerate(parquet_rows(path)):
            yield with_curve(scalebench_run(row, named, path.name, digest, number), curves)


def parquet_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of one ScaleBench file.

    Raises RawFileError if it is no Parquet file or lacks a column.
    """
    columns = ["lr", "bsz", "data_size", "non_embedding_param_size", "lm_loss"]
    try:
        rows: list[dict[str, Any]] = pq.read_table(path, columns=columns).to_pylist()
    except (pa.ArrowInvalid, OSError) as error:
        raise RawFileError(
            f"{NAME} {path.name}: not the ScaleBench table ({error}). Take it again from "
            f"{SCALEBENCH_URL}",
            source=NAME,
            file=path.name,
        ) from error
    return rows


class NamedRuns:
    """The dense runs the NCPL split names, looked up by what ScaleBench states."""

    def __init__(self, path: Path) -> None:
        """Read the run names of the split file."""
        self.shapes: dict[int, DenseShape] = {}
        """Shape by non-embedding parameters; the seven sizes have one shape each."""
        self.runs: dict[tuple[int, int, float], list[tuple[int, str, float]]] = {}
        """(steps, name, final learning rate) by size, batch and learning rate."""
        self.steps: dict[int, set[int]] = {}
        """Step counts seen, by batch."""
        parts = json.loads(path.read_text("utf-8"))
        for name in (name for names in parts.values() for name in names):
            match = RUN_NAME.fullmatch(name)
            if match is None:
                raise RawFileError(
                    f'{NAME} {path.name}: "{name[:80]}" is not a Step Law run name',
                    source=NAME,
                    file=path.name,
                )
            shape = (int(match["h"]), int(match["ffnh"]), int(match["numh"]), int(match["numl"]))
            size = dense_size(shape)
            self.shapes[size] = shape
            key = (size, int(match["bs"]), float(match["lr"]))
            found = (int(match["ti"]), name, float(match["mlr"]))
            self.runs.setdefault(key, []).append(found)
            self.steps.setdefault(key[1], set()).add(found[0])

    def find(
        self, size: int, batch: int, learning_rate: float, tokens: int
    ) -> tuple[int, str, float] | None:
        """Return (steps, name, final learning rate) of the run a table row is, if it is named."""
        for steps, name, final in self.runs.get((size, batch, learning_rate), ()):
            if abs(steps * batch * SEQUENCE_LENGTH / tokens - 1) < MAX_ROUNDING:
                return steps, name, final
        return None

    def steps_of(self, batch: int, tokens: int) -> int:
        """Return the step count of an unnamed run."""
        for steps in self.steps.get(batch, ()):
            if abs(steps * batch * SEQUENCE_LENGTH / tokens - 1) < MAX_ROUNDING:
                return steps
        return tokens // (batch * SEQUENCE_LENGTH)


def scalebench_run(
    row: Mapping[str, Any], named: NamedRuns, file: str, digest: str, number: int
) -> Run:
    """Return the run of one table row."""
    size, batch = int(row["non_embedding_param_size"]), int(row["bsz"])
    tokens, learning_rate = int(row["data_size"]), row["lr"]
    found = named.find(size, batch, learning_rate, tokens)
    steps = found[0] if found else named.steps_of(batch, tokens)
    shape = named.shapes[size]
    by_name = {"kind": "derived", "rule": "NCPL run name of the same size, batch, rate and tokens"}
    by_size = {"kind": "derived", "rule": "shape of every named run of this size"}
    by_budget = {
        "kind": "derived",
        "rule": "steps of named runs of this batch and budget, else floor(tokens/(batch x 2048))",
    }
    return Run(
        run_id=dense_id(shape, learning_rate, batch, steps),
        source=NAME,
        source_run=found[1] if found else None,
        d_model=shape[0],
        d_ff=shape[1],
        n_heads=shape[2],
        n_layers=shape[3],
        params_non_embedding=size,
        learning_rate=learning_rate,
        min_learning_rate=found[2] if found else None,
        batch_size_sequences=batch,
        train_steps=steps,
        sequence_length=SEQUENCE_LENGTH,
        train_tokens=batch * SEQUENCE_LENGTH * steps,
        nominal_train_tokens=tokens,
        **DECLARED,
        **outcome(row["lm_loss"], None, steps),
        licence="CC-BY-4.0",
        citation=f"{CITATION}; table: ScaleBench (CC-BY-4.0)",
        url=SCALEBENCH_URL,
        file=file,
        file_sha256=digest,
        record=f"row {number}",
        is_copy=True,
        flags=dense_flags(steps),
        origins=origins(
            "params_non_embedding learning_rate batch_size_sequences nominal_train_tokens",
            sequence_length="declared",
            **dict.fromkeys(("d_model", "d_ff", "n_heads", "n_layers"), by_size),
            **dict.fromkeys(("train_steps", "final_step"), by_name if found else by_budget),
            **({"min_learning_rate": by_name, "source_run": by_name} if found else {}),
        ),
        raw_config=dict(row),
    )
