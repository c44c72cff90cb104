"""Manifests: the numbered JSON files that say which data files a catalog consists of.

One manifest lists the live files of all tables, so one commit covers them all. A commit creates
the next number; if somebody else created it first, the commit is prepared again on top of theirs.
Each names the SHA-256 of the one before it; old ones are packed (catalog/history.py).
Format for other readers: catalog/FORMAT.md.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from ncpl_data.catalog.errors import InputError, IntegrityError
from ncpl_data.catalog.folder import Storage
from ncpl_data.schema.validate import shorten

FORMAT = "ncpl-catalog/1"
TABLES = ("runs", "curves", "evals", "rejects", "ingests")
NAME = re.compile(r"manifests/(\d{10})\.json")
DATA_FILE = re.compile(r"data/[a-z]+/[A-Za-z0-9_][A-Za-z0-9._-]*\.parquet")
"""What a data file may be called, so that none lies outside the catalog."""

SOURCE = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class DataFile:
    """One immutable Parquet file of one table."""

    path: str
    """Relative to the catalog folder."""
    sha256: str
    bytes: int
    rows: int
    source: str
    min_run_id: str | None = None
    max_run_id: str | None = None
    columns: str | None = None
    """Fingerprint of its columns and their types; None in files of older releases."""
    hashed: bool = False
    """Whether each run's hash was taken from the values that were written: then the file's
    SHA-256 vouches for it. In files of older releases it must be taken again."""

    def entry(self) -> dict[str, Any]:
        """Return the file's entry in a manifest; what is not said is left out."""
        return {k: v for k, v in vars(self).items() if v is not None and v is not False}


DATA_FILE_KEYS = {f.name for f in fields(DataFile)}


def data_file(entry: Mapping[str, Any]) -> DataFile:
    """Return a file entry; keys of later minor releases are passed over.

    Raises ValueError for an entry that names no data file.
    """
    file = DataFile(**{key: value for key, value in entry.items() if key in DATA_FILE_KEYS})
    texts = (
        *(file.path, file.sha256, file.source),
        *(text or "" for text in (file.min_run_id, file.max_run_id, file.columns)),
    )
    if not (
        all(isinstance(text, str) for text in texts)
        and all(type(count) is int and count >= 0 for count in (file.bytes, file.rows))
        and DATA_FILE.fullmatch(file.path)
        and SOURCE.fullmatch(file.source)
        and isinstance(file.hashed, bool)
    ):
        raise ValueError(f"the entry of {shorten(file.path)} is none of a data file")
    return file


def check_head(data: Mapping[str, Any]) -> None:
    """Raise ValueError if the values of a manifest beside its files are of another type."""
    version, sheets = data["version"], data["sources"]
    heads = (data[key] for key in ("operation", "created_at", "schema_version"))
    if type(version) is not int or version < 1 or not all(isinstance(h, str) for h in heads):
        raise ValueError("version, operation, created_at or schema_version is of another type")
    if not all(isinstance(data.get(key, ""), str) for key in ("parent", "catalog", "sha256")):
        raise ValueError("parent, catalog or sha256 is of another type")
    known = data.get("acknowledged", [])
    if not isinstance(known, list) or not all(isinstance(name, str) for name in known):
        raise ValueError("acknowledged is no list of names")
    if not all(isinstance(part, dict) for part in (sheets, data.get("cursors", {}))):
        raise ValueError("sources or cursors is no object")
    for sheet in sheets.values():
        named = (sheet, *sheet["origins"])
        texts = (*(sheet[key] for key in ("title", "citation", "url")), *(s["name"] for s in named))
        if not all(isinstance(text, str) for text in (*texts, *sheet["traps"])):
            raise ValueError(f"{shorten(sheet)} is no data sheet")


