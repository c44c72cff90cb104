"""The catalog: upsert runs, read tables, commit."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ncpl_data.catalog.errors import ConflictError, IntegrityError
from ncpl_data.catalog.folder import LocalFolder, write_error
from ncpl_data.catalog.manifest import DataFile, Manifest, manifest_name, read_manifest
from ncpl_data.catalog.record import Run, Skipped, canonical_json
from ncpl_data.catalog.tables import curves_table, evals_table, runs_table, table_schemas
from ncpl_data.schema.load import SCHEMA_VERSION

MAX_COMMIT_TRIES = 50
RUN_TABLES = ("runs", "curves", "evals")

Files = dict[str, tuple[DataFile, ...]]


@dataclass(frozen=True)
class Outcome:
    """What an upsert did, or would do."""

    added: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()
    unchanged: int = 0
    rejected: Mapping[str, int] = field(default_factory=dict)
    """Refused records by reason."""
    version: int | None = None
    """The manifest that holds the result; None where nothing had to be written."""

    @property
    def n_rejected(self) -> int:
        """Refused records in all."""
        return sum(self.rejected.values())

    def as_dict(self) -> dict[str, Any]:
        """Return the counts as a JSON object."""
        return {
            "added": len(self.added),
            "updated": len(self.updated),
            "unchanged": self.unchanged,
            "rejected": self.n_rejected,
            "rejected_by_reason": dict(sorted(self.rejected.items())),
            "manifest": self.version,
        }


class Catalog:
    """A folder of immutable Parquet files and the manifests that list them."""

    def __init__(self, root: Path, version: int | None = None) -> None:
        """Open a catalog, by default at its newest state; the folder may not exist yet."""
        self.folder = LocalFolder(root)
        self.version = version

    @property
    def root(self) -> Path:
        """The catalog's folder."""
        return self.folder.root

    def manifest(self) -> Manifest:
        """Return the current state; version 0 where nothing was ever written."""
        found = read_manifest(self.folder, self.version)
        return found or Manifest(0, "empty", now(), SCHEMA_VERSION)

    def paths(self, table: str, manifest: Manifest | None = None) -> list[Path]:
        """Return the live files of one table."""
        files = (manifest or self.manifest()).tables[table]
        return [self.folder.path(f.path) for f in files]

    def read(
        self,
        table: str,
        columns: list[str] | None = None,
        *,
        source: str | None = None,
        manifest: Manifest | None = None,
    ) -> pa.Table:
        """Return one table, whole or of one source.

        Raises IntegrityError if a file is missing or can not be read.
        """
        schema = table_schemas()[table]
        files = (manifest or self.manifest()).tables[table]
        if source is not None:
            files = tuple(f for f in files if f.source == source)
        if columns is not None:
            schema = pa.schema([schema.field(c) for c in columns])
        parts = [read_parquet(self.folder.path(f.path), columns) for f in files]
        return pa.concat_tables(parts, promote_options="default") if parts else schema.empty_table()

    def upsert(
        self,
        runs: Sequence[Run],
        *,
        source: str,
        operation: str,
        origin: str,
        skipped: Iterable[Skipped] = (),
        sheet: Mapping[str, Any] | None = None,
        dry_run: bool = False,
        tool_version: str = "",
    ) -> Outcome:
        """Bring the runs of one source up to date and keep its refused records.

        New runs are added, changed ones replace their row, curves and evaluations, equal ones
        are left alone. The owner's record replaces a third party's copy; a copy never replaces
        the owner's. Nothing is written where nothing changed.
        """
        rejects = list(skipped)
        incoming = {run.run_id: run for run in runs}
        if len(incoming) != len(runs):
            raise ValueError(f"{source}: {len(runs)} runs share {len(incoming)} ids")

        def prepare(manifest: Manifest) -> tuple[Files | None, Outcome]:
            outcome, replaced = self.compare(manifest, incoming, source)
            outcome = replace(outcome, rejected=count_reasons(rejects))
            reject_rows = rejects_table(source, rejects)
            same_rejects = reject_rows.equals(
                self.read("rejects", source=source, manifest=manifest).sort_by("ref")
            )
            if dry_run or (not outcome.added and not outcome.updated and same_rejects):
                return None, outcome
            changed = [incoming[i] for i in (*outcome.added, *outcome.updated)]
            files = dict(manifest.tables)
            tables = {
                "runs": runs_table(sorted(changed, key=lambda r: r.run_id)),
                "curves": curves_table(changed),
                "evals": evals_table(changed),
            }
            for name in RUN_TABLES:
                kept = self.without(files[name], name, source, replaced)
                files[name] = (*kept, *self.write(name, source, tables[name]))
            if not same_rejects:
                kept = tuple(f for f in files["rejects"] if f.source != source)
                files["rejects"] = (*kept, *self.write("rejects", source, reject_rows))
            row = ingest_row(source, origin, outcome, tool_version)
            files["ingests"] = (*files["ingests"], *self.write("ingests", source, row))
            return files, outcome

        return self.commit(prepare, operation, {} if sheet is None else {source: sheet})

    def compare(
        self, manifest: Manifest, incoming: Mapping[str, Run], source: str
    ) -> tuple[Outcome, set[str]]:
        """Return what an upsert would do, and the ids whose stored rows must go."""
        columns = ["run_id", "run_hash", "is_copy"]
        stored = self.read("runs", columns, source=source, manifest=manifest).to_pydict()
        known = {
            run_id: (digest, is_copy)
            for run_id, digest, is_copy in zip(
                stored["run_id"], stored["run_hash"], stored["is_copy"], strict=True
            )
        }
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
        sheets: Mapping[str, Any],
    ) -> Outcome:
        """Prepare a change on the newest state and make it the next manifest, or try again.

        Raises ConflictError if other writers kept winning.
        """
        for _ in range(MAX_COMMIT_TRIES):
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
                sources={**manifest.sources, **sheets},
            )
            name = manifest_name(following.version)
            if self.folder.put_bytes_if_absent(name, following.to_json()):
                return replace(outcome, version=following.version)
        raise ConflictError(
            f"{self.root}: other writers committed first {MAX_COMMIT_TRIES} times; try again"
        )

    def without(
        self, files: tuple[DataFile, ...], table: str, source: str, run_ids: set[str]
    ) -> tuple[DataFile, ...]:
        """Return a table's files without the rows of some runs.

        Only files of the source whose key range holds one of the runs are read and rewritten.
        """
        if not run_ids:
            return files
        kept: list[DataFile] = []
        for file in files:
            if file.source != source or not overlaps(file, run_ids):
                kept.append(file)
                continue
            rows = read_parquet(self.folder.path(file.path))
            gone = pc.is_in(rows["run_id"], value_set=pa.array(sorted(run_ids)))
            rest = rows.filter(pc.invert(gone))
            if rest.num_rows == rows.num_rows:
                kept.append(file)
            else:
                kept.extend(self.write(table, source, rest))
        return tuple(kept)

    def write(self, table: str, source: str, rows: pa.Table) -> tuple[DataFile, ...]:
        """Write rows as one new file named by its content; return it, or nothing if empty."""
        if rows.num_rows == 0:
            return ()
        temporary = self.folder.temporary(f"data/{table}/new")
        try:
            write_parquet(rows, temporary)
            digest = file_sha256(temporary)
            size = temporary.stat().st_size
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise write_error(temporary, error) from error
        name = f"data/{table}/{source}-{digest[:24]}.parquet"
        self.folder.put_if_absent(name, temporary)
        keys = pc.min_max(rows["run_id"]).as_py() if "run_id" in rows.column_names else {}
        return (
            DataFile(
                path=name,
                sha256=digest,
                bytes=size,
                rows=rows.num_rows,
                source=source,
                min_run_id=keys.get("min"),
                max_run_id=keys.get("max"),
            ),
        )


