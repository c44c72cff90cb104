"""Generated runs for the tests of the catalog, and processes that write them."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import numpy as np

from ncpl_data.catalog.compact import compact
from ncpl_data.catalog.curve import Curve
from ncpl_data.catalog.folder import LocalFolder
from ncpl_data.catalog.outcome import Outcome
from ncpl_data.catalog.record import Evaluation, Run
from ncpl_data.catalog.snapshots.take import take_snapshot
from ncpl_data.catalog.store import Catalog

# A forked child of this server starts in milliseconds, so that many can be killed in a test.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["ncpl_data.catalog.compact", "ncpl_data.catalog.snapshots.take"])


def made_run(name: str, *, source: str = "made", points: int = 20, **fields: object) -> Run:
    """Return a generated run."""
    step = np.arange(1, points + 1, dtype=np.int64) * 10
    loss = 2.0 + 1.0 / np.sqrt(step)
    values: dict[str, object] = {
        "source_run": name,
        "optimizer": "adamw",
        "learning_rate": 1e-3,
        "params_non_embedding": 10_000_000,
        "batch_size_sequences": 8,
        "sequence_length": 1024,
        "train_steps": int(step[-1]),
        "train_tokens": int(step[-1]) * 8192,
        "status": "finished",
        "final_loss": float(loss[-1]),
        "final_loss_metric": "train/loss",
        "final_loss_unit": "nats_per_token",
        "curves": (Curve("train/loss", step, loss, tokens=step * 8192),),
        "evals": (Evaluation("hellaswag", "accuracy", 0.25, step=int(step[-1])),),
    }
    return Run(run_id=f"{source}/{name}", source=source, **(values | fields))  # type: ignore[arg-type]


def put(catalog: Catalog, *runs: Run, **options: object) -> Outcome:
    """Upsert generated runs of one source."""
    return catalog.upsert(
        runs,
        source=runs[0].source,
        operation="test",
        origin="made",
        **options,  # type: ignore[arg-type]
    )


def write_many(location: Path | str, writer: int, n_commits: int) -> None:
    """Commit one run at a time, as one of several processes."""
    for i in range(n_commits):
        put(Catalog(location), made_run(f"{writer:02d}-{i:03d}"))


def write_compact_freeze(location: Path, turn: int, connection: object) -> None:
    """Ingest, compact and freeze, and say when it begins; somebody may kill this process."""
    connection.send("begin")  # type: ignore[attr-defined]
    catalog = Catalog(location)
    put(catalog, *(made_run(f"{turn:02d}-{i:02d}") for i in range(10)))
    compact(catalog)
    take_snapshot(catalog, policy="group-hash")
    connection.send("end")  # type: ignore[attr-defined]


def take_names(root: Path, has_links: bool, writer: int) -> int:
    """Try to take forty names and return how many were taken."""
    folder = LocalFolder(root, has_links=has_links)
    return sum(folder.put_bytes_if_absent(f"m/{i}", str(writer).encode()) for i in range(40))


def environment() -> dict[str, str]:
    """Return the variables that say where the bucket is."""
    return {k: v for k, v in os.environ.items() if k.startswith(("AWS_", "NCPL_"))}


def write_to_bucket(variables: dict[str, str], location: str, writer: int, n_commits: int) -> None:
    """Commit as `write_many` does; a forked child has the environment of its server."""
    os.environ.update(variables)
    write_many(location, writer, n_commits)
