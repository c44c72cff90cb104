"""Documents as they are handed in: files, folders and standard input, one run at a time."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ncpl_data.catalog.errors import InputError
from ncpl_data.ingest.submissions import limits
from ncpl_data.ingest.submissions.quick import has_fast, quick_reader
from ncpl_data.schema.batch import explain
from ncpl_data.schema.text import TextError, decode, line_of, parse_json
from ncpl_data.schema.validate import Problem, escape, shorten
from ncpl_data.schema.yaml_text import parse_yaml, yaml_line_of

YAML_SUFFIXES = (".yaml", ".yml")
SUFFIXES = (".json", ".jsonl", ".ndjson", *YAML_SUFFIXES)
STDIN = Path("-")
SMALLEST_RUN = {"schema_version": "1.0", "run_id": "a/b", "source": "a"}


@dataclass(frozen=True)
class Document:
    """One run as it was handed in, or what stands where a run was expected."""

    file: str
    """As the user named it."""
    content: Any = None
    problem: Problem | None = None
    """Why it could not be read; then there is no content."""
    line: int | None = None
    """Line (from 1) of the document, or of the fault."""
    pointer: str = ""
    """Place of the run inside its document: "/runs/3" in a submission, "/3" in a list."""
    folder: Path | None = None
    """Where files it names lie."""
    text: str | None = None
    """The document's text, to find lines in."""
    yaml_index: int | None = None
    """Number of the document in a YAML text; None for JSON."""
    raw: bytes | None = None
    """What was read, where it could not be parsed."""
    is_valid: bool = False
    """Whether the quick test has seen that nothing is wrong with it."""

    def line_of(self, pointer: str) -> int | None:
        """Return the line of one of the run's values in its file."""
        if self.text is None:
            return self.line
        if self.yaml_index is not None:
            return yaml_line_of(self.text, self.pointer + pointer, self.yaml_index)
        return line_of(self.text, self.pointer + pointer, self.line or 1)

    @property
    def run_id(self) -> str | None:
        """The id it claims, if it has one."""
        claimed = self.content.get("run_id") if isinstance(self.content, dict) else None
        return claimed if isinstance(claimed, str) else None


def read_documents(paths: Sequence[Path]) -> Iterator[Document]:
    """Yield the runs of files, folders and standard input (`-`), one at a time, in order.

    What can not be read comes back as a document with a problem. Raises InputError for a path
    that does not exist and for a folder without documents.
    """
    for path in paths:
        if path == STDIN:
            yield from read_stream(sys.stdin.buffer, "-", Path.cwd())
        elif path.is_dir():
            yield from read_folder(path)
        elif path.is_symlink() or path.exists():
            yield from read_path(path, path.parent)
        else:
            raise InputError(
                f"{path} does not exist; expected a file ({', '.join(SUFFIXES)}), a folder or -"
            )


def read_folder(folder: Path) -> Iterator[Document]:
    """Yield the runs of every document in a folder and below it, in order of name."""
    found = False
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in list(folders):
            path = Path(root) / name
            if path.suffix.lower() in SUFFIXES:
                folders.remove(name)
                found = True
                yield refused(path, "file", "a folder", "a file")
            elif path.is_symlink():
                folders.remove(name)
                found = True
                yield refused(path, "symlink", "a link to a folder", "a folder")
        for name in sorted(names):
            if Path(name).suffix.lower() in SUFFIXES and not name.startswith("."):
                found = True
                yield from read_path(Path(root) / name, folder)
    if not found:
        raise InputError(
            f"{folder} holds no document; expected files that end in {', '.join(SUFFIXES)}"
        )


def refused(
    path: Path | str, rule: str, found: str, expected: str, line: int | None = None
) -> Document:
    """Return a document that could not be read."""
    return Document(file=str(path), problem=Problem("", rule, found, expected), line=line)


def read_path(path: Path, base: Path) -> Iterator[Document]:
    """Yield the runs of one file, which must lie in a folder even if it is a link."""
    suffix = path.suffix.lower()
    try:
        if not path.resolve(strict=True).is_relative_to(base.resolve()):
            yield refused(path, "symlink", "a link out of the folder", f"a file inside {base}")
            return
        status = path.stat()
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or "a link that leads nowhere"
        yield refused(path, "file", reason, "a file that can be read")
        return
    if not stat.S_ISREG(status.st_mode):
        yield refused(path, "file", "something that is not a plain file", "a file")
        return
    if suffix not in SUFFIXES:
        yield refused(
            path,
            "format",
            f'the file type "{suffix or path.name}"',
            f"one of {', '.join(SUFFIXES)}",
        )
        return
    limit = limits.MAX_YAML_BYTES if suffix in YAML_SUFFIXES else limits.MAX_JSON_BYTES
    is_lines = suffix in (".jsonl", ".ndjson")
    if status.st_size > limit and not is_lines:
        yield refused(path, "size", f"{status.st_size:,} bytes", f"at most {limit:,}; use .jsonl")
        return
    try:
        with path.open("rb") as file:
            if is_lines:
                yield from read_lines(file, str(path), path.parent)
            else:
                yield from read_whole(file.read(limit + 1), str(path), path.parent, suffix)
    except OSError as error:
        yield refused(path, "file", error.strerror or str(error), "a file that can be read")


