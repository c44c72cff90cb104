"""The catalog's tables as Arrow: their schemas, and runs turned into their rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ncpl_data.catalog.curve import Curve
from ncpl_data.catalog.record import Evaluation, Run
from ncpl_data.schema.fields import Field, run_fields

ARROW_TYPES = {
    "string": pa.string(),
    "json": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "strings": pa.list_(pa.string()),
}


def arrow_type(f: Field) -> pa.DataType:
    """Return the Arrow type of a column."""
    if f.kind == "records":
        return pa.list_(pa.struct([(item.path[0], arrow_type(item)) for item in f.items]))
    return ARROW_TYPES[f.kind]


@cache
def runs_schema() -> pa.Schema:
    """Return the Arrow schema of the table `runs`: every field, then the content hash."""
    columns = [pa.field(f.column, arrow_type(f)) for f in run_fields()]
    return pa.schema([*columns, pa.field("run_hash", pa.string())])


CURVES_SCHEMA = pa.schema(
    [
        ("run_id", pa.string()),
        ("source", pa.string()),
        ("metric", pa.string()),
        ("step", pa.int64()),
        ("tokens", pa.int64()),
        ("value", pa.float64()),
    ]
)
EVALS_SCHEMA = pa.schema(
    [
        ("run_id", pa.string()),
        ("source", pa.string()),
        ("task", pa.string()),
        ("kind", pa.string()),
        ("step", pa.int64()),
        ("n_shots", pa.int64()),
        ("value", pa.float64()),
        ("stderr", pa.float64()),
    ]
)
REJECTS_SCHEMA = pa.schema(
    [
        ("source", pa.string()),
        ("ref", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("payload", pa.string()),
        ("schema_version", pa.string()),
    ]
)
INGESTS_SCHEMA = pa.schema(
    [
        ("ingest_id", pa.string()),
        ("source", pa.string()),
        ("origin", pa.string()),
        ("at", pa.timestamp("us", tz="UTC")),
        ("added", pa.int64()),
        ("updated", pa.int64()),
        ("unchanged", pa.int64()),
        ("rejected", pa.int64()),
        ("tool_version", pa.string()),
    ]
)


def table_schemas() -> dict[str, pa.Schema]:
    """Return the Arrow schema of every table of the catalog."""
    return {
        "runs": runs_schema(),
        "curves": CURVES_SCHEMA,
        "evals": EVALS_SCHEMA,
        "rejects": REJECTS_SCHEMA,
        "ingests": INGESTS_SCHEMA,
    }


@dataclass(frozen=True, eq=False)
class EncodedRun:
    """A run as the catalog keeps it: its row, made once. What the row was made from is let go."""

    run_id: str
    source: str
    is_copy: bool | None
    cells: tuple[Any, ...]
    """In the order of `runs_schema`; the last one is the content hash."""
    curves: Sequence[Curve]
    evals: Sequence[Evaluation]

    def content_hash(self) -> str:
        """Return the SHA-256 of everything the run says."""
        return str(self.cells[-1])


AnyRun = Run | EncodedRun


def encode(run: AnyRun) -> EncodedRun:
    """Return a run with its row and content hash."""
    if isinstance(run, EncodedRun):
        return run
    stated = run.stated()
    stated["run_hash"] = run.content_hash(stated)
    cells = tuple(map(stated.get, runs_schema().names))
    return EncodedRun(run.run_id, run.source, run.is_copy, cells, run.curves, run.evals)


def runs_table(runs: Sequence[AnyRun]) -> pa.Table:
    """Return runs as the table `runs`, in the order given."""
    schema = runs_schema()
    if not runs:
        return schema.empty_table()
    columns = zip(*(encode(run).cells for run in runs), strict=True)
    arrays = [pa.array(cells, f.type) for f, cells in zip(schema, columns, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def curves_table(runs: Sequence[AnyRun]) -> pa.Table:
    """Return the curves of runs as the table `curves`, sorted by run, metric and step."""
    parts = [
        (run, curve)
        for run in sorted(runs, key=lambda r: r.run_id)
        for curve in sorted(run.curves, key=lambda c: c.metric)
    ]
    if not parts:
        return CURVES_SCHEMA.empty_table()
    curves = [curve for _, curve in parts]
    lengths = np.asarray([len(curve.step) for curve in curves], dtype=np.int64)
    runs_of = np.repeat(np.arange(len(parts), dtype=np.int32), lengths)

    def repeat(values: list[str]) -> pa.Array:
        return pa.array(values, type=pa.string()).take(pa.array(runs_of))

    return pa.Table.from_arrays(
        [
            repeat([run.run_id for run, _ in parts]),
            repeat([run.source for run, _ in parts]),
            repeat([curve.metric for curve in curves]),
            pa.array(np.concatenate([curve.step for curve in curves]), pa.int64()),
            joined_tokens(curves, lengths),
            pa.array(np.concatenate([curve.value for curve in curves]), pa.float64()),
        ],
        schema=CURVES_SCHEMA,
    )


def joined_tokens(curves: Sequence[Curve], lengths: npt.NDArray[np.int64]) -> pa.Array:
    """Return the tokens of curves one after another, null for a curve that has none."""
    has_tokens = np.asarray([curve.tokens is not None for curve in curves])
    given = [curve.tokens for curve in curves if curve.tokens is not None]
    if has_tokens.all():
        return pa.array(np.concatenate(given), pa.int64())
    known = np.repeat(has_tokens, lengths)
    tokens = np.zeros(len(known), np.int64)
    if given:
        tokens[known] = np.concatenate(given)
    return pa.array(tokens, pa.int64(), mask=~known)


def evals_table(runs: Sequence[AnyRun]) -> pa.Table:
    """Return the evaluations of runs as the table `evals`, sorted."""
    rows = [
        {"run_id": run.run_id, "source": run.source, **asdict(e)} for run in runs for e in run.evals
    ]
    rows.sort(key=lambda r: (r["run_id"], r["task"], r["kind"], r["step"] or -1, r["value"]))
    return pa.Table.from_pylist(rows, schema=EVALS_SCHEMA)
