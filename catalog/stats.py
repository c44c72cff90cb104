"""What a catalog holds: counts by source, and how much of a published split is covered."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ncpl_data.catalog.errors import InputError
from ncpl_data.catalog.manifest import TABLES, Manifest
from ncpl_data.catalog.merge import reading_files
from ncpl_data.catalog.query import connect
from ncpl_data.catalog.splits import (
    COPYING_SOURCES,
    NCPL_PARTS,
    PUBLISHED_SOURCES,
    ncpl_names,
)
from ncpl_data.catalog.store import Catalog

SOURCE_SQL = """
select source, count(*) as runs, count(*) filter (status = 'finished') as finished,
  count(*) filter (status = 'diverged') as diverged, count(final_loss) as with_loss,
  count(distinct dataset) as datasets, min(params_non_embedding) as min_params,
  max(params_non_embedding) as max_params, min(train_tokens) as min_tokens,
  max(train_tokens) as max_tokens, count(*) filter (len(same_as) > 0) as seen_elsewhere
from runs group by source order by source
"""
CURVE_SQL = "select source, count(distinct run_id), count(*) from curves group by source"
COUNT_SQL = "select source, count(*) from {} group by source"


def catalog_stats(catalog: Catalog) -> dict[str, Any]:
    """Return counts by source, by table and by file."""
    manifest = catalog.manifest()
    con = connect(catalog, "runs curves evals rejects")
    with contextlib.closing(con), reading_files():
        cursor = con.execute(SOURCE_SQL)
        names = [column[0] for column in cursor.description or ()]
        sources = {row[0]: dict(zip(names, row, strict=True)) for row in cursor.fetchall()}
        curves = {row[0]: row[1:] for row in con.execute(CURVE_SQL).fetchall()}
        others = {
            t: dict(con.execute(COUNT_SQL.format(t)).fetchall()) for t in ("evals", "rejects")
        }
    known = {*sources, *others["rejects"]}
    rows = []
    for source in sorted(known):
        with_curve, points = curves.get(source, (0, 0))
        row = dict.fromkeys(names) | {"source": source, "runs": 0} | sources.get(source, {})
        row |= {"with_curve": with_curve, "curve_points": points}
        row |= {table: others[table].get(source, 0) for table in others}
        rows.append(row)
    return {"manifest": manifest.version, "sources": rows, "tables": table_sizes(manifest)}


def table_sizes(manifest: Manifest) -> list[dict[str, Any]]:
    """Return files, rows and bytes of each table."""
    return [
        {
            "table": table,
            "files": len(manifest.tables[table]),
            "rows": sum(f.rows for f in manifest.tables[table]),
            "bytes": sum(f.bytes for f in manifest.tables[table]),
        }
        for table in TABLES
    ]


@dataclass(frozen=True)
class Covered:
    """How much of one part of a published split the catalog has."""

    source: str
    part: str
    """train, id or ood."""
    named: int
    """Runs the split names."""
    in_catalog: int
    with_loss: int
    with_curve: int
    truncated: tuple[str, ...]
    """Names of the runs whose loss here is the last one logged, not the final one."""
    missing: tuple[str, ...]
    """Names of the runs that have no loss here, or are not here."""

    def as_dict(self) -> dict[str, Any]:
        """Return the counts as a JSON object."""
        lists = {"truncated": list(self.truncated), "missing": list(self.missing)}
        return asdict(self) | {"with_final_loss": self.with_loss - len(self.truncated)} | lists


def coverage(catalog: Catalog, policy: str) -> list[Covered]:
    """Return the coverage of each part of a published split, twins counted in.

    Raises InputError for a split that is not published, for it names no runs.
    """
    if policy != "ncpl":
        raise InputError(
            f'the split "{policy}" is not a published one, so no run of it can be missing; '
            "known: ncpl"
        )
    columns = ["run_id", "source", "source_run", "same_as", "status", "final_loss"]
    rows = catalog.read("runs", columns).to_pylist()
    con = connect(catalog, "curves")
    with contextlib.closing(con), reading_files():
        with_curve = {
            row[0] for row in con.execute("select distinct run_id from curves").fetchall()
        }
    twins_of: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        for twin in row["same_as"] or ():
            twins_of.setdefault(twin, []).append(row)
    by_id = {row["run_id"]: row for row in rows}
    by_name = {(row["source"], row["source_run"]): row for row in rows}

    found = []
    for source in PUBLISHED_SOURCES:
        names = ncpl_names(source)
        for part in NCPL_PARTS.values():
            wanted = sorted(name for name, side in names.items() if side == part)
            here = n_loss = n_curve = 0
            missing, truncated = [], []
            for name in wanted:
                rows_of = (by_name.get((s, name)) for s in (source, *COPYING_SOURCES))
                row = next((r for r in rows_of if r is not None), None)
                seen = [] if row is None else physical(row, by_id, twins_of)
                here += bool(seen)
                with_loss = [r for r in seen if r["final_loss"] is not None]
                n_loss += bool(with_loss)
                n_curve += any(r["run_id"] in with_curve for r in seen)
                if not with_loss:
                    missing.append(name)
                elif all(r["status"] == "truncated" for r in with_loss):
                    truncated.append(name)
            counts = (len(wanted), here, n_loss, n_curve)
            found.append(Covered(source, part, *counts, tuple(truncated), tuple(missing)))
    return found


def physical(
    row: Mapping[str, Any],
    by_id: Mapping[str, Mapping[str, Any]],
    twins_of: Mapping[str, list[Mapping[str, Any]]],
) -> list[Mapping[str, Any]]:
    """Return a run, its direct twins, and those that name the same third, which may be absent."""
    names = (row["run_id"], *(row["same_as"] or ()))
    named = [by_id[twin] for twin in names[1:] if twin in by_id]
    return [row, *named, *(other for name in names for other in twins_of.get(name, ()))]