def now() -> str:
    """Return the time, UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def overlaps(file: DataFile, run_ids: set[str]) -> bool:
    """Return whether a file's key range holds one of the runs."""
    if file.min_run_id is None or file.max_run_id is None:
        return True
    return any(file.min_run_id <= run_id <= file.max_run_id for run_id in run_ids)


def read_parquet(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Return one Parquet file.

    Raises IntegrityError if it is missing or damaged.
    """
    try:
        return pq.read_table(path, columns=columns, partitioning=None)
    except FileNotFoundError as error:
        raise IntegrityError(f"{path} is missing, although a manifest lists it") from error
    except (pa.ArrowInvalid, OSError) as error:
        raise IntegrityError(f"{path} can not be read as Parquet: {error}") from error


def write_parquet(rows: pa.Table, path: Path) -> None:
    """Write a table the way every file of ours is written.

    Content-defined chunking keeps a re-upload of a grown table small.
    """
    pq.write_table(
        rows, path, compression="zstd", use_content_defined_chunking=True, store_schema=False
    )


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def count_reasons(skipped: Sequence[Skipped]) -> dict[str, int]:
    """Return how often each reason was given."""
    counts: dict[str, int] = {}
    for item in skipped:
        counts[item.reason] = counts.get(item.reason, 0) + 1
    return counts


def rejects_table(source: str, skipped: Sequence[Skipped]) -> pa.Table:
    """Return refused records as the table `rejects`, sorted by what names them."""
    rows = [
        {
            "source": source,
            "ref": item.ref,
            "reason": item.reason,
            "detail": item.detail,
            "payload": None if item.payload is None else canonical_json(item.payload),
            "schema_version": SCHEMA_VERSION,
        }
        for item in sorted(skipped, key=lambda s: s.ref)
    ]
    return pa.Table.from_pylist(rows, schema=table_schemas()["rejects"])


def ingest_row(source: str, origin: str, outcome: Outcome, tool_version: str) -> pa.Table:
    """Return the row of the table `ingests` for one commit."""
    row = {
        "ingest_id": uuid.uuid4().hex,
        "source": source,
        "origin": origin,
        "at": datetime.now(UTC),
        "added": len(outcome.added),
        "updated": len(outcome.updated),
        "unchanged": outcome.unchanged,
        "rejected": outcome.n_rejected,
        "tool_version": tool_version,
    }
    return pa.Table.from_pylist([row], schema=table_schemas()["ingests"])
