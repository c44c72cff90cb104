"""Runs of the catalog by their id, whole."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from ncpl_data.catalog.curve import Curve
from ncpl_data.catalog.manifest import Manifest
from ncpl_data.catalog.parquet import fit_schema, read_parquet
from ncpl_data.catalog.record import Evaluation, Run
from ncpl_data.catalog.store import Catalog
from ncpl_data.catalog.tables import table_schemas
from ncpl_data.catalog.upsert import overlaps

EVALUATION = ("task", "kind", "value", "step", "n_shots", "stderr")


def find_runs(
    catalog: Catalog, run_ids: Iterable[str], manifest: Manifest | None = None
) -> dict[str, Run]:
    """Return the stored runs of some ids with their curves and evaluations; unknown ids lack."""
    manifest = manifest or catalog.manifest()
    by_source: dict[str, list[str]] = {}
    for run_id in run_ids:
        by_source.setdefault(run_id.partition("/")[0], []).append(run_id)
    found: dict[str, Run] = {}
    for source, wanted in by_source.items():
        if not any(f.source == source for f in manifest.tables["runs"]):
            continue
        rows, curves, evals = (
            rows_of(catalog, manifest, table, source, sorted(wanted))
            for table in ("runs", "curves", "evals")
        )
        points, results = by_run(curves), by_run(evals)
        for row in rows.to_pylist():
            run_id = row["run_id"]
            evaluations = [
                Evaluation(**{name: e[name] for name in EVALUATION})
                for e in (results[run_id].to_pylist() if run_id in results else ())
            ]
            own = curves_of(points[run_id]) if run_id in points else []
            found[run_id] = Run.from_row(row, own, evaluations)
    return found


def rows_of(
    catalog: Catalog, manifest: Manifest, table: str, source: str, run_ids: Sequence[str]
) -> pa.Table:
    """Return the rows of some runs, whose ids ascend; one file at a time is in memory."""
    schema = table_schemas()[table]
    wanted = pa.array(run_ids, pa.string())
    parts = []
    for file in manifest.tables[table]:
        if file.source == source and overlaps(file, run_ids):
            rows = fit_schema(read_parquet(catalog.trusted(file)), schema)
            parts.append(rows.filter(pc.is_in(rows["run_id"], value_set=wanted)))
    return pa.concat_tables(parts) if parts else schema.empty_table()


def by_run(table: pa.Table) -> dict[str, pa.Table]:
    """Return the rows of each run, sorted by step."""
    keys = [(name, "ascending") for name in ("run_id", "step") if name in table.column_names]
    table = table.sort_by(keys)
    if table.num_rows == 0:
        return {}
    runs = pc.run_end_encode(table["run_id"].combine_chunks())
    ends = runs.run_ends.to_pylist()
    starts = [0, *ends[:-1]]
    return {
        run_id: table.slice(start, end - start)
        for run_id, start, end in zip(runs.values.to_pylist(), starts, ends, strict=True)
    }


def curves_of(points: pa.Table) -> list[Curve]:
    """Return the curves in the points of one run, sorted by metric."""
    curves = []
    for metric in sorted(pc.unique(points["metric"]).to_pylist()):
        own = points.filter(pc.equal(points["metric"], metric))
        tokens = own["tokens"]
        curves.append(
            Curve(
                metric,
                own["step"].to_numpy(),
                own["value"].to_numpy(),
                tokens=None if tokens.null_count else tokens.to_numpy(),
            )
        )
    return curves
