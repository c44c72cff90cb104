"""Runs as the catalog holds them, built again from the rows of its tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ncpl_data.catalog.curve import Curve
from ncpl_data.catalog.manifest import Manifest
from ncpl_data.catalog.record import Evaluation, Run
from ncpl_data.catalog.store import Catalog


def stored_runs(catalog: Catalog, manifest: Manifest, source: str) -> Iterator[tuple[Run, str]]:
    """Yield every run of a source with its stored hash."""
    curves = by_run(catalog.read("curves", source=source, manifest=manifest))
    evals = by_run(catalog.read("evals", source=source, manifest=manifest))
    for row in catalog.read("runs", source=source, manifest=manifest).to_pylist():
        points, results = curves(row["run_id"]), evals(row["run_id"])
        names = ("task", "kind", "value", "step", "n_shots", "stderr")
        evaluations = [Evaluation(**{n: e[n] for n in names}) for e in results.to_pylist()]
        yield Run.from_row(row, list(curves_of(points)), evaluations), row["run_hash"]


def places_of_runs(rows: pa.Table) -> dict[str, tuple[int, int]]:
    """Return where the rows of each run begin and end, in a table sorted by run."""
    run_ids = rows["run_id"].to_numpy(zero_copy_only=False).astype(str)
    if not len(run_ids):
        return {}
    edges = np.flatnonzero(np.r_[True, run_ids[1:] != run_ids[:-1], True])
    return {str(run_ids[a]): (a, b) for a, b in pairwise(edges.tolist())}


def by_run(rows: pa.Table) -> Callable[[str], pa.Table]:
    """Return a function from a run's id to its rows."""
    rows = rows.sort_by([(k, "ascending") for k in ("run_id", "step") if k in rows.column_names])
    starts = places_of_runs(rows)

    def find(run_id: str) -> pa.Table:
        start, end = starts.get(run_id, (0, 0))
        return rows.slice(start, end - start)

    return find


def curves_of(points: pa.Table) -> Iterable[Curve]:
    """Yield the curves in the points of one run, sorted by step."""
    for metric in pc.unique(points["metric"]).to_pylist():
        own = points.filter(pc.equal(points["metric"], metric))
        tokens = own["tokens"]
        yield Curve(
            metric,
            own["step"].to_numpy(),
            own["value"].to_numpy(),
            tokens=None if tokens.null_count else tokens.to_numpy(),
        )
