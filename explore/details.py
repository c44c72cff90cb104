"""Pages of single runs: every stated value with its origin, curves, evaluations, nearest runs.

Runs are written in chunks of CHUNK, so that a page loads a few hundred kilobytes and no server is
asked. In a chunk every text stands once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from ncpl_data.explore.pack import number, packed
from ncpl_data.explore.tables import Tables

CHUNK = 200
"""Runs of a chunk."""
POINTS = 100
"""Points a curve keeps at most: the first, the last, and evenly picked ones between."""
LEFT_OUT = frozenset(("origins", "raw_config", "metrics", "run_hash", "schema_version"))
"""Columns a run page does not list; `ncpl-data show --document` prints them."""


def chunks(
    tables: Tables, predictions: Mapping[str, Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Yield chunks of the runs in order: columns, origins, curves, evaluations, nearest runs."""
    curves, evals = Grouped(tables.curves), Grouped(tables.evals)
    for begin in range(0, len(tables.rows), CHUNK):
        rows = tables.rows[begin : begin + CHUNK]
        ids = [row["run_id"] for row in rows]
        told = [predictions.get(run_id, {}) for run_id in ids]
        texts: dict[str, int] = {}
        steps: dict[tuple[int, ...], int] = {}
        stated = [
            name
            for name in tables.runs.column_names
            if name not in LEFT_OUT and any(row[name] is not None for row in rows)
        ]
        yield {
            "columns": {name: packed([row[name] for row in rows]) for name in stated},
            "origins": packed([origins_of(row) for row in rows]),
            "curves": [curves_of(curves.of(run_id), texts, steps) for run_id in ids],
            "evals": [evals_of(evals.of(run_id), texts) for run_id in ids],
            "near": [own.get("near", []) for own in told],
            "predicted": [own.get("curve", []) for own in told],
            "texts": list(texts),
            "steps": [list(one) for one in steps],
        }


class Grouped:
    """A table sorted by run_id, one run at a time."""

    def __init__(self, table: pa.Table) -> None:
        """Find where each run begins."""
        self.table = table
        names, first = np.unique(table["run_id"].to_numpy(zero_copy_only=False), return_index=True)
        ends = [*first[1:].tolist(), len(table)][: len(first)]
        self.place = {
            str(name): (int(a), int(b)) for name, a, b in zip(names, first, ends, strict=True)
        }

    def of(self, run_id: str) -> list[dict[str, Any]]:
        """Return the rows of one run."""
        a, b = self.place.get(run_id, (0, 0))
        found: list[dict[str, Any]] = self.table.slice(a, b - a).to_pylist()
        return found

    def counts(self) -> dict[str, int]:
        """Return how many rows each run has."""
        return {name: b - a for name, (a, b) in self.place.items()}


def origins_of(row: Mapping[str, Any]) -> str | None:
    """Return the origins of a run's values as JSON text."""
    origins = row.get("origins")
    return origins if origins is None or isinstance(origins, str) else json.dumps(origins)


def curves_of(
    rows: Sequence[Mapping[str, Any]], texts: dict[str, int], steps: dict[tuple[int, ...], int]
) -> list[list[Any]]:
    """Return curves as [metric, steps, values, points in the catalog]; the first two by place."""
    found = []
    for metric in dict.fromkeys(row["metric"] for row in rows):
        own = [row for row in rows if row["metric"] == metric and row["value"] is not None]
        at = np.unique(np.linspace(0, len(own) - 1, min(POINTS, len(own))).round().astype(int))
        picked = [own[i] for i in at.tolist()]
        which = steps.setdefault(tuple(row["step"] for row in picked), len(steps))
        values = [number(float(f"{row['value']:.6g}")) for row in picked]
        found.append([texts.setdefault(metric, len(texts)), which, values, len(own)])
    return found


def evals_of(rows: Sequence[Mapping[str, Any]], texts: dict[str, int]) -> list[list[Any]]:
    """Return evaluations as [task, kind, step, shots, value]; the first two by place."""
    return [
        [
            texts.setdefault(row["task"], len(texts)),
            texts.setdefault(row["kind"], len(texts)),
            row["step"],
            row["n_shots"],
            number(row["value"]),
        ]
        for row in rows
    ]
