"""The catalog: upsert runs, read tables, commit."""

from __future__ import annotations

import bisect
import random
import time
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ncpl_data.catalog.bucket import open_storage
from ncpl_data.catalog.errors import ConflictError, InputError, IntegrityError
from ncpl_data.catalog.folder import discard, write_error
from ncpl_data.catalog.heads import write_head
from ncpl_data.catalog.history import is_overtaken, pack, read_manifest
from ncpl_data.catalog.manifest import DataFile, Manifest, digest, manifest_name
from ncpl_data.catalog.outcome import Outcome, count_reasons, ingest_row, now, rejects_table
from ncpl_data.catalog.parquet import (
    MAX_FILE_ROWS,
    at_run_boundaries,
    file_sha256,
    fingerprint,
    fit_schema,
    read_parquet,
    write_parquet,
)
from ncpl_data.catalog.record import Skipped
from ncpl_data.catalog.tables import (
    AnyRun,
    curves_table,
    evals_table,
    runs_table,
    table_schemas,
)
from ncpl_data.catalog.verified import verified
from ncpl_data.schema.load import SCHEMA_VERSION

MAX_COMMIT_TRIES = 50
MAX_PAUSE_SECONDS = 0.5
RUN_TABLES = ("runs", "curves", "evals")

Files = dict[str, tuple[DataFile, ...]]


