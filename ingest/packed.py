"""Many small upstream files, shipped byte for byte in one Parquet file."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from ncpl_data.catalog.curve import Curve
from ncpl_data.catalog.errors import RawFileError
from ncpl_data.catalog.record import Run, Skipped
from ncpl_data.ingest.base import CsvRow, Origin, RawFile, Source

SCHEMA = pa.schema([("name", pa.string()), ("sha256", pa.string()), ("content", pa.binary())])

Read = Callable[[Mapping[str, bytes]], Iterator[Run | Skipped]]
"""A pure reader of file contents by name."""


def write_packed(contents: Mapping[str, bytes], path: Path) -> None:
    """Write files into one Parquet file, in order of name; equal files give equal bytes."""
    rows = [
        {"name": name, "sha256": hashlib.sha256(contents[name]).hexdigest(), "content": content}
        for name, content in sorted(contents.items())
    ]
    pq.write_table(
        pa.Table.from_pylist(rows, schema=SCHEMA),
        path,
        compression="zstd",
        compression_level=22,
        use_dictionary=False,
        write_statistics=False,
        data_page_size=64 << 20,  # one page: the files share most of their text
        store_schema=False,
    )


def read_packed(path: Path, source: str) -> dict[str, bytes]:
    """Return the files of a packed file by name.

    Raises RawFileError if it is not one, or if a file's bytes are not those it was packed with.
    """
    try:
        table = pq.read_table(path, columns=SCHEMA.names)
    except (pa.ArrowInvalid, OSError) as error:
        raise RawFileError(
            f"{source} {path.name}: not a file of packed originals ({error}). Install the "
            "program again, or read the originals: --from FOLDER",
            source=source,
            file=path.name,
        ) from error
    contents: dict[str, bytes] = {}
    for row in table.to_pylist():
        if hashlib.sha256(row["content"]).hexdigest() != row["sha256"]:
            raise RawFileError(
                f"{source} {path.name}: {row['name']} is altered; expected sha256 "
                f"{row['sha256'][:16]}...",
                source=source,
                file=path.name,
            )
        contents[row["name"]] = row["content"]
    return contents


def from_packed(read: Read, source: str) -> Callable[[Mapping[str, Path]], Iterator[Run | Skipped]]:
    """Return a reader of the shipped form: the files of every packed file together."""

    def read_files(files: Mapping[str, Path]) -> Iterator[Run | Skipped]:
        contents: dict[str, bytes] = {}
        for path in files.values():
            contents |= read_packed(path, source)
        return read(contents)

    return read_files


def from_originals(
    read: Read, also: str | None = None
) -> Callable[[Mapping[str, Path]], Iterator[Run | Skipped]]:
    """Return a reader of the upstream files themselves.

    `also` is a pattern of files that are read where the same folder holds them.
    """

    def read_files(files: Mapping[str, Path]) -> Iterator[Run | Skipped]:
        contents = {name: path.read_bytes() for name, path in files.items()}
        if also is not None:
            name, path = next(iter(files.items()))
            root = path.parents[name.count("/")]
            for found in sorted(root.glob(also)):
                contents[found.relative_to(root).as_posix()] = found.read_bytes()
        return read(contents)

    return read_files


def from_compressed(read: Read) -> Callable[[Mapping[str, Path]], Iterator[Run | Skipped]]:
    """Return a reader of upstream files, some of them compressed one by one (NAME.zst)."""

    def read_files(files: Mapping[str, Path]) -> Iterator[Run | Skipped]:
        contents = {}
        for name, path in files.items():
            compression = "zstd" if name.endswith(".zst") else None
            with pa.input_stream(path, compression=compression) as file:
                contents[name.removesuffix(".zst")] = file.read()
        return read(contents)

    return read_files


def pinned_files(pins: str, base_url: str | None) -> tuple[RawFile, ...]:
    """Return files from lines of "sha256 bytes path"; the path goes on the URL, if there is one."""
    files = []
    for line in pins.split("\n"):
        if line:
            digest, n_bytes, name = line.split(" ", 2)
            url = None if base_url is None else f"{base_url}/{quote(name)}"
            files.append(RawFile(name, digest, int(n_bytes), url=url))
    return tuple(files)


def sha256(content: bytes) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def json_object(content: bytes, source: str, name: str) -> dict[str, Any]:
    """Return the JSON object a file holds.

    Raises RawFileError for anything else.
    """
    try:
        value = json.loads(content)
    except ValueError as error:
        raise RawFileError(
            f"{source} {name}: not JSON ({error}); the file is cut off or altered. Take it "
            "again from the source",
            source=source,
            file=name,
        ) from error
    if not isinstance(value, dict):
        raise RawFileError(
            f"{source} {name}: found a {type(value).__name__}, expected a JSON object",
            source=source,
            file=name,
        )
    return value


def csv_columns(
    content: bytes, source: str, name: str, columns: Mapping[str, pa.DataType]
) -> dict[str, Any]:
    """Return named columns of a CSV file as arrays of NumPy; text stays objects.

    Raises RawFileError if it is no CSV file, lacks a column or holds a value of another type.
    """
    options = pa_csv.ConvertOptions(column_types=columns, include_columns=list(columns))
    try:
        table = pa_csv.read_csv(pa.BufferReader(content), convert_options=options)
    except (pa.ArrowInvalid, KeyError) as error:
        raise RawFileError(
            f"{source} {name}: expected CSV columns {', '.join(columns)} ({error}); the file is "
            "cut off or altered. Take it again from the source",
            source=source,
            file=name,
        ) from error
    return {column: table[column].to_numpy() for column in columns}


def csv_header(content: bytes) -> list[str]:
    """Return the column names of a CSV file."""
    return next(csv.reader([content.split(b"\n", 1)[0].decode("utf-8", "replace").strip()]), [])


def csv_dicts(
    content: bytes, source: str, name: str, columns: Sequence[str]
) -> Iterator[tuple[int, CsvRow]]:
    """Yield (line number, row) of a small CSV file with a header; line 1 is the header.

    Raises RawFileError for text that is not UTF-8, a missing column or a row of another length.
    """
    try:
        reader = csv.DictReader(io.StringIO(content.decode("utf-8"), newline=""), restval=None)
        missing = set(columns) - set(reader.fieldnames or ())
        if missing:
            raise ValueError(f"no column {', '.join(sorted(missing))}")
        for row in reader:
            if None in row or None in row.values():
                raise ValueError(f"line {reader.line_num} has another length than the header")
            yield reader.line_num, CsvRow(source, name, reader.line_num, row)
    except (ValueError, csv.Error) as error:
        if isinstance(error, RawFileError):
            raise
        raise RawFileError(
            f"{source} {name}: {error}; the file is cut off or altered. Take it again from the "
            "source",
            source=source,
            file=name,
        ) from error


def curve_of(
    source: str, name: str, metric: str, step: Any, value: Any, tokens: Any = None
) -> Curve:
    """Return a curve of one file.

    Raises RawFileError where the points break the laws of a curve.
    """
    try:
        return Curve(metric, step, value, tokens)
    except ValueError as error:
        raise RawFileError(
            f"{source} {name}: {error}. Take the file again from the source",
            source=source,
            file=name,
        ) from error


def packed_source(
    read: Read,
    *,
    name: str,
    title: str,
    owner: str,
    licence: str,
    citation: str,
    url: str,
    revision: str,
    n_runs: int,
    files_title: str,
    sha256: str,
    n_bytes: int,
    pins: str,
    traps: tuple[str, ...],
    folder: str = "",
    also: str | None = None,
    compressed: str | None = None,
) -> Source:
    """Return the sheet of a source whose files are shipped in one, and each at its owner's.

    The shipped bytes are the owner's, so they come first: there is nothing to download. `sha256`
    and `n_bytes` are of the packed file data/NAME/NAME.parquet; `folder` is where the files lie in
    the repository, `also` a pattern of further files to read, `compressed` the pins of a third
    form: the same files compressed one by one, for --from.
    """
    packed = RawFile(
        f"{name}.parquet",
        sha256,
        n_bytes,
        bundled=f"ncpl_data.ingest:data/{name}/{name}.parquet",
    )
    raw_url = url.replace("https://github.com/", "https://raw.githubusercontent.com/")
    shipped = Origin(
        name="shipped",
        title=files_title,
        licence=licence,
        citation=citation,
        url=url,
        revision=revision,
        files=(packed,),
        n_runs=n_runs,
        read=from_packed(read, name),
    )
    files = pinned_files(pins, f"{raw_url}/{revision}{folder}")
    upstream = replace(shipped, name="upstream", files=files, read=from_originals(read, also))
    origins = [shipped, upstream]
    if compressed is not None:
        files = pinned_files(compressed, None)
        origins.append(replace(shipped, name="compressed", files=files, read=from_compressed(read)))
    return Source(
        name=name,
        title=title,
        owner=owner,
        licence=licence,
        citation=citation,
        url=url,
        origins=tuple(origins),
        traps=traps,
    )
