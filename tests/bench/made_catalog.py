"""A generated catalog of many runs, written as commits of 5,000 runs from five sources."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa

from ncpl_data.catalog.manifest import Manifest
from ncpl_data.catalog.outcome import Outcome, ingest_row
from ncpl_data.catalog.store import Catalog, Files
from ncpl_data.catalog.tables import CURVES_SCHEMA, runs_schema

N_POINTS = 200
BATCH_RUNS = 5_000
N_SOURCES = 5


def make_catalog(root: Path, n_runs: int) -> Catalog:
    """Fill a folder with runs of 200 points each and return its catalog."""
    catalog = Catalog(root)
    for start in range(0, n_runs, BATCH_RUNS):
        source = f"made{start // BATCH_RUNS % N_SOURCES}"
        numbers = range(start, min(start + BATCH_RUNS, n_runs))
        runs, curves = runs_table(source, numbers), curves_table(source, numbers)

        def prepare(
            manifest: Manifest, source: str = source, runs: pa.Table = runs, rows: pa.Table = curves
        ) -> tuple[Files, Outcome]:
            files = dict(manifest.tables)
            files["runs"] += catalog.write("runs", source, runs, hashed=True)
            files["curves"] += catalog.write("curves", source, rows, hashed=True)
            outcome = Outcome(added=tuple(runs["run_id"].to_pylist()))
            files["ingests"] += catalog.write(
                "ingests", source, ingest_row(source, "made", outcome, "")
            )
            return files, outcome

        catalog.commit(prepare, "bench")
    return catalog


def names(source: str, numbers: range) -> list[str]:
    """Return run ids of a usual length."""
    return [f"{source}/dense_h960_ffnh9368_numh15_lr3.453e-04_{i:08d}" for i in numbers]


def runs_table(source: str, numbers: range) -> pa.Table:
    """Return rows of `runs` with the fields most sources state."""
    draw = np.random.default_rng(numbers.start)
    n = len(numbers)
    ids = names(source, numbers)
    columns: dict[str, object] = {
        "run_id": ids,
        "source": [source] * n,
        "schema_version": ["1.0"] * n,
        "source_run": [i.partition("/")[2] for i in ids],
        "optimizer": ["adamw"] * n,
        "learning_rate": draw.uniform(1e-4, 1e-2, n),
        "params_non_embedding": draw.integers(10**7, 10**9, n),
        "train_tokens": draw.integers(10**9, 10**11, n),
        "status": ["finished"] * n,
        "final_loss": draw.uniform(2, 4, n),
        "final_loss_metric": ["train/loss"] * n,
        "final_loss_unit": ["nats_per_token"] * n,
        "raw_config": [f'{{"name":"{i}","lr":{x:.9g}}}' for i, x in zip(ids, draw.random(n))],  # noqa: B905 - equal by construction
        "run_hash": [hashlib.sha256(i.encode()).hexdigest() for i in ids],
    }
    arrays = [
        pa.array(columns[f.name], f.type) if f.name in columns else pa.nulls(n, f.type)
        for f in runs_schema()
    ]
    return pa.Table.from_arrays(arrays, schema=runs_schema())


def curves_table(source: str, numbers: range) -> pa.Table:
    """Return curves with noise, as logs have it: values do not compress."""
    draw = np.random.default_rng(numbers.start + 1)
    n = len(numbers) * N_POINTS
    step = np.tile(np.arange(1, N_POINTS + 1, dtype=np.int64) * 50, len(numbers))
    value = 2 + 10 * step**-0.4 + draw.normal(0, 0.01, n)
    ids = pa.array(names(source, numbers))
    at = pa.array(np.repeat(np.arange(len(numbers)), N_POINTS))
    same = pa.array(np.zeros(n, np.int64))
    return pa.Table.from_arrays(
        [
            ids.take(at),
            pa.array([source]).take(same),
            pa.array(["train/loss"]).take(same),
            pa.array(step),
            pa.array(step * 524_288),
            pa.array(value.round(6)),
        ],
        schema=CURVES_SCHEMA,
    )
