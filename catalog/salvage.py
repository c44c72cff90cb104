"""Data files outside of a catalog's state, and the whole runs that their rows make."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from ncpl_data.catalog.errors import IntegrityError
from ncpl_data.catalog.merge import SORT_KEYS
from ncpl_data.catalog.parquet import fit_schema, read_parquet
from ncpl_data.catalog.record import Evaluation, Run
from ncpl_data.catalog.store import Catalog
from ncpl_data.catalog.stored import by_run, curves_of
from ncpl_data.catalog.tables import table_schemas
from ncpl_data.catalog.verified import known_sha256

NAME = re.compile(r"data/([a-z]+)/(.+)-([0-9a-f]{24})\.parquet")
EVALUATION = ("task", "kind", "value", "step", "n_shots", "stderr")
HASHED = ("runs", "curves", "evals")


def refuse_failing_disk(error: Exception) -> None:
    """Raise IntegrityError where the disk failed, not the file: what it holds may be whole.

    A repair that took it for lost would write down that it is.
    """
    cause = error if isinstance(error, OSError) else error.__cause__
    if isinstance(cause, OSError) and cause.errno not in (None, errno.ENOENT):
        raise IntegrityError(
            f"the disk failed ({cause}), so nothing was repaired; try again. Where it has lost a "
            "file for good, move that file away and repair again"
        ) from cause


def readable_rows(path: Path, schema: pa.Schema) -> pa.Table | None:
    """Return the rows of a file that may be damaged; None where they can not be read.

    Raises IntegrityError where the disk failed.
    """
    try:
        return fit_schema(read_parquet(path, schema.names), schema)
    except (IntegrityError, pa.ArrowException, OSError, ValueError) as error:
        refuse_failing_disk(error)
        return None


class Shelf:
    """Data files from which runs may be taken, by table and source."""

    def __init__(self, catalog: Catalog) -> None:
        """Begin with none."""
        self.catalog = catalog
        self.files: dict[tuple[str, str], list[tuple[Path, bool]]] = {}
        """Each with whether its bytes are those its name says."""

    def add(self, name: str, *, trusted: bool | None = None) -> None:
        """Add a file, whole or damaged; one that is not there is passed over."""
        match = NAME.fullmatch(name)
        if match is None or match[1] not in table_schemas():
            return
        try:
            path = self.catalog.folder.path(name)
            is_whole = trusted or known_sha256(path).startswith(match[3])
        except (IntegrityError, OSError) as error:
            refuse_failing_disk(error)
            return
        self.files.setdefault((match[1], match[2]), []).append((path, is_whole))

    def sources(self) -> set[str]:
        """Return the sources that files are of."""
        return {source for _, source in self.files}

    def tables(self, table: str, source: str) -> Iterator[pa.Table]:
        """Yield what each file holds, the newest first and damaged ones last.

        Damaged files are read only where each run's hash will tell what is right in them.
        """
        files = self.files.get((table, source), [])
        for path, is_whole in sorted(files, key=lambda f: (not f[1], -f[0].stat().st_mtime)):
            rows = None
            if is_whole or table in HASHED:
                rows = readable_rows(path, table_schemas()[table])
            if rows is not None:
                yield rows

    def rows(self, table: str, source: str) -> pa.Table:
        """Return the rows of all files of a table and source."""
        found = list(self.tables(table, source))
        return pa.concat_tables(found) if found else table_schemas()[table].empty_table()

    def newest(self, table: str, source: str) -> pa.Table:
        """Return the rows of the newest file of a table and source."""
        return next(self.tables(table, source), table_schemas()[table].empty_table())


@dataclass
class Restored:
    """The runs of one source that came back."""

    run_ids: list[str] = field(default_factory=list)
    superseded: set[str] = field(default_factory=set)
    parts: dict[str, list[pa.Table]] = field(default_factory=dict)

    def add(self, run_id: str, parts: Mapping[str, pa.Table]) -> None:
        """Add a run's rows of each table."""
        self.run_ids.append(run_id)
        for table, rows in parts.items():
            self.parts.setdefault(table, []).append(rows)

    def tables(self) -> dict[str, pa.Table]:
        """Return the rows of each table, in the table's order."""
        return {
            table: pa.concat_tables(parts).sort_by([(k, "ascending") for k in SORT_KEYS[table]])
            for table, parts in self.parts.items()
        }


def restore_runs(shelf: Shelf, source: str, held: Mapping[str, str]) -> tuple[Restored, set[str]]:
    """Return the runs of a source that the state lacks and whose rows check, and those lost.

    A run's row counts only with curves and evaluations with which it has its hash. Of several
    versions of one run the newest whole one comes back.
    """
    back, broken, known = Restored(), set(), dict(held)
    parts = {t: [grouped(r) for r in shelf.tables(t, source)] for t in ("curves", "evals")}
    empty = {t: table_schemas()[t].empty_table() for t in parts}
    for rows in shelf.tables("runs", source):
        for at, row in enumerate(rows.to_pylist()):
            run_id = row["run_id"]
            if run_id is None:
                continue
            if run_id in known:
                if known[run_id] != row["run_hash"]:
                    back.superseded.add(run_id)
                continue
            options = [[*(p[run_id] for p in parts[t] if run_id in p), empty[t]] for t in parts]
            for curves, evals in product(*options):
                if content_hash(row, curves, evals) == row["run_hash"]:
                    own = {"runs": rows.slice(at, 1), "curves": curves, "evals": evals}
                    back.add(run_id, own)
                    known[run_id] = row["run_hash"]
                    break
            else:
                broken.add(run_id)
    in_parts = {run_id for t in parts for part in parts[t] for run_id in part}
    return back, (broken | in_parts) - known.keys()


def grouped(rows: pa.Table) -> dict[str, pa.Table]:
    """Return the rows of each run; those without a run's name are left out."""
    rows = rows.filter(pc.is_valid(rows["run_id"]))
    find = by_run(rows)
    return {run_id: find(run_id) for run_id in pc.unique(rows["run_id"]).to_pylist()}


def content_hash(row: Mapping[str, object], curves: pa.Table, evals: pa.Table) -> str | None:
    """Return the hash of a run made from its rows; None where they make no run."""
    try:
        evaluations = [Evaluation(**{n: e[n] for n in EVALUATION}) for e in evals.to_pylist()]
        run = Run.from_row(row, list(curves_of(curves)), evaluations)
        return run.content_hash()
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
