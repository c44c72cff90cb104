"""The logs of the learning-rate schedule study: as gathered, and as they ship in one table."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ncpl_data.ingest.tables import read_shipped_table

NAME = "lr_scheduling"


KEPT_SUMMARY = ("iter", "parameters", "final-val/loss", "val/loss", "train/loss", "iter_dt")


COMPACT = pa.schema(
    [
        ("path", pa.string()),
        ("blob", pa.string()),
        ("name", pa.string()),
        ("config", pa.string()),
        ("summary", pa.string()),
        *(
            (f"{group}/{key}", pa.list_(kind))
            for group, keys in {
                "train": {
                    "iter": pa.int32(),
                    "train_loss": pa.float32(),
                    "train_lr": pa.float64(),
                    "grad_norm": pa.float64(),
                },
                "val": {"iter": pa.int32(), "val_loss": pa.float32()},
                "wa": {"iter": pa.int32(), "val_loss_wa": pa.float32()},
                "final-val": {"iter": pa.int32(), "final_val_loss": pa.float32()},
            }.items()
            for key, kind in keys.items()
        ),
    ]
)
"""The shipped form. Upstream's losses are 32-bit numbers written out, so nothing is lost."""


def compact(records: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Return records as the shipped table: every field read here, and no other."""
    rows = []
    for record in records:
        row = {key: record[key] for key in ("path", "blob", "name")}
        row["config"] = json.dumps(record["config"], sort_keys=True)
        row["summary"] = json.dumps({key: record["summary"][key] for key in KEPT_SUMMARY})
        for field in COMPACT:
            if pa.types.is_list(field.type):
                group, key = field.name.split("/")
                row[field.name] = list(record["history"].get(group, {}).get(key, ()))
        rows.append(row)
    return pa.Table.from_pylist(rows, schema=COMPACT)


def write_compact(records: Iterable[Mapping[str, Any]], path: Path) -> None:
    """Write the shipped table."""
    lists = {f.name: f.type.value_type for f in COMPACT if pa.types.is_list(f.type)}
    pq.write_table(
        compact(records),
        path,
        compression="zstd",
        compression_level=19,
        use_dictionary=False,
        use_byte_stream_split=[f"{n}.list.element" for n, t in lists.items() if t != pa.int32()],
        column_encoding={
            f"{n}.list.element": "DELTA_BINARY_PACKED" for n, t in lists.items() if t == pa.int32()
        },
        write_statistics=False,
        store_schema=False,
    )


def read_table(path: Path) -> list[dict[str, Any]]:
    """Return the logs of the shipped table."""
    table = read_shipped_table(path, COMPACT, NAME)
    lists = [f.name for f in COMPACT if pa.types.is_list(f.type)]
    flat = {name: table[name].combine_chunks() for name in lists}
    offsets = {name: flat[name].offsets.to_numpy() for name in lists}
    values = {name: flat[name].values.to_numpy(zero_copy_only=False) for name in lists}
    records = []
    for i, row in enumerate(table.drop_columns(lists).to_pylist()):
        history: dict[str, dict[str, Any]] = {}
        for name in lists:
            group, key = name.split("/")
            part = values[name][offsets[name][i] : offsets[name][i + 1]]
            history.setdefault(group, {})[key] = part
        summary, config = json.loads(row["summary"]), json.loads(row["config"])
        records.append(row | {"config": config, "summary": summary, "history": history})
    return records
