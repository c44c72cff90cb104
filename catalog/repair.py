"""Repair: what a damaged, forked or beheaded catalog still holds, listed again.

The newest state that can be read stands. Beside it lie data files that it does not list: of lost
manifests, of the other branch of a fork, of killed writers. A run of theirs that the state lacks
comes back if its rows, taken from any of those files, have the content hash that was written with
it. So nothing comes back that is not what somebody wrote; what can not come back is named.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ncpl_data.catalog.chain import CatalogProblem, Chain, data_files, history_problems, read_chain
from ncpl_data.catalog.errors import ConflictError, IntegrityError, NcplDataError
from ncpl_data.catalog.heads import heads, remembered
from ncpl_data.catalog.history import numbers_of, states
from ncpl_data.catalog.manifest import Manifest, manifest_name
from ncpl_data.catalog.outcome import now
from ncpl_data.catalog.salvage import (
    Shelf,
    readable_rows,
    refuse_failing_disk,
    restore_runs,
)
from ncpl_data.catalog.store import RUN_TABLES, Catalog, Files
from ncpl_data.catalog.tables import table_schemas
from ncpl_data.schema.load import SCHEMA_VERSION

MAX_NAMED = 1000
"""Runs of each kind that a report names."""


@dataclass
class Repaired:
    """What a repair found, and did or would do."""

    problems: list[CatalogProblem] = field(default_factory=list)
    """Of the history, and of the files of the newest state."""
    base: int = 0
    """The state that stands; 0 where no manifest can be read."""
    unlisted_files: int = 0
    restored: list[str] = field(default_factory=list)
    """Runs that come back."""
    superseded: list[str] = field(default_factory=list)
    """Runs of which an unlisted file holds another version; the one in the state stands."""
    lost: list[str] = field(default_factory=list)
    """Runs that are damaged or incomplete in every file."""
    version: int | None = None
    """The manifest that holds the result; None where nothing was written."""

    def as_dict(self) -> dict[str, Any]:
        """Return the result as a JSON object."""
        found = asdict(self) | {"problems": [p.as_dict() for p in self.problems]}
        for kind in ("restored", "superseded", "lost"):
            found[f"n_{kind}"] = len(found[kind])
            found[kind] = found[kind][:MAX_NAMED]
        return found


@dataclass(frozen=True)
class Ground:
    """What a repair builds on."""

    base: Manifest
    listed: frozenset[str]
    """Files of the base and of the states it goes back to without a gap."""
    sheets: Mapping[str, Any]
    """Data sheets of sources, of any state that can be read."""
    chain: Chain


def repair(
    catalog: Catalog, *, apply: bool = False, sheets: Mapping[str, Any] | None = None
) -> Repaired:
    """Return what can be restored; with `apply` commit it.

    `sheets` are the data sheets of known sources, for runs whose own sheet is lost. Raises
    ConflictError if somebody commits meanwhile, IntegrityError where the disk fails.
    """
    ground = survey(catalog)
    base, done = ground.base, Repaired(base=ground.base.version)
    done.problems += history_problems(catalog.folder, ground.chain)
    damaged = {p.where for p in done.problems}
    bad_sources = set()
    for file in (f for files in base.tables.values() for f in files):
        try:
            catalog.trusted(file)
        except IntegrityError as error:
            refuse_failing_disk(error)
            done.problems.append(CatalogProblem("file", file.path, str(error)))
            damaged.add(file.path)
            bad_sources.add(file.source)
    loose_files = [n for n in data_files(catalog.folder) if n not in ground.listed]
    done.unlisted_files = len(loose_files)
    tables = dict(base.tables)
    shelf = Shelf(catalog)
    for name in loose_files:
        shelf.add(name)
    for table in tables:
        for file in (f for f in base.tables[table] if f.source in bad_sources):
            shelf.add(file.path, trusted=file.path not in damaged)
        tables[table] = tuple(f for f in base.tables[table] if f.source not in bad_sources)
    new = restored_rows(catalog, tables, shelf, done, bad_sources)
    if not apply or not (done.problems or done.restored):
        return done
    for (table, source), rows in new.items():
        hashed = table in RUN_TABLES
        tables[table] = (*tables[table], *catalog.write(table, source, rows, hashed=hashed))
    done.version = commit(catalog, ground, tables, sorted(damaged), sheets or {})
    return done


def survey(catalog: Catalog) -> Ground:
    """Return the newest state that can be read and what is known of the others."""
    folder = catalog.folder
    chosen: Manifest | None = None
    listed: set[str] = set()
    sheets: dict[str, Any] = {}
    expected: str | None = None
    found = []
    for version, state in states(folder):
        if isinstance(state, NcplDataError):
            refuse_failing_disk(state)
        found.append((version, state if isinstance(state, NcplDataError) else bare(state)))
        if isinstance(state, NcplDataError) or state.version != version:
            continue
        sheets = {**state.sources, **sheets}
        goes_on = chosen is not None and expected is not None and state.sha256 == expected
        if chosen is None:
            chosen = state
        if state is chosen or goes_on:
            listed |= {f.path for files in state.tables.values() for f in files}
            expected = state.parent
    base = chosen or Manifest(0, "empty", now(), SCHEMA_VERSION)
    return Ground(base, frozenset(listed), sheets, read_chain(folder, found))


def bare(state: Manifest) -> Manifest:
    """Return a state without its list of files, which may be long."""
    return replace(state, tables={}, sources={}, cursors={})


def restored_rows(
    catalog: Catalog, tables: Files, shelf: Shelf, done: Repaired, bad_sources: set[str]
) -> dict[tuple[str, str], pa.Table]:
    """Return the rows that come back, by table and source, and note what becomes of each run."""
    new: dict[tuple[str, str], pa.Table] = {}
    for source in sorted(shelf.sources() | bad_sources):
        held = held_runs(catalog, tables, source)
        back, lost = restore_runs(shelf, source, held)
        done.superseded += sorted(back.superseded)
        done.restored += [i for i in back.run_ids if source not in bad_sources]
        done.lost += sorted(lost)
        for table, rows in back.tables().items():
            if rows.num_rows:
                new[table, source] = rows
        for table, key in (("ingests", "ingest_id"), ("rejects", "ref")):
            rows = rows_lacking(catalog, tables, shelf, table, source, key)
            if rows.num_rows:
                new[table, source] = rows
    return new


def held_runs(catalog: Catalog, tables: Files, source: str) -> dict[str, str]:
    """Return the runs of a source that the state holds, each with its hash."""
    held: dict[str, str] = {}
    for file in (f for f in tables["runs"] if f.source == source):
        rows = readable_rows(catalog.trusted(file), table_schemas()["runs"])
        if rows is not None:
            pairs = zip(rows["run_id"].to_pylist(), rows["run_hash"].to_pylist(), strict=True)
            held.update(pairs)
    return held


def rows_lacking(
    catalog: Catalog, tables: Files, shelf: Shelf, table: str, source: str, key: str
) -> pa.Table:
    """Return the rows of records that unlisted files hold and the state lacks.

    Refused records of a source are replaced as a whole, so they come back only where there are
    none.
    """
    schema = table_schemas()[table]
    listed = [f for f in tables[table] if f.source == source]
    if table == "rejects" and listed:
        return schema.empty_table()
    found = shelf.newest(table, source) if table == "rejects" else shelf.rows(table, source)
    known = [catalog.trusted(f) for f in listed]
    held = [rows[key] for path in known if (rows := readable_rows(path, schema)) is not None]
    seen = pa.chunked_array(held, pa.string()).combine_chunks() if held else pa.array([], "string")
    rows = found.filter(pc.invert(pc.is_in(found[key], seen)))
    first = {value: at for at, value in reversed(list(enumerate(rows[key].to_pylist())))}
    return rows.take(pa.array(sorted(first.values()), pa.int64()))


def commit(
    catalog: Catalog,
    ground: Ground,
    tables: Files,
    acknowledged: Iterable[str],
    sheets: Mapping[str, Any],
) -> int:
    """Make the repaired state the newest and return its number.

    Its number is above every one that was ever seen here, so that nothing lost can be taken for
    newer. Raises ConflictError if the number is taken.
    """
    folder, base = catalog.folder, ground.base
    last = remembered(folder)
    is_ours = last is not None and last.catalog is not None and last.catalog == base.catalog
    numbers = list(numbers_of(folder))
    seen = [0, *numbers, *(head.version for head in heads(folder))]
    version = max([*seen, last.version if last is not None and is_ours else 0]) + 1
    gap = set(range(min(numbers, default=version), version + 1)) - set(numbers)
    # its own name too: it may go on from another manifest than the one numbered before it
    names = {*acknowledged, *map(manifest_name, gap)}
    sources = {f.source for files in tables.values() for f in files}
    known = {**base.sources}
    for source in sorted(sources - known.keys()):
        known[source] = ground.sheets.get(source) or sheets.get(source) or bare_sheet(source)
    following = Manifest(
        version=version,
        operation="repair",
        created_at=now(),
        schema_version=SCHEMA_VERSION,
        tables=tables,
        sources=known,
        cursors=base.cursors,
        parent=base.sha256,
        catalog=base.catalog or ground.chain.catalog or uuid.uuid4().hex,
        acknowledged=tuple(sorted(names)),
    )
    if not catalog.make_newest(following, base.version):
        raise ConflictError(f"{folder.place}: another writer committed meanwhile; try again")
    return version


def bare_sheet(source: str) -> dict[str, Any]:
    """Return a data sheet for a source whose own one is lost."""
    return {
        "name": source,
        "title": f"runs of {source}, restored by a repair",
        "owner": "not stated",
        "licence": None,
        "citation": "none given",
        "url": "no address given",
        "revision": None,
        "origins": [],
        "traps": [],
    }
