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

from ncpl_data.catalog.stored import places_of_runs
from ncpl_data.explore.pack import number, packed
from ncpl_data.explore.tables import Tables

CHUNK = 200
"""Runs of a chunk."""
POINTS = 100
"""Points a curve keeps at most: the first, the last, and evenly picked ones between."""
LEFT_OUT = frozenset(("origins", "raw_config", "metrics", "run_hash", "schema_version"))
"""Columns a run page does not list; `ncpl-data show --document` prints them."""


def chunks(
    tables: Tables, curves: CurveTable, predictions: Mapping[str, Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Yield chunks of the runs in order: columns, origins, curves, evaluations, nearest runs.

    `curves` are those of the tables.
    """
    evals = Grouped(tables.evals)
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
            "curves": [curves.packed(run_id, texts, steps) for run_id in ids],
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
        self.place = places_of_runs(table)

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


class CurveTable(Grouped):
    """The table of curves, sorted by run, metric and step, as arrays."""

    def __init__(self, table: pa.Table) -> None:
        """Take the columns out once: there are millions of points."""
        super().__init__(table)
        metrics = table["metric"].combine_chunks().dictionary_encode()
        self.names = metrics.dictionary.to_pylist()
        self.metric = metrics.indices.to_numpy(zero_copy_only=False)
        self.step = table["step"].to_numpy()
        self.value = table["value"].to_numpy()

    def packed(
        self, run_id: str, texts: dict[str, int], steps: dict[tuple[int, ...], int]
    ) -> list[list[Any]]:
        """Return curves as [metric, steps, values, points in the catalog].

        Metric and steps by their place in `texts` and `steps`, to which new ones are added.
        """
        begin, end = self.place.get(run_id, (0, 0))
        cuts = np.flatnonzero(np.diff(self.metric[begin:end], prepend=-1, append=-1)) + begin
        found = []
        for a, b in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True):
            at = a + np.unique(np.linspace(0, b - a - 1, min(POINTS, b - a)).round().astype(int))
            which = steps.setdefault(tuple(self.step[at].tolist()), len(steps))
            values = [number(float(f"{value:.6g}")) for value in self.value[at].tolist()]
            metric = texts.setdefault(self.names[self.metric[a]], len(texts))
            found.append([metric, which, values, b - a])
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