def read_stream(file: IO[bytes], name: str, folder: Path) -> Iterator[Document]:
    """Yield the runs of a stream of unknown format: JSON lines, JSON or YAML."""
    first = file.readline(limits.MAX_JSON_BYTES)
    try:
        is_lines = isinstance(parse_json(decode(first)), (dict, list))
    except TextError:
        is_lines = False
    if is_lines:
        yield from line_documents(first, name, folder, 1)
        yield from read_lines(file, name, folder, first_line=2)
        return
    content = first + file.read(limits.MAX_JSON_BYTES + 1)
    is_json = content.lstrip()[:1] in (b"{", b"[")
    yield from read_whole(content, name, folder, ".json" if is_json else ".yaml")


def read_lines(file: IO[bytes], name: str, folder: Path, first_line: int = 1) -> Iterator[Document]:
    """Yield the runs of a file with one JSON document a line."""
    number = first_line - 1
    is_empty = first_line == 1
    while raw := file.readline(limits.MAX_JSON_BYTES + 1):
        number += 1
        if len(raw) > limits.MAX_JSON_BYTES:
            yield too_long(name, number)
            return
        if raw.strip():
            is_empty = False
            yield from line_documents(raw, name, folder, number)
    if is_empty:
        yield refused(name, "empty", "an empty file", "one JSON document a line")


def surely_good(line: bytes) -> dict[str, Any] | None:
    """Return the run that a line surely holds; None in doubt, or without the extra `fast`."""
    return quick_reader()(line) if has_fast() else None


def too_long(name: str, number: int) -> Document:
    """Return what stands for a line that is longer than a document may be."""
    return refused(
        name, "size", "a longer line", f"at most {limits.MAX_JSON_BYTES:,} bytes", number
    )


def line_documents(raw: bytes, name: str, folder: Path, number: int) -> Iterator[Document]:
    """Yield the runs of one line."""
    known = surely_good(raw)
    if known is not None:
        yield Document(name, known, line=number, folder=folder, is_valid=True)
        return
    try:
        content = parse_json(decode(raw.strip()))
    except TextError as error:
        yield unreadable(name, error, number, raw)
        return
    yield from split(Document(name, content, line=number, folder=folder))


def read_whole(content: bytes, name: str, folder: Path, suffix: str) -> Iterator[Document]:
    """Yield the runs of one JSON or YAML text."""
    if not content.strip():
        yield refused(name, "empty", "an empty file", "a run document")
        return
    try:
        text = decode(content)
        if suffix in YAML_SUFFIXES:
            values = list(parse_yaml(text))
            if not values:
                yield refused(name, "empty", "only comments", "a run document")
            for index, (line, value) in enumerate(values):
                yield from split(
                    Document(name, value, line=line, folder=folder, text=text, yaml_index=index)
                )
        else:
            yield from split(Document(name, parse_json(text), line=1, folder=folder, text=text))
    except TextError as error:
        yield unreadable(name, error, error.line, content)


def unreadable(name: str, error: TextError, line: int | None, raw: bytes) -> Document:
    """Return a document whose text is not one of ours."""
    problem = Problem(error.pointer, error.rule, str(error), error.expected)
    if "Extra data" in str(error):
        hint = "One document a line? Then let the file's name end in .jsonl."
        problem = Problem("", error.rule, str(error), problem.expected, hint)
    return Document(file=name, problem=problem, line=line, raw=raw)


def split(document: Document) -> Iterator[Document]:
    """Yield the runs of one document: itself, those of a list, those of a submission.

    The contributor and licence of a submission stand in each of its runs that names none.
    """
    content = document.content
    if isinstance(content, list):
        if not content:
            yield part(document, content, "")
        for index, item in enumerate(content):
            yield part(document, item, f"/{index}")
        return
    if not isinstance(content, dict) or "runs" not in content:
        yield document
        return
    runs = content["runs"]
    has_runs = isinstance(runs, list) and bool(runs)
    problems = explain({**content, "runs": [SMALLEST_RUN] if has_runs else runs}, "submission")
    if problems:
        yield Document(
            document.file,
            content,
            problem=problems[0],
            line=document.line_of(problems[0].pointer),
            folder=document.folder,
        )
        return
    given = {key: content[key] for key in ("contributor", "licence")}
    for index, run in enumerate(runs):
        yield part(document, with_provenance(run, given), f"/runs/{index}")


def part(document: Document, content: Any, pointer: str) -> Document:
    """Return one run of a document that holds several."""
    return Document(
        document.file,
        content,
        line=document.line,
        pointer=pointer,
        folder=document.folder,
        text=document.text,
        yaml_index=document.yaml_index,
    )


def with_provenance(run: Any, given: Mapping[str, Any]) -> Any:
    """Return a run with facts of the whole submission where it states none itself."""
    if not isinstance(run, dict) or not isinstance(run.get("provenance") or {}, dict):
        return run
    own = {k: v for k, v in (run.get("provenance") or {}).items() if v is not None}
    return {**run, "provenance": {**given, **own}}


def set_value(document: dict[str, Any], pointer: str, value: Any) -> None:
    """Set one value of a run document by its JSON Pointer; objects on the way are made.

    Raises InputError if something that is no object stands in the way.
    """
    *folders, last = pointer.strip("/").split("/")
    place = document
    for key in folders:
        place = place.setdefault(key, {})
        if not isinstance(place, dict):
            raise InputError(f"{pointer}: {escape(key)} is {shorten(place)}; expected an object")
    place[last] = value


def canonical(content: Any) -> str:
    """Return the one JSON text of a parsed document."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
