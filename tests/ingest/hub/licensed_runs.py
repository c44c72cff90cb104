"""Generated runs that may be published, and snapshots of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ncpl_data.catalog.curve import Curve
from ncpl_data.catalog.record import Run
from ncpl_data.catalog.snapshots.take import take_snapshot
from ncpl_data.catalog.store import Catalog


def licensed_run(name: str, source: str = "made", licence: str | None = "CC0-1.0") -> Run:
    """Return a generated run of random losses, so that its file is of some size."""
    step = np.arange(1, 2001, dtype=np.int64)
    loss = np.random.default_rng(len(name) + ord(name[-1])).uniform(2, 3, len(step))
    return Run(
        run_id=f"{source}/{name}",
        source=source,
        licence=licence,
        learning_rate=1e-3,
        status="finished",
        final_loss=float(loss[-1]),
        final_loss_metric="train/loss",
        final_loss_unit="nats_per_token",
        curves=(Curve("train/loss", step, loss),),
    )


def freeze(root: Path, *runs: Run) -> Path:
    """Add runs to a catalog, freeze it and return the snapshot's folder."""
    catalog = Catalog(root)
    for source in sorted({run.source for run in runs}):
        own = [run for run in runs if run.source == source]
        catalog.upsert(own, source=source, operation="test", origin="made")
    return take_snapshot(catalog, policy="group-hash").path