@dataclass(frozen=True)
class Manifest:
    """The state of a catalog after one commit."""

    version: int
    operation: str
    """The command that made it, for people."""
    created_at: str
    schema_version: str
    tables: Mapping[str, tuple[DataFile, ...]] = field(
        default_factory=lambda: dict.fromkeys(TABLES, ())
    )
    sources: Mapping[str, Any] = field(default_factory=dict)
    """Data sheet of each source that was ingested, by name."""
    cursors: Mapping[str, Any] = field(default_factory=dict)
    """How far each source was read, in the source's own terms, by name."""
    parent: str | None = None
    """SHA-256 of the manifest before it; None for the first, and from older releases."""
    catalog: str | None = None
    """What tells this catalog from others: made up with its first commit."""
    acknowledged: tuple[str, ...] = ()
    """Names of files whose loss or damage this commit, a repair, has dealt with."""
    sha256: str | None = field(default=None, compare=False)
    """Its own, as read."""

    @property
    def submitted(self) -> frozenset[str]:
        """The sources that submissions fill: their sheets name no origin an adapter reads."""
        return frozenset(name for name, sheet in self.sources.items() if not sheet.get("origins"))

    def to_json(self) -> bytes:
        """Return the manifest as its file's bytes."""
        content = self.content()
        return render(content | {"sha256": digest(content)})

    def content(self) -> dict[str, Any]:
        """Return the manifest as a JSON object, without its own digest."""
        content: dict[str, Any] = {
            "format": FORMAT,
            "version": self.version,
            "operation": self.operation,
            "created_at": self.created_at,
            "schema_version": self.schema_version,
            "tables": {t: [f.entry() for f in files] for t, files in self.tables.items()},
            "sources": self.sources,
            "cursors": self.cursors,
        }
        if self.parent:
            content["parent"] = self.parent
        if self.catalog:
            content["catalog"] = self.catalog
        if self.acknowledged:
            content["acknowledged"] = list(self.acknowledged)
        return content

    @classmethod
    def from_json(cls, content: bytes, name: str) -> Manifest:
        """Return the manifest of a file's bytes.

        Raises IntegrityError if it is damaged, InputError if it is of another format.
        """
        known = hashlib.sha256(content).hexdigest(), name
        if known not in PARSED:
            if len(PARSED) >= MAX_PARSED:
                PARSED.clear()
            PARSED[known] = cls.parsed(content, name)
        return PARSED[known]

    @classmethod
    def parsed(cls, content: bytes, name: str) -> Manifest:
        """Return the manifest of a file's bytes, whether or not it was read before."""
        try:
            return cls.from_content(json.loads(content), name)
        except (ValueError, RecursionError) as error:
            if isinstance(error, InputError):
                raise
            raise damaged(name, error) from error

    @classmethod
    def from_content(cls, data: Any, name: str) -> Manifest:
        """Return the manifest of a JSON value, as `from_json` does."""
        try:
            if not isinstance(data, dict):
                raise ValueError(f"it holds {shorten(data)}")
            given = data.get("sha256")
            own = digest(data)  # taken in any case: it refuses text that is no Unicode
            if given is not None and given != own:
                raise ValueError("its sha256 is not that of its content")
            if data["format"] != FORMAT:
                raise InputError(
                    f'{name} is of format "{data["format"]}"; this program reads "{FORMAT}". '
                    "Install the release that wrote it"
                )
            check_head(data)
            return cls(
                version=data["version"],
                operation=data["operation"],
                created_at=data["created_at"],
                schema_version=data["schema_version"],
                tables={t: tuple(data_file(f) for f in data["tables"][t]) for t in TABLES},
                sources=data["sources"],
                cursors=data.get("cursors", {}),
                parent=data.get("parent"),
                catalog=data.get("catalog"),
                acknowledged=tuple(data.get("acknowledged", ())),
                sha256=own,
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            if isinstance(error, InputError):
                raise
            raise damaged(name, error) from error


MAX_PARSED = 4
PARSED: dict[tuple[str, str], Manifest] = {}
"""The manifests this process read last, by the hash of their bytes: each call reads the newest."""


def damaged(name: str, error: Exception) -> IntegrityError:
    """Return the error of a manifest that can not be read."""
    return IntegrityError(
        f"{name} is damaged ({error}); restore it from a copy, or see what can be saved: "
        "ncpl-data repair"
    )


def render(content: Mapping[str, Any]) -> bytes:
    """Return the bytes of a manifest's file."""
    # Without indentation the encoder in C does it, ten times as fast.
    return json.dumps(content, sort_keys=True, ensure_ascii=False).encode()


def digest(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a manifest without its own digest."""
    stated = {key: value for key, value in content.items() if key != "sha256"}
    return hashlib.sha256(render(stated)).hexdigest()


def loose(folder: Storage) -> list[int]:
    """Return the numbers of the manifests that are files of their own, ascending."""
    found = [NAME.fullmatch(name) for name in folder.names("manifests")]
    return sorted(int(match[1]) for match in found if match)


def spans(numbers: list[int]) -> str:
    """Return ascending numbers as text, such as "1 to 3, 5"."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1] = [parts[-1][0], number]
        else:
            parts.append([number])
    return ", ".join(" to ".join(map(str, part)) for part in parts)


def manifest_name(version: int) -> str:
    """Return the file name of a manifest."""
    return f"manifests/{version:010d}.json"
