"""What a source is: its data sheet, its files, and how they are read."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import pyarrow as pa

from ncpl_data.catalog.curve import Curve
from ncpl_data.catalog.errors import RawFileError
from ncpl_data.catalog.record import Run, Skipped


@dataclass(frozen=True)
class RawFile:
    """One upstream file, pinned by its hash."""

    name: str
    sha256: str
    """Empty for a recording of a live project, which is another one each time."""
    n_bytes: int
    url: str | None = None
    bundled: str | None = None
    """Where the file ships inside the package, as "package:path"; None if it is not shipped."""

    def bundled_path(self) -> Path | None:
        """Return the shipped file's path, if it is shipped."""
        if self.bundled is None:
            return None
        package, _, path = self.bundled.partition(":")
        with as_file(files(package) / path) as found:  # packages are always installed unzipped
            return found


@dataclass(frozen=True)
class Origin:
    """One place the runs of a source can be read from."""

    name: str
    """What `ingest` prints, such as "upstream" or "scalebench"."""
    title: str
    licence: str | None
    citation: str
    url: str
    revision: str
    files: tuple[RawFile, ...]
    n_runs: int
    """Runs its pinned files hold."""
    read: Callable[[Mapping[str, Path]], Iterator[Run | Skipped]]
    """Pure: files in, runs out; no network, no clock."""
    is_copy: bool = False
    """True for a third party's copy; the owner's own record replaces it."""

    def bundled_paths(self) -> dict[str, Path] | None:
        """Return the shipped files by name, or None if any is not shipped."""
        found = {file.name: file.bundled_path() for file in self.files}
        paths = {name: path for name, path in found.items() if path is not None}
        return paths if len(paths) == len(self.files) else None


@dataclass(frozen=True)
class Source:
    """The data sheet of one publisher's logs."""

    name: str
    title: str
    owner: str
    licence: str | None
    """Licence of the owner's files; None where the owner states none."""
    citation: str
    url: str
    origins: tuple[Origin, ...]
    """In order of preference; the owner's own files come first."""
    traps: tuple[str, ...] = ()

    @property
    def is_live(self) -> bool:
        """True if there is nothing pinned to read: it has to be recorded first."""
        return not any(file.sha256 for origin in self.origins for file in origin.files)

    @property
    def is_shipped(self) -> bool:
        """Whether the package holds the files of one origin."""
        return any(origin.bundled_paths() is not None for origin in self.origins)

    def sheet(self) -> dict[str, Any]:
        """Return the sheet as a JSON object."""
        return {
            "name": self.name,
            "title": self.title,
            "owner": self.owner,
            "licence": self.licence,
            "citation": self.citation,
            "url": self.url,
            "revision": self.origins[0].revision,
            "origins": [
                {
                    "name": origin.name,
                    "title": origin.title,
                    "licence": origin.licence,
                    "citation": origin.citation,
                    "url": origin.url,
                    "revision": origin.revision,
                    "runs": origin.n_runs,
                    "is_copy": origin.is_copy,
                    "is_bundled": origin.bundled_paths() is not None,
                    "files": [
                        {"name": f.name, "sha256": f.sha256, "bytes": f.n_bytes, "url": f.url}
                        for f in origin.files
                    ],
                }
                for origin in self.origins
            ],
            "traps": list(self.traps),
        }


def csv_rows(path: Path, source: str, columns: Sequence[str]) -> Iterator[tuple[int, Any]]:
    """Yield (line number, row) of a CSV file with a header; line 1 is the header.

    Raises RawFileError for a missing column, a row of another length, or text that is not UTF-8.
    """
    name = path.name
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, restkey="", restval=None)
            header = reader.fieldnames or []
            missing = [c for c in columns if c not in header]
            if missing:
                raise RawFileError(
                    f"{source} {name} line 1: no column {quoted(missing)}; found "
                    f"{quoted(list(header)[:20])}. Take the file again from the source",
                    source=source,
                    file=name,
                    line=1,
                )
            for row in reader:
                if "" in row or None in row.values():
                    n = sum(value is not None for key, value in row.items() if key)
                    raise RawFileError(
                        f"{source} {name} line {reader.line_num}: found {n} values, expected "
                        f"{len(header)}; the file is cut off or altered. Take it again from the "
                        "source",
                        source=source,
                        file=name,
                        line=reader.line_num,
                    )
                yield reader.line_num, row
    except UnicodeDecodeError as error:
        raise RawFileError(
            f"{source} {name}: byte {error.start} is not UTF-8 text; expected a CSV file",
            source=source,
            file=name,
        ) from error
    except csv.Error as error:
        raise RawFileError(
            f"{source} {name}: not a CSV file ({error})", source=source, file=name
        ) from error


@dataclass(frozen=True)
class CsvRow:
    """One row of a CSV file that knows its place, so that a bad value can be named."""

    source: str
    file: str
    line: int
    values: Mapping[str, str]

    def text(self, column: str) -> str:
        """Return a value as it stands."""
        return self.values[column]

    def number(self, column: str) -> float:
        """Return a finite number.

        Raises RawFileError for anything else.
        """
        try:
            value = float(self.values[column])
        except ValueError:
            value = float("nan")
        if value - value != 0:  # NaN and infinity
            raise self.error(column, "a finite number")
        return value

    def count(self, column: str) -> int:
        """Return a whole number of at least 0.

        Raises RawFileError for anything else.
        """
        value = self.number(column)
        if value < 0 or value != int(value):
            raise self.error(column, "a whole number of at least 0")
        return int(value)

    def error(self, column: str, expected: str) -> RawFileError:
        """Return the error that names this row and column."""
        return RawFileError(
            f'{self.source} {self.file} line {self.line}: {column} is "{self.values[column][:80]}";'
            f" expected {expected}. Correct the file or take it again from the source",
            source=self.source,
            file=self.file,
            line=self.line,
        )


def quoted(names: list[str]) -> str:
    """Return names for a message."""
    return ", ".join(f'"{name[:40]}"' for name in names)


def repaired(was: Any, evidence: str) -> dict[str, Any]:
    """Return the origin of a value that replaces, or removes, a wrong one of upstream."""
    return {"kind": "repaired", "was": was, "evidence": evidence}


def metric_of(curve: Curve, **about: Any) -> dict[str, Any]:
    """Return a curve's entry in `metrics`: what is known about it, and its last point."""
    last = {"step": int(curve.step[-1]), "value": float(curve.value[-1])}
    return {"name": curve.metric, **about, **last}


def packed_lines(path: Path, source: str) -> list[dict[str, Any]]:
    """Return the objects of a file of compressed JSON lines.

    Raises RawFileError if it is not that.
    """
    try:
        with pa.input_stream(path, compression="zstd") as file:
            found = [json.loads(line) for line in file.read().splitlines()]
        if not all(isinstance(one, dict) for one in found):
            raise ValueError("a line is no object")
    except (OSError, ValueError) as error:
        raise RawFileError(
            f"{source} {path.name}: not compressed JSON lines ({error}). Take it again from the "
            "source",
            source=source,
            file=path.name,
        ) from error
    return found
