"""Where sources disagree: about one run, with a correction of ours, or by holding one run twice."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from ncpl_data.catalog.merge import reading_files
from ncpl_data.catalog.query import connect
from ncpl_data.catalog.splits import COLUMNS as SPLIT_COLUMNS
from ncpl_data.catalog.splits import assign_splits
from ncpl_data.catalog.store import Catalog
from ncpl_data.catalog.twins import merge_twins, physical_runs
from ncpl_data.schema.fields import Field, run_fields

LOSS_TOLERANCE_NATS = 1e-6
"""Copies are rounded to six decimals."""

RELATIVE_TOLERANCE = 1e-9
MIN_POINTS = 5
"""Curves shorter than this may be alike by chance."""

ROW_REASONS = (
    "the other row has no final loss",
    "the other log stops before its run",
    "the other row was submitted",
    "the owner's record stands before a copy",
    "a published split names it",
    "more rows point to it",
    "it has the smaller id",
)
"""Why a row stands, in the order in which `twins.rank` decides."""

SECTIONS = ("model", "optimizer", "schedule", "data", "outcome")
NOT_COMPARED = {"metrics", "mixture", "learning_rate_groups", "final_step"}
"""Lists, and what follows from other columns."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Conflict:
    """One disagreement and how it ended."""

    kind: str
    """twins: two rows of one run; repaired: a source's own value was wrong; duplicate: two runs
    that nobody linked have one curve."""
    run_id: str
    column: str
    value: Any
    """What stands; None where nothing can be known."""
    other: str
    """Where the value that lost is from."""
    lost: Any
    reason: str

    def as_dict(self) -> dict[str, Any]:
        """Return the conflict as a JSON object."""
        return asdict(self)


def find_conflicts(catalog: Catalog) -> list[Conflict]:
    """Return every disagreement in a catalog, sorted by kind, column and run."""
    rows = catalog.read("runs").to_pylist()
    submitted = catalog.manifest().submitted
    found = [*repairs(rows), *between_twins(rows, submitted), *duplicates(catalog, rows)]
    return sorted(found, key=lambda c: (c.kind, c.column, c.run_id, c.other))


def repairs(rows: Sequence[Row]) -> Iterator[Conflict]:
    """Yield each value of a source that was replaced or removed."""
    for row in rows:
        for column, origin in (json.loads(row["origins"]) if row["origins"] else {}).items():
            if isinstance(origin, dict) and origin["kind"] == "repaired":
                yield Conflict(
                    kind="repaired",
                    run_id=row["run_id"],
                    column=column,
                    value=row.get(column),
                    other=row["source"],
                    lost=origin.get("was"),
                    reason=origin.get("evidence") or "",
                )


def between_twins(rows: Sequence[Row], submitted: Collection[str]) -> Iterator[Conflict]:
    """Yield each column in which two rows of one physical run differ; the standing row wins."""
    by_id = {row["run_id"]: row for row in rows}
    columns, named = compared_columns(), assigned(rows)
    for one in merge_twins(rows, named, submitted):
        first = by_id[one.run_id]
        for run_id in one.dropped:
            other = by_id[run_id]
            reason = reason_of(first, other, named, submitted)
            for column, value, lost in differences(first, other, columns):
                yield Conflict("twins", one.run_id, column, value, run_id, lost, reason)


def assigned(rows: Sequence[Row]) -> set[str]:
    """Return the runs that the published split names."""
    table = pa.Table.from_pylist([{c: row[c] for c in SPLIT_COLUMNS} for row in rows])
    return set(assign_splits(table, "ncpl")["run_id"].to_pylist()) if rows else set()


def reason_of(first: Row, other: Row, named: Collection[str], submitted: Collection[str]) -> str:
    """Return why one row stands before its twin."""
    links = (first["same_as"] or (), other["same_as"] or ())
    decided = (
        (first["final_loss"] is None) != (other["final_loss"] is None),
        (first["status"] == "truncated") != (other["status"] == "truncated"),
        (first["source"] in submitted) != (other["source"] in submitted),
        (first["is_copy"] is True) != (other["is_copy"] is True),
        (first["run_id"] in named) != (other["run_id"] in named),
        other["run_id"] in links[0] or first["run_id"] in links[1],
        True,
    )
    return ROW_REASONS[decided.index(True)]


def compared_columns() -> list[Field]:
    """Return the columns whose values can contradict each other."""
    return [f for f in run_fields() if f.path[0] in SECTIONS and f.column not in NOT_COMPARED]


def differences(first: Row, other: Row, columns: Sequence[Field]) -> Iterator[tuple[str, Any, Any]]:
    """Yield (column, value, other value) where both rows say something and it is not the same."""
    for f in columns:
        one, two = first[f.column], other[f.column]
        if one is None or two is None:
            continue
        if f.kind == "json":
            ours, theirs = json.loads(one), json.loads(two)
            for key in sorted(ours.keys() & theirs.keys()):
                if not same(ours[key], theirs[key]):
                    yield f"{f.column}.{key}", ours[key], theirs[key]
        elif f.column == "final_loss":
            is_one_metric = first["final_loss_metric"] == other["final_loss_metric"]
            if is_one_metric and abs(one - two) > LOSS_TOLERANCE_NATS:
                yield f.column, one, two
        elif not same(one, two):
            yield f.column, one, two


def same(one: Any, two: Any) -> bool:
    """Return whether two values agree, numbers up to rounding."""
    if isinstance(one, (int, float)) and isinstance(two, (int, float)):
        return math.isclose(one, two, rel_tol=RELATIVE_TOLERANCE, abs_tol=1e-30)
    return bool(one == two)


def duplicates(catalog: Catalog, rows: Sequence[Row]) -> Iterator[Conflict]:
    """Yield runs that have one loss curve, to five decimals, and that no `same_as` links.

    A run that continues another one shares its parent's points and is none.
    """
    physical = physical_runs(rows)
    parents = {row["run_id"]: row["parent_run_id"] for row in rows}
    sql = (
        "select md5(string_agg(step || ':' || printf('%.5f', value), ',' order by step)) curve, "
        "run_id from curves join runs using (run_id) where metric = final_loss_metric group by 2 "
        f"having count(*) >= {MIN_POINTS} and max(value) > min(value) order by 1, 2"
    )
    con = connect(catalog, sql)
    with contextlib.closing(con), reading_files():
        found = con.execute(sql).fetchall()
    first: dict[str, str] = {}
    for curve, run_id in found:
        kept = first.setdefault(curve, run_id)
        is_linked = physical[kept] == physical[run_id]
        if is_linked or kept == parents[run_id] or run_id == parents[kept]:
            continue
        reason = "equal curves, no same_as: a re-run that repeats bit for bit, or one run twice"
        yield Conflict("duplicate", kept, "curves", None, run_id, None, reason)


def summary(conflicts: Sequence[Conflict]) -> list[dict[str, Any]]:
    """Return counts by kind, column and the two sides, with one example each, most first."""
    groups: dict[tuple[str, ...], list[Conflict]] = {}
    for one in conflicts:
        sides = (one.run_id.split("/")[0], one.other.split("/")[0])
        groups.setdefault((one.kind, one.column, *sides), []).append(one)
    rows = [
        {
            "kind": kind,
            "column": column,
            "stands": stands,
            "loses": loses,
            "runs": len(members),
            "value": members[0].value,
            "lost": members[0].lost,
            "reason": members[0].reason,
        }
        for (kind, column, stands, loses), members in groups.items()
    ]
    return sorted(rows, key=lambda r: (-r["runs"], r["kind"], r["column"]))
