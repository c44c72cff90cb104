"""The catalog: upsert runs, read tables, commit."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ncpl_data.catalog.bucket import open_storage
from ncpl_data.catalog.errors import ConflictError, IntegrityError
from ncpl_data.catalog.folder import discard, write_error
from ncpl_data.catalog.heads import write_head
from ncpl_data.catalog.history import is_overtaken, pack, read_manifest
from ncpl_data.catalog.manifest import DataFile, Manifest, digest, manifest_name
from ncpl_data.catalog.outcome import Outcome, now
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

    def sources_of(self, files: Iterable[DataFile]) -> list[tuple[Path, str | None]]:
        """Return trusted files as `merge.scan_files` takes them."""
        return [(self.trusted(file), file.columns) for file in files]

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
        from ncpl_data.catalog.upsert import RunBatch, upsert

        batch = RunBatch(
            runs=runs,
            source=source,
            origin=origin,
            skipped=tuple(skipped),
            replacing=None if replacing is None else frozenset(replacing),
            cursor=cursor,
            tool_version=tool_version,
        )
        return upsert(self, batch, operation, sheet, dry_run=dry_run)

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
