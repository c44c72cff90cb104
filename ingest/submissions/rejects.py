"""Refused documents, kept whole beside the catalog until they are mended or dropped.

They lie in a folder of their own (`<catalog>-rejects`), one JSON file each, so that nothing that
was refused ever changes a byte of the catalog.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import platformdirs

from ncpl_data.catalog.bucket import is_bucket
from ncpl_data.catalog.errors import InputError, IntegrityError
from ncpl_data.ingest.secrets import scrubbed, without_secrets
from ncpl_data.ingest.submissions.documents import Document, canonical
from ncpl_data.schema.load import SCHEMA_VERSION
from ncpl_data.schema.validate import Problem

FORMAT = "ncpl-reject/1"
ID_LENGTH = 12


@dataclass(frozen=True)
class Reject:
    """One refused document."""

    id: str
    """The first digits of the hash of what was refused."""
    file: str
    """As the user named it."""
    problems: tuple[Problem, ...]
    first_seen: str
    schema_version: str
    run_id: str | None = None
    line: int | None = None
    pointer: str = ""
    folder: str | None = None
    """Where curve files it names lie."""
    document: Any = None
    text: str | None = None
    """What was read, where it could not be parsed."""
    base64: str | None = None
    """The same, where it is no text."""

    def as_document(self) -> Document:
        """Return what was refused, to be submitted again.

        Raises InputError if it was not a document at all.
        """
        if self.document is None:
            raise InputError(
                f"reject {self.id}: {self.file} could not be read ({self.problems[0].found}); "
                f"mend it and submit it again, then: ncpl-data rejects drop {self.id}"
            )
        folder = None if self.folder is None else Path(self.folder)
        return Document(self.file, self.document, line=self.line, folder=folder)

    def beside(self, mended: Document) -> Document:
        """Return a mended document; a curve file that is not beside it lies where this one lay."""
        curves = mended.content.get("curves") if isinstance(mended.content, dict) else None
        name = curves.get("file") if isinstance(curves, dict) else None
        if not isinstance(name, str) or not mended.folder or not self.folder:
            return mended
        is_there = (mended.folder / name).is_file()
        return mended if is_there else replace(mended, folder=Path(self.folder))

    def as_dict(self) -> dict[str, Any]:
        """Return the reject as a JSON object."""
        found = {k: v for k, v in asdict(self).items() if v is not None}
        return {"format": FORMAT, **found, "problems": [p.as_dict() for p in self.problems]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Reject:
        """Return the reject of a JSON object."""
        values = {k: v for k, v in data.items() if k not in ("format", "problems")}
        problems = tuple(Problem(**p) for p in data["problems"])
        return cls(**values, problems=problems)


class Rejects:
    """The folder of refused documents of one catalog."""

    def __init__(self, catalog_root: Path) -> None:
        """Take the catalog's folder; neither folder need exist yet."""
        if is_bucket(catalog_root):  # nothing lies beside a bucket: the user's own data folder
            address = hashlib.sha256(str(catalog_root).encode()).hexdigest()[:16]
            root = platformdirs.user_data_path("ncpl-data") / "buckets" / address
        else:
            root = catalog_root.resolve()
        self.folder = root.with_name(f"{root.name}-rejects")

    def keep(self, document: Document, problems: Sequence[Problem]) -> Reject:
        """Keep a refused document and return it; the same one again takes no more room.

        Keys and passwords inside it are not kept.
        """
        content, text, encoded = scrubbed(document.content), None, None
        if content is None and document.raw is not None:
            try:
                text = without_secrets(document.raw.decode("utf-8"))
            except UnicodeDecodeError:
                encoded = base64.b64encode(document.raw).decode("ascii")
        has_content = content is not None or document.raw
        whole = canonical([content, text, encoded] if has_content else document.file)
        digest = hashlib.sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()[:ID_LENGTH]
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        known = self.folder / f"{digest}.json"
        reject = Reject(
            id=digest,
            file=document.file,
            run_id=document.run_id,
            problems=tuple(problems),
            first_seen=read_reject(known).first_seen if known.is_file() else now,
            schema_version=SCHEMA_VERSION,
            line=document.line,
            pointer=document.pointer,
            folder=None if document.folder is None else str(document.folder.resolve()),
            document=content,
            text=text,
            base64=encoded,
        )
        self.write(reject)
        return reject

    def write(self, reject: Reject) -> None:
        """Write one file, whole or not at all."""
        path = self.folder / f"{reject.id}.json"
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps(reject.as_dict(), indent=1), "utf-8")
            temporary.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise InputError(
                f"could not keep a refused document in {self.folder}: {error.strerror}"
            ) from error

    def all(self) -> Iterator[Reject]:
        """Yield every reject, by id."""
        if self.folder.is_dir():
            for path in sorted(self.folder.glob("*.json")):
                yield read_reject(path)

    def find(self, prefix: str) -> Reject:
        """Return the reject whose id starts with some digits.

        Raises InputError if there is none, or more than one.
        """
        names = [p for p in self.folder.glob("*.json") if p.name.startswith(prefix)]
        if len(names) != 1:
            raise InputError(
                f'{"several rejects start" if names else "no reject starts"} with "{prefix}"; '
                "list them: ncpl-data rejects list"
            )
        return read_reject(names[0])

    def drop(self, reject: Reject) -> None:
        """Forget one reject."""
        (self.folder / f"{reject.id}.json").unlink(missing_ok=True)


def read_reject(path: Path) -> Reject:
    """Return the reject of one file.

    Raises IntegrityError if the file is damaged.
    """
    try:
        return Reject.from_dict(json.loads(path.read_text("utf-8")))
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"{path} is damaged ({error}); remove it") from error
