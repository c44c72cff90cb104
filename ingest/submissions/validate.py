"""Validate many documents: in ranges of large files, on every core, never all in memory at once.

A file of JSON lines is cut into ranges of bytes. Each process reads its own ranges, passes the
lines that are surely good (`quick`), and examines every other line by the rules of one document.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ncpl_data.ingest.submissions.quick import has_fast, quick_test

if TYPE_CHECKING:
    from ncpl_data.ingest.submissions.finding import Finding

RANGE_BYTES = 4 << 20
PARALLEL_BYTES = 32 << 20
"""A smaller file is done before other processes have started."""

SMALL_BYTES = 1 << 20
"""A smaller file is read as any other document."""

AHEAD_RANGES = 32
"""Ranges that may be examined before those in front of them are."""

Range = tuple[Path, int, int]
"""File, first byte and the byte after the last; a range holds the lines that begin in it."""


@dataclass
class Examined:
    """What one range holds."""

    n_lines: int = 0
    n_documents: int = 0
    findings: list[tuple[int, Finding]] = field(default_factory=list)
    """Documents that are not valid, each with the number of documents up to it in this range;
    lines count from the range's first, which is 1."""
    is_last: bool = False
    """True where a line is longer than a document may be: what follows is not read."""


def invalid_documents(
    paths: Sequence[Path],
    jobs: int | None = None,
    advance: Callable[[int], object] = lambda _: None,
    keep: Callable[[Any], object] | None = None,
) -> Iterator[tuple[int, Finding | None]]:
    """Yield (documents so far, finding) for each document that is not valid, and at the end.

    `keep` is called with the content of each valid document, but not of large files of JSON lines.

    `jobs` is the number of processes, by default the cores there are. `advance` is called with
    the bytes of files that were done since its last call.
    """
    n = 0
    for path in paths:
        if has_fast() and is_plain_lines(path):
            found = findings_of_lines(path, jobs or cores(), advance)
        else:
            found = findings_of(path, keep)
            advance(size_of(path) if path.is_file() else 0)
        seen = 0
        for seen, finding in found:
            if finding is not None:
                yield n + seen, finding
        n += seen
    yield n, None


def findings_of(
    path: Path, keep: Callable[[Any], object] | None = None
) -> Iterator[tuple[int, Finding | None]]:
    """Yield the same for one file or folder, one document after the other."""
    from ncpl_data.ingest.submissions.documents import read_documents
    from ncpl_data.ingest.submissions.finding import Finding, checked

    n = 0
    for n, document in enumerate(read_documents([path]), start=1):
        content, problems = checked(document)
        if problems:
            yield n, Finding(document, None, tuple(problems))
        elif keep is not None:
            keep(content)
    yield n, None


def cores() -> int:
    """Return the cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def is_plain_lines(path: Path) -> bool:
    """Return whether a path is a large file of JSON lines, and no link."""
    is_lines = path.suffix.lower() in (".jsonl", ".ndjson")
    return is_lines and path.is_file() and not path.is_symlink() and size_of(path) > SMALL_BYTES


def size_of(path: Path) -> int:
    """Return the bytes of a file."""
    return path.stat().st_size


def findings_of_lines(
    path: Path, jobs: int, advance: Callable[[int], object]
) -> Iterator[tuple[int, Finding | None]]:
    """Yield (documents so far, finding) for each bad line of a file, and at the end."""
    n_lines, n = 0, 0
    for examined in examine_ranges(path, jobs):
        for so_far, finding in examined.findings:
            document = finding.document
            placed = replace(document, line=(document.line or 0) + n_lines)
            yield n + so_far, replace(finding, document=placed)
        advance(RANGE_BYTES)
        n_lines += examined.n_lines
        n += examined.n_documents
        if examined.is_last:
            break
    if n == 0:  # nothing but line breaks
        yield from findings_of(path)
        return
    yield n, None


def examine_ranges(path: Path, jobs: int) -> Iterator[Examined]:
    """Yield what each range of a file holds, in order.

    This process works too: it takes a range whenever the next result is not there yet.
    """
    ranges = iter(ranges_of(path))
    helpers = jobs - 1 if size_of(path) >= PARALLEL_BYTES else 0
    if helpers < 1:
        yield from map(examine, ranges)
        return
    waiting: deque[Future[Examined]] = deque()
    with ProcessPoolExecutor(helpers, mp_context=get_context("spawn")) as pool:
        try:
            while True:
                n_busy = sum(not future.done() for future in waiting)
                for _ in range(2 * helpers - n_busy):
                    if (following := next(ranges, None)) is not None:
                        waiting.append(pool.submit(examine, following))
                if not waiting:
                    return
                is_late = not waiting[0].done() and len(waiting) < AHEAD_RANGES
                if is_late and (own := next(ranges, None)) is not None:
                    waiting.append(examined_here(own))
                else:
                    yield waiting.popleft().result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def examined_here(part: Range) -> Future[Examined]:
    """Return a range's result, found in this process."""
    done: Future[Examined] = Future()
    done.set_result(examine(part))
    return done


def ranges_of(path: Path) -> Iterator[Range]:
    """Yield the ranges of a file."""
    size = size_of(path)
    for start in range(0, size, RANGE_BYTES):
        yield path, start, min(start + RANGE_BYTES, size)


def examine(part: Range) -> Examined:
    """Return what one range of a file of JSON lines holds."""
    from ncpl_data.ingest.submissions import limits
    from ncpl_data.ingest.submissions.documents import line_documents, too_long
    from ncpl_data.ingest.submissions.finding import Finding, checked

    path, _, _ = part
    is_surely_good = tester()
    done = Examined()
    for line in lines_of(part, limits.MAX_JSON_BYTES + 1):
        done.n_lines += 1
        if len(line) > limits.MAX_JSON_BYTES:
            done.n_documents += 1
            document = too_long(str(path), done.n_lines)
            assert document.problem is not None
            done.findings.append((done.n_documents, Finding(document, None, (document.problem,))))
            done.is_last = True
            break
        if is_surely_good(line):
            done.n_documents += 1
        elif line.strip():
            for document in line_documents(line, str(path), path.parent, done.n_lines):
                done.n_documents += 1
                _, problems = checked(document)
                if problems:
                    finding = Finding(document, None, tuple(problems))
                    done.findings.append((done.n_documents, finding))
    return done


@cache
def tester() -> Callable[[bytes], bool]:
    """Return the quick test of this process, made once."""
    return quick_test()


def lines_of(part: Range, limit: int) -> Iterator[bytes]:
    """Yield the lines that begin in a range, each cut after `limit` bytes."""
    path, start, end = part
    with path.open("rb", buffering=1 << 20) as file:
        if start:
            file.seek(start - 1)
            start += skip_line(file) - 1
        while start < end and (line := file.readline(limit)):
            yield line
            start += len(line)


def skip_line(file: IO[bytes]) -> int:
    """Return how many bytes it takes to pass the rest of a line."""
    n = 0
    while piece := file.readline(RANGE_BYTES):
        n += len(piece)
        if piece.endswith(b"\n"):
            break
    return n
