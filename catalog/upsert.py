"""Bring the runs of one source up to date: what is new, what changed, what stays."""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ncpl_data.catalog.errors import ConflictError, InputError
from ncpl_data.catalog.manifest import DataFile, Manifest
from ncpl_data.catalog.outcome import Outcome, count_reasons, ingest_row, rejects_table
from ncpl_data.catalog.parquet import read_parquet
from ncpl_data.catalog.record import Skipped
from ncpl_data.catalog.store import RUN_TABLES, Catalog, Files
from ncpl_data.catalog.tables import AnyRun, curves_table, evals_table, runs_table
from ncpl_data.catalog.tidy import Done, tidied


@dataclass(frozen=True)
class RunBatch:
    """What comes in of one source."""

    runs: Sequence[AnyRun]
    source: str
    origin: str
    skipped: Sequence[Skipped] = ()
    replacing: frozenset[str] | None = None
    """The stored runs that may change; None for any."""
    cursor: Any = None
    tool_version: str = ""


@dataclass
class NewFiles:
    """What one upsert has written already, kept over its tries to commit."""

    run_ids: tuple[str, ...] | None = None
    files: dict[str, tuple[DataFile, ...]] = field(default_factory=dict)
    merged: Done = field(default_factory=dict)


def upsert(
    catalog: Catalog,
    batch: RunBatch,
    operation: str,
    sheet: Mapping[str, Any] | None,
    *,
    dry_run: bool,
) -> Outcome:
    """Do what `Catalog.upsert` says."""
    runs, source = batch.runs, batch.source
    incoming = {run.run_id: run for run in runs}
    if len(incoming) != len(runs):
        twice = Counter(run.run_id for run in runs).most_common(1)[0][0]
        raise InputError(
            f'{source}: {len(runs):,} runs share {len(incoming):,} ids, such as "{twice}"; '
            "each run needs one of its own"
        )
    new_files = NewFiles()

    def prepare(manifest: Manifest) -> tuple[Files | None, Outcome]:
        outcome, replaced = compare(catalog, manifest, incoming, source)
        outcome = replace(outcome, rejected=count_reasons(batch.skipped))
        unasked = [] if batch.replacing is None else sorted(replaced - batch.replacing)
        if unasked:
            raise ConflictError(
                f'"{unasked[0]}" was stored by another writer meanwhile, with other values; '
                "nothing of this source was written. Submit it again to see the difference"
            )
        reject_rows = rejects_table(source, batch.skipped)
        same_rejects = reject_rows.equals(
            catalog.read("rejects", source=source, manifest=manifest).sort_by("ref")
        )
        same_cursor = batch.cursor is None or manifest.cursors.get(source) == batch.cursor
        is_same = not outcome.added and not outcome.updated and same_rejects and same_cursor
        if dry_run or is_same:
            return None, outcome
        changed = (*outcome.added, *outcome.updated)
        if new_files.run_ids != changed:  # another writer's commit seldom changes what is new
            tables = run_tables([incoming[i] for i in changed])
            new_files.files = {
                t: catalog.write(t, source, rows, hashed=True) for t, rows in tables.items()
            }
            new_files.run_ids = changed
        files = dict(manifest.tables)
        for name in RUN_TABLES:
            kept = without(catalog, files[name], name, source, replaced)
            files[name] = (*kept, *new_files.files[name])
        if not same_rejects:
            kept = tuple(f for f in files["rejects"] if f.source != source)
            files["rejects"] = (*kept, *catalog.write("rejects", source, reject_rows))
        row = ingest_row(source, batch.origin, outcome, batch.tool_version)
        files["ingests"] = (*files["ingests"], *catalog.write("ingests", source, row))
        for name, own in list(files.items()):
            if own is not manifest.tables[name]:
                before = manifest.tables[name]
                files[name] = tidied(catalog, name, source, own, before, new_files.merged)
        return files, outcome

    sheets = {} if sheet is None else {source: sheet}
    cursors = {} if batch.cursor is None else {source: batch.cursor}
    return catalog.commit(prepare, operation, sheets, cursors)


def compare(
    catalog: Catalog, manifest: Manifest, incoming: Mapping[str, AnyRun], source: str
) -> tuple[Outcome, set[str]]:
    """Return what an upsert would do, and the ids whose stored rows must go."""
    columns = ["run_id", "run_hash", "is_copy"]
    ids = sorted(incoming)
    known: dict[str, tuple[str, bool | None]] = {}
    for file in manifest.tables["runs"]:
        if file.source == source and overlaps(file, ids):
            rows = read_parquet(catalog.trusted(file), columns)
            stored = rows.filter(pc.is_in(rows["run_id"], pa.array(ids, pa.string()))).to_pydict()
            values = zip(stored["run_hash"], stored["is_copy"], strict=True)
            known.update(zip(stored["run_id"], values, strict=True))
    added, updated = [], []
    for run_id, run in incoming.items():
        if run_id not in known:
            added.append(run_id)
            continue
        digest, is_copy = known[run_id]
        if digest != run.content_hash() and not (run.is_copy and not is_copy):
            updated.append(run_id)
    outcome = Outcome(
        added=tuple(sorted(added)),
        updated=tuple(sorted(updated)),
        unchanged=len(incoming) - len(added) - len(updated),
    )
    return outcome, set(updated)


def without(
    catalog: Catalog, files: tuple[DataFile, ...], table: str, source: str, run_ids: set[str]
) -> tuple[DataFile, ...]:
    """Return a table's files without the rows of some runs.

    Only files of the source that hold one of the runs are rewritten.
    """
    if not run_ids:
        return files
    ids = sorted(run_ids)
    gone = pa.array(ids, type=pa.string())
    kept: list[DataFile] = []
    for file in files:
        if file.source != source or not overlaps(file, ids):
            kept.append(file)
            continue
        path = catalog.trusted(file)
        if not pc.any(pc.is_in(read_parquet(path, ["run_id"])["run_id"], gone)).as_py():
            kept.append(file)
            continue
        rows = read_parquet(path)
        rest = rows.filter(pc.invert(pc.is_in(rows["run_id"], gone)))
        kept.extend(catalog.write(table, source, rest, hashed=file.hashed))
    return tuple(kept)


def run_tables(runs: Sequence[AnyRun]) -> dict[str, pa.Table]:
    """Return the rows of runs for each table they have rows in, sorted."""
    return {
        "runs": runs_table(sorted(runs, key=lambda r: r.run_id)),
        "curves": curves_table(runs),
        "evals": evals_table(runs),
    }


def overlaps(file: DataFile, ids: Sequence[str]) -> bool:
    """Return whether a file's key range holds one of some sorted ids."""
    if file.min_run_id is None or file.max_run_id is None:
        return True
    at = bisect.bisect_left(ids, file.min_run_id)
    return at < len(ids) and ids[at] <= file.max_run_id
