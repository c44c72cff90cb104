"""The runs that a submission met so far, and those of them that a new run could repeat."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from math import floor, log
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ncpl_data.catalog.alike import COLUMNS as ALIKE_COLUMNS
from ncpl_data.catalog.alike import SAME_FRAC, Alike
from ncpl_data.catalog.manifest import DataFile, Manifest
from ncpl_data.catalog.parquet import fit_schema, read_parquet
from ncpl_data.catalog.record import Run
from ncpl_data.catalog.store import Catalog
from ncpl_data.catalog.tables import runs_schema
from ncpl_data.ingest.submissions.duplicates import KEY
from ncpl_data.ingest.submissions.lookup import find_runs
from ncpl_data.ingest.submissions.near_copies import LARGEST_ROUNDING
from ncpl_data.ingest.submissions.sketch import (
    ALIKE_SETTINGS,
    Sketch,
    Sketcher,
    could_be_copy,
    could_be_same,
)

MAX_CANDIDATES = 20
"""Runs near to a new one, by loss or by settings, that it is compared with."""

MAX_COMPARED = 200
"""Runs of one key, and seed, that it is compared with."""

COLUMNS = tuple(dict.fromkeys((*KEY, *ALIKE_COLUMNS)))
"""Columns of `runs` that tell which stored runs are near."""


class Index:
    """Sketches of runs, by key, by loss and by settings."""

    def __init__(self) -> None:
        """Begin with none."""
        self.by_key: dict[tuple[Any, ...], dict[int | None, list[Sketch]]] = {}
        self.by_loss: dict[int, list[Sketch]] = {}
        self.by_settings: dict[tuple[Any, ...], list[Sketch]] = {}
        self.alike = Alike(())

    def add(self, sketch: Sketch) -> None:
        """Remember a run."""
        same_key = self.by_key.setdefault(sketch.key, {}).setdefault(sketch.seed, [])
        if len(same_key) < MAX_COMPARED:
            same_key.append(sketch)
        if sketch.final_loss is not None:
            self.by_loss.setdefault(loss_cell(sketch.final_loss), []).append(sketch)
        same = self.by_settings.get(sketch.alike)
        if same is None:
            same = self.by_settings[sketch.alike] = []
            self.alike.add(settings_row(sketch))
        same.append(sketch)

    def suspects(self, own: Sketch) -> list[str]:
        """Return the ids of the runs that a run could repeat: same ones first, then near ones."""
        found = [
            other.run_id
            for other in self.of_key(own)
            if are_strangers(own, other) and could_be_same(own, other)
        ]
        n_compared = 0
        for other in self.near(own):
            if could_be_copy(own, other):
                if not are_strangers(own, other):
                    continue
                found.append(other.run_id)
            n_compared += 1
            if n_compared == MAX_CANDIDATES:
                break
        return list(dict.fromkeys(found))

    def of_key(self, own: Sketch) -> Iterator[Sketch]:
        """Yield the runs of a run's key, but for those of another seed."""
        by_seed = self.by_key.get(own.key, {})
        for seed in by_seed if own.seed is None else (own.seed, None):
            yield from by_seed.get(seed, ())

    def near(self, own: Sketch) -> Iterator[Sketch]:
        """Yield the runs with nearly the loss of a run, then those with its settings."""
        if own.final_loss is not None:
            cell = loss_cell(own.final_loss)
            for place in (cell, cell - 1, cell + 1):
                yield from self.by_loss.get(place, ())
        for row in self.alike.find(settings_row(own)):
            yield from self.by_settings[row["settings"]]


class Neighbours:
    """The runs met so far, as sketches, and the rows of those that were not near enough yet."""

    def __init__(self) -> None:
        """Begin with none."""
        self.sketcher = Sketcher()
        self.index = Index()
        self.ids: set[str] = set()
        """Of the runs that have a sketch."""
        self.files: set[str] = set()
        """Files of `runs` that were looked at."""
        self.stored = rows_schema().empty_table()
        """The rows of these files, but for runs that have a sketch."""

    def sketch(self, run: Run) -> Sketch:
        """Return the sketch of a run."""
        return self.sketcher.sketch(run)

    def add(self, sketch: Sketch) -> None:
        """Remember a run."""
        self.ids.add(sketch.run_id)
        self.index.add(sketch)

    def meet(
        self,
        runs: Sequence[Run],
        catalog: Catalog,
        manifest: Manifest,
        besides: Collection[str],
    ) -> None:
        """Remember the stored runs that some new ones could repeat.

        `besides` holds ids that are no other name. Each stored run is read once at most.
        """
        self.look_at(manifest.tables["runs"], catalog)
        if self.stored.num_rows == 0:
            return
        rows = near_rows(self.stored, runs).to_pylist()
        rows = [r for r in rows if r["run_id"] not in self.ids and r["run_id"] not in besides]
        near = NearRows(rows)
        wanted = dict.fromkeys(run_id for run in runs for run_id in near.of(run))
        for run in find_runs(catalog, wanted, manifest).values():
            self.add(self.sketch(run))

    def look_at(self, files: Iterable[DataFile], catalog: Catalog) -> None:
        """Take the rows of files that were not looked at; those of runs with a sketch are known."""
        for file in files:
            if file.path in self.files:
                continue
            self.files.add(file.path)
            path = catalog.trusted(file)
            ids = read_parquet(path, ["run_id"])["run_id"].to_pylist()
            is_new = [run_id not in self.ids for run_id in ids]
            if any(is_new):
                rows = fit_schema(read_parquet(path, list(COLUMNS)), rows_schema())
                self.stored = pa.concat_tables([self.stored, rows.filter(pa.array(is_new))])


