"""Parquet files the way this catalog reads and writes them."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ncpl_data.catalog.disk import disk
from ncpl_data.catalog.errors import IntegrityError

ROW_GROUP_ROWS = 131_072
"""Small enough that one run's curve is found in milliseconds, large enough to compress."""
MAX_FILE_ROWS = 4_000_000


def read_parquet(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Return one Parquet file; a column it was written without is absent.

    Raises IntegrityError if it is missing or damaged.
    """
    try:
        with pq.ParquetFile(path) as file:
            known = set(file.schema_arrow.names)
            wanted = None if columns is None else [c for c in columns if c in known]
            return file.read(columns=wanted)
    except FileNotFoundError as error:
        raise IntegrityError(f"{path} is missing, although a manifest lists it") from error
    except (pa.ArrowException, OSError) as error:
        raise IntegrityError(f"{path} can not be read as Parquet: {error}") from error


def has_schema(path: Path, schema: pa.Schema) -> bool:
    """Return whether a file has exactly the columns of a schema.

    Raises IntegrityError if it is missing or damaged.
    """
    try:
        return bool(pq.read_schema(path).equals(schema))
    except (pa.ArrowException, OSError) as error:
        raise IntegrityError(f"{path} can not be read as Parquet: {error}") from error


def fingerprint(schema: pa.Schema) -> str:
    """Return eight digits that tell the columns of a file, and their types, from others."""
    text = "\n".join(f"{field.name} {field.type}" for field in schema)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def fit_schema(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return rows with exactly the columns of a schema; one they lack is null.

    A release may add columns, and files of older releases stay as they are.
    """
    if rows.schema.equals(schema):
        return rows
    columns = [
        rows[f.name].cast(f.type) if f.name in rows.column_names else pa.nulls(len(rows), f.type)
        for f in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


class FileWriter:
    """Writes one Parquet file, set the way every file of ours is written.

    Content-defined chunking keeps a re-upload of a grown table small.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        """Open a new file."""
        self.file = disk().create(path)
        try:
            self.writer = pq.ParquetWriter(  # writes the first bytes
                self.file,
                schema,
                compression="zstd",
                use_content_defined_chunking=True,
                store_schema=False,
            )
        except BaseException:
            self.file.close()
            raise

    def write_table(self, rows: pa.Table) -> None:
        """Append rows."""
        self.writer.write_table(rows, row_group_size=ROW_GROUP_ROWS)

    def close(self) -> None:
        """Finish the file."""
        try:
            self.writer.close()
        finally:
            self.file.close()


def write_parquet(rows: pa.Table, path: Path) -> None:
    """Write a table as one file."""
    with contextlib.closing(FileWriter(path, rows.schema)) as writer:
        writer.write_table(rows)


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with disk().open(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def at_run_boundaries(rows: pa.Table, max_rows: int) -> list[pa.Table]:
    """Return rows sorted by run cut into parts of about `max_rows`, never inside a run."""
    if rows.num_rows <= max_rows or "run_id" not in rows.column_names:
        return [rows]
    parts, start = [], 0
    while start < rows.num_rows:
        end = start + max_rows
        if end < rows.num_rows:
            end += run_length(rows["run_id"].slice(end - 1)) - 1
        parts.append(rows.slice(start, end - start))
        start = end
    return parts


def run_length(run_ids: pa.ChunkedArray) -> int:
    """Return how many rows at the start belong to the first run."""
    differs = pc.index(pc.equal(run_ids, run_ids[0]), value=False).as_py()
    return len(run_ids) if differs < 0 else int(differs)


class PartWriter:
    """Writes sorted batches into numbered files, and starts a new file only between runs."""

    def __init__(self, folder: Path, prefix: str, schema: pa.Schema, max_rows: int) -> None:
        """Name the files `prefix-00000.parquet` and on."""
        self.folder = folder
        self.prefix = prefix
        self.schema = schema
        self.max_rows = max_rows
        self.paths: list[Path] = []
        self.writer: FileWriter | None = None
        self.held: list[pa.Table] = []
        self.n_held = 0
        self.rows = 0
        self.last: Any = None

    def __enter__(self) -> Self:
        """Nothing is opened before the first row."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Write what is held, unless writing failed, and close the file."""
        try:
            if kind is None:
                self.flush()
        finally:
            self.close()

    def end_file_if_large(self, n_rows: int) -> None:
        """Let the next rows, which are of other runs, start a new file if this one is large."""
        self.flush()
        if self.rows >= n_rows:
            self.close()

    def next_path(self) -> Path:
        """Return the path of the next file, for a file that is put there whole."""
        self.flush()
        self.close()
        path = self.folder / f"{self.prefix}-{len(self.paths):05d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        self.paths.append(path)
        return path

    def add(self, rows: pa.Table) -> None:
        """Append rows that sort after all rows before them."""
        self.held.append(rows)
        self.n_held += rows.num_rows
        if self.n_held >= ROW_GROUP_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write the held rows as row groups, in a new file where the current one is full."""
        if not self.n_held:
            return
        rows = fit_schema(pa.concat_tables(self.held), self.schema)
        self.held, self.n_held = [], 0
        if self.writer is not None and self.rows >= self.max_rows:
            continued = run_length(pa.chunked_array([[self.last], *rows["run_id"].chunks])) - 1
            self.write(rows.slice(0, continued))
            rows = rows.slice(continued)
            if rows.num_rows:
                self.close()
        self.write(rows)

    def write(self, rows: pa.Table) -> None:
        """Write rows to the open file."""
        if rows.num_rows == 0:
            return
        if self.writer is None:
            self.writer = FileWriter(self.next_path(), self.schema)
        self.writer.write_table(rows)
        self.rows += rows.num_rows
        if "run_id" in rows.column_names:
            self.last = rows["run_id"][-1].as_py()

    def close(self) -> None:
        """Finish the open file."""
        if self.writer is not None:
            writer, self.writer = self.writer, None
            writer.close()
        self.rows = 0