class Catalog:
    """A folder of immutable Parquet files and the manifests that list them."""

    def __init__(self, root: Path | str, version: int | None = None) -> None:
        """Open a catalog, by default at its newest state; it may not exist yet.

        `root` is a folder, or s3://bucket/prefix for a store with conditional writes.
        """
        self.location = root
        self.folder = open_storage(root)
        self.version = version

    @property
    def root(self) -> Path:
        """The catalog's folder; for a bucket, the local folder its files are read through."""
        return self.folder.local_root

    def at(self, version: int) -> Catalog:
        """Return the same catalog at one manifest; at its newest for 0, an empty catalog."""
        return Catalog(self.location, version or None)

    def manifest(self) -> Manifest:
        """Return the current state; version 0 where nothing was ever written."""
        found = read_manifest(self.folder, self.version)
        return found or Manifest(0, "empty", now(), SCHEMA_VERSION)

    def paths(self, table: str, manifest: Manifest | None = None) -> list[Path]:
        """Return the live files of one table; what they hold is not looked at."""
        files = (manifest or self.manifest()).tables[table]
        return [self.folder.path(f.path) for f in files]

    def trusted(self, file: DataFile) -> Path:
        """Return the path of a data file that holds the bytes its entry says.

        Raises IntegrityError if it is missing or altered.
        """
        try:
            return verified(self.folder.path(file.path), file.sha256)
        except IntegrityError:
            if not self.folder.forget(file.path):
                raise
        return verified(self.folder.path(file.path), file.sha256)

    def read(
        self,
        table: str,
        columns: list[str] | None = None,
        *,
        source: str | None = None,
        manifest: Manifest | None = None,
    ) -> pa.Table:
        """Return one table, whole or of one source, in memory.

        Raises IntegrityError if a file is missing, altered or can not be read.
        """
        schema = table_schemas()[table]
        files = (manifest or self.manifest()).tables[table]
        if source is not None:
            files = tuple(f for f in files if f.source == source)
        if columns is not None:
            schema = pa.schema([schema.field(c) for c in columns])
        parts = [fit_schema(read_parquet(self.trusted(f), schema.names), schema) for f in files]
        return pa.concat_tables(parts) if parts else schema.empty_table()

    def upsert(
        self,
        runs: Sequence[AnyRun],
        *,
        source: str,
        operation: str,
        origin: str,
        skipped: Iterable[Skipped] = (),
        sheet: Mapping[str, Any] | None = None,
        cursor: Any = None,
        replacing: Collection[str] | None = None,
        dry_run: bool = False,
        tool_version: str = "",
    ) -> Outcome:
        """Bring the runs of one source up to date and keep its refused records.

        New runs are added, changed ones replace their row, curves and evaluations, equal ones
        are left alone. The owner's record replaces a third party's copy; a copy never replaces
        the owner's. Nothing is written where nothing changed. `cursor` is any JSON value that
        says how far the source was read; it is committed together with the runs.

        Raises ConflictError if a stored run would change that is not named in `replacing`, as
        when somebody else has just added it; by default every run may change.
        """
        rejects = list(skipped)
        incoming = {run.run_id: run for run in runs}
        if len(incoming) != len(runs):
            twice = Counter(run.run_id for run in runs).most_common(1)[0][0]
            raise InputError(
                f'{source}: {len(runs):,} runs share {len(incoming):,} ids, such as "{twice}"; '
                "each run needs one of its own"
            )
        new_files = NewFiles()

        def prepare(manifest: Manifest) -> tuple[Files | None, Outcome]:
            outcome, replaced = self.compare(manifest, incoming, source)
            outcome = replace(outcome, rejected=count_reasons(rejects))
            unasked = [] if replacing is None else sorted(replaced - set(replacing))
            if unasked:
                raise ConflictError(
                    f'"{unasked[0]}" was stored by another writer meanwhile, with other values; '
                    "nothing of this source was written. Submit it again to see the difference"
                )
            reject_rows = rejects_table(source, rejects)
            same_rejects = reject_rows.equals(
                self.read("rejects", source=source, manifest=manifest).sort_by("ref")
            )
            same_cursor = cursor is None or manifest.cursors.get(source) == cursor
            is_same = not outcome.added and not outcome.updated and same_rejects and same_cursor
            if dry_run or is_same:
                return None, outcome
            changed = (*outcome.added, *outcome.updated)
            if new_files.run_ids != changed:  # another writer's commit seldom changes what is new
                tables = run_tables([incoming[i] for i in changed])
                new_files.files = {
                    t: self.write(t, source, rows, hashed=True) for t, rows in tables.items()
                }
                new_files.run_ids = changed
            files = dict(manifest.tables)
            for name in RUN_TABLES:
                kept = self.without(files[name], name, source, replaced)
                files[name] = (*kept, *new_files.files[name])
            if not same_rejects:
                kept = tuple(f for f in files["rejects"] if f.source != source)
                files["rejects"] = (*kept, *self.write("rejects", source, reject_rows))
            row = ingest_row(source, origin, outcome, tool_version)
            files["ingests"] = (*files["ingests"], *self.write("ingests", source, row))
            return files, outcome

        sheets = {} if sheet is None else {source: sheet}
        cursors = {} if cursor is None else {source: cursor}
        return self.commit(prepare, operation, sheets, cursors)

    def compare(
        self, manifest: Manifest, incoming: Mapping[str, AnyRun], source: str
    ) -> tuple[Outcome, set[str]]:
        """Return what an upsert would do, and the ids whose stored rows must go."""
        columns = ["run_id", "run_hash", "is_copy"]
        ids = sorted(incoming)
        known: dict[str, tuple[str, bool | None]] = {}
        for file in manifest.tables["runs"]:
            if file.source == source and overlaps(file, ids):
                stored = read_parquet(self.trusted(file), columns).to_pydict()
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

    def commit(
        self,
        prepare: Callable[[Manifest], tuple[Files | None, Outcome]],
        operation: str,
        sheets: Mapping[str, Any] | None = None,
        cursors: Mapping[str, Any] | None = None,
    ) -> Outcome:
        """Prepare a change on the newest state and make it the next manifest, or try again.

        Raises ConflictError if other writers kept winning.
        """
        for attempt in range(MAX_COMMIT_TRIES):
            manifest = self.manifest()
            files, outcome = prepare(manifest)
            if files is None:
                return outcome
            following = Manifest(
                version=manifest.version + 1,
                operation=operation,
                created_at=now(),
                schema_version=SCHEMA_VERSION,
                tables=files,
                sources={**manifest.sources, **(sheets or {})},
                cursors={**manifest.cursors, **(cursors or {})},
                parent=manifest.sha256,
                catalog=manifest.catalog or uuid.uuid4().hex,
            )
            if self.make_newest(following, manifest.version):
                return replace(outcome, version=following.version)
            # Another writer was first: let the others finish, each for another while.
            time.sleep(random.random() * min(0.02 * 2**attempt, MAX_PAUSE_SECONDS))
        raise ConflictError(
            f"{self.folder.place}: other writers committed first {MAX_COMMIT_TRIES} times; "
            "try again"
        )

    def make_newest(self, following: Manifest, parent: int) -> bool:
        """Make a manifest the newest state; return False if another writer was first."""
        name = manifest_name(following.version)
        if not self.folder.put_bytes_if_absent(name, following.to_json()):
            return False
        if is_overtaken(self.folder, following.version, parent):
            self.folder.remove(name)
            return False
        sha256 = digest(following.content())
        write_head(self.folder, following.version, sha256, following.catalog)
        pack(self.folder)
        return True

    def without(
        self, files: tuple[DataFile, ...], table: str, source: str, run_ids: set[str]
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
            path = self.trusted(file)
            if not pc.any(pc.is_in(read_parquet(path, ["run_id"])["run_id"], gone)).as_py():
                kept.append(file)
                continue
            rows = read_parquet(path)
            rest = rows.filter(pc.invert(pc.is_in(rows["run_id"], gone)))
            kept.extend(self.write(table, source, rest, hashed=file.hashed))
        return tuple(kept)

    def write(
        self, table: str, source: str, rows: pa.Table, *, hashed: bool = False
    ) -> tuple[DataFile, ...]:
        """Write sorted rows as new files named by their content; return them.

        `hashed` says that the hashes of their runs were taken from these very values.
        """
        if rows.num_rows == 0:
            return ()
        written = []
        for part in at_run_boundaries(rows, MAX_FILE_ROWS):
            temporary = self.folder.temporary(f"data/{table}/new")
            try:
                write_parquet(part, temporary)
                keys = pc.min_max(part["run_id"]).as_py() if "run_id" in part.column_names else {}
                file = self.put_file(table, source, temporary, part.num_rows, keys)
                columns = fingerprint(part.schema)
                written.append(replace(file, columns=columns, hashed=hashed))
            except OSError as error:
                discard(temporary)
                raise write_error(temporary, error) from error
        return tuple(written)

    def put_file(
        self, table: str, source: str, temporary: Path, n_rows: int, keys: Mapping[str, str]
    ) -> DataFile:
        """Move a finished temporary file to its name by content and return its entry."""
        digest, size = file_sha256(temporary), temporary.stat().st_size
        name = f"data/{table}/{source}-{digest[:24]}.parquet"
        self.folder.put_content(name, temporary)
        return DataFile(
            path=name,
            sha256=digest,
            bytes=size,
            rows=n_rows,
            source=source,
            min_run_id=keys.get("min"),
            max_run_id=keys.get("max"),
        )


@dataclass
class NewFiles:
    """What one upsert has written already, kept over its tries to commit."""

    run_ids: tuple[str, ...] | None = None
    files: dict[str, tuple[DataFile, ...]] = field(default_factory=dict)


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