def rows_schema() -> pa.Schema:
    """Return the columns `COLUMNS` of the table `runs`."""
    return pa.schema([runs_schema().field(column) for column in COLUMNS])


def settings_row(sketch: Sketch) -> dict[str, Any]:
    """Return the settings of a run by column, and all of them as one."""
    return {
        **dict(zip(ALIKE_SETTINGS, sketch.alike, strict=True)),
        "settings": sketch.alike,
    }


def are_strangers(one: Sketch, other: Sketch) -> bool:
    """Return whether two runs are not one by name, and none says that it is the other."""
    return (
        one.run_id != other.run_id
        and other.run_id not in one.same_as
        and one.run_id not in other.same_as
    )


class NearRows:
    """Stored rows by key, loss and settings."""

    def __init__(self, rows: Sequence[dict[str, Any]]) -> None:
        """Index rows with the columns `COLUMNS`."""
        self.alike = Alike(rows)
        self.by_loss: dict[int, list[str]] = {}
        self.by_key: dict[tuple[Any, ...], list[str]] = {}
        for row in rows:
            self.by_key.setdefault(tuple(row[c] for c in KEY), []).append(row["run_id"])
            if row["final_loss"] is not None:
                self.by_loss.setdefault(loss_cell(row["final_loss"]), []).append(row["run_id"])

    def of(self, run: Run) -> Iterator[str]:
        """Yield the ids of the rows a run is to be compared with, a few at most of each kind."""
        yield from self.by_key.get(tuple(getattr(run, c) for c in KEY), ())[:MAX_COMPARED]
        found: list[str] = []
        if run.final_loss is not None:
            cell = loss_cell(run.final_loss)
            for place in (cell, cell - 1, cell + 1):
                found += self.by_loss.get(place, ())
        yield from found[:MAX_CANDIDATES]
        # of a sweep all runs are alike: looking no further than needed keeps the time of each flat
        settings = {column: getattr(run, column) for column in ALIKE_COLUMNS}
        alike = islice(self.alike.find(settings), MAX_CANDIDATES)
        yield from (row["run_id"] for row in alike)


def near_rows(rows: pa.Table, runs: Sequence[Run]) -> pa.Table:
    """Return the rows with the key, nearly the loss, or nearly the learning rate of some runs.

    A large table is narrowed down while it is a table.
    """
    losses = {loss_cell(run.final_loss) for run in runs if run.final_loss is not None}
    rates = {floor(log(run.learning_rate) / SAME_FRAC) for run in runs if run.learning_rate}
    is_near = pc.or_(
        in_cells(pc.divide(rows["final_loss"], LARGEST_ROUNDING), losses),
        in_cells(pc.divide(pc.ln(rows["learning_rate"]), SAME_FRAC), rates),
    )
    has_key = None
    for column in KEY:
        own = pa.array([getattr(run, column) for run in runs], rows.schema.field(column).type)
        is_in = pc.is_in(rows[column], value_set=own)  # null among nulls too
        has_key = is_in if has_key is None else pc.and_(has_key, is_in)
    return rows.filter(pc.or_(is_near, has_key))


def in_cells(values: pa.ChunkedArray, cells: Iterable[int]) -> pa.ChunkedArray:
    """Return which values, in units of a cell, lie in one of some cells or beside it; no nulls."""
    wanted = sorted({cell + off for cell in cells for off in (-1, 0, 1)})
    found = pc.is_in(pc.floor(values), pa.array(map(float, wanted), pa.float64()))
    return pc.fill_null(found, fill_value=False)


def loss_cell(loss: float) -> int:
    """Return the cell of a loss; losses within LARGEST_ROUNDING lie in one or in neighbours."""
    return floor(loss / LARGEST_ROUNDING)
