"""Logs of Modded-NanoGPT: their step lines parsed, and the one table they ship in."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from ncpl_data.catalog.errors import RawFileError
from ncpl_data.ingest.base import packed_lines
from ncpl_data.ingest.tables import read_shipped_table

NAME = "modded_nanogpt"


KINDS = {"val": ("validation/loss", "validation"), "train": ("train/loss", "train")}


SCALE = 1_000_000  # logs print at most six decimals, so a count of millionths is exact


LINE = r"^step:(?P<step>\d+)/(?P<planned>\d+) (?P<kind>val|train)_loss:(?P<value>[\d.]+)"


COMPACT = pa.schema(
    [
        ("path", pa.string()),
        ("blob", pa.string()),
        ("hints", pa.string()),
        ("planned", pa.int32()),
        *(
            (f"{kind}_{part}", pa.list_(pa.int32()))
            for kind in KINDS
            for part in ("step", "millionths")
        ),
    ]
)
"""The shipped form: one row a log, losses as whole millionths."""


Log = Mapping[str, Any]
"""path, blob, hints, planned, and by kind of line two arrays: steps and millionths of a nat."""


def logs_of(path: Path) -> list[Log]:
    """Return the logs of one packed track, their step lines parsed."""
    records = packed_lines(path, NAME)
    try:
        lines = pl.DataFrame(
            {
                "log": np.repeat(np.arange(len(records)), [len(r["step_lines"]) for r in records]),
                "line": [line for record in records for line in record["step_lines"]],
            }
        )
    except (ValueError, KeyError, TypeError) as error:
        raise RawFileError(
            f"{NAME} {path.name}: expected lines with step_lines "
            f"({type(error).__name__} {error}). Take it again from the source",
            source=NAME,
            file=path.name,
        ) from error
    found = lines.with_columns(pl.col("line").str.extract_groups(LINE).alias("m")).unnest("m")
    odd = found.filter(pl.col("value").is_null())
    if odd.height:
        raise RawFileError(
            f'{NAME} {path.name}: found "{odd["line"][0][:80]}"; expected a line like '
            "step:125/3000 val_loss:4.28",
            source=NAME,
            file=path.name,
        )
    points = found.select(
        "log",
        "kind",
        pl.col("step").cast(pl.Int32),
        pl.col("planned").cast(pl.Int32),
        (pl.col("value").cast(pl.Float64) * SCALE).round().cast(pl.Int32).alias("millionths"),
    )
    logs: list[Log] = []
    parts = points.partition_by("log", "kind", as_dict=True)
    planned = dict(points.group_by("log").agg(pl.col("planned").first()).iter_rows())
    empty = points.clear()
    for i, record in enumerate(records):
        hints = {"scalars": record["header_scalars"], "calls": record["header_calls"]}
        log: dict[str, Any] = {
            "path": record["path"],
            "blob": record["blob"],
            "hints": json.dumps(hints, sort_keys=True),
            "planned": planned[i],
        }
        for kind in KINDS:
            part = parts.get((i, kind), empty)
            for column in ("step", "millionths"):
                log[f"{kind}_{column}"] = part[column].to_numpy()
        logs.append(log)
    return logs


def write_compact(logs: Iterable[Log], path: Path) -> None:
    """Write the shipped table."""
    lists = [f.name for f in COMPACT if pa.types.is_list(f.type)]
    pq.write_table(
        pa.Table.from_pylist([dict(log) for log in logs], schema=COMPACT),
        path,
        compression="zstd",
        compression_level=19,
        use_dictionary=False,
        column_encoding={f"{name}.list.element": "DELTA_BINARY_PACKED" for name in lists},
        write_statistics=False,
        store_schema=False,
    )


def read_table(path: Path) -> list[Log]:
    """Return the logs of the shipped table."""
    table = read_shipped_table(path, COMPACT, NAME)
    lists = [f.name for f in COMPACT if pa.types.is_list(f.type)]
    columns = {name: table[name].combine_chunks() for name in lists}
    logs: list[dict[str, Any]] = table.drop_columns(lists).to_pylist()
    for name, column in columns.items():
        offsets, values = column.offsets.to_numpy(), column.values.to_numpy()
        for i, log in enumerate(logs):
            log[name] = values[offsets[i] : offsets[i + 1]]
    return list(logs)
