"""Validate many documents, one at a time, on every core where there are enough of them.

A file of JSON lines is cut into blocks. A block is first put to the fast test (orjson and
jsonschema-rs, the extra `fast`), which only says whether a line is surely good; every other line
is examined by the rules of one document, so the two can not disagree about what is wrong.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ncpl_data.ingest.checks import check_run
from ncpl_data.schema.batch import validity_test
from ncpl_data.schema.text import MAX_DEPTH

if TYPE_CHECKING:
    from ncpl_data.ingest.submit import Finding

BLOCK_BYTES = 4 << 20
PARALLEL_BYTES = 32 << 20
"""A smaller file is done before other processes have started."""

Block = tuple[int, list[bytes]]
"""First line number and lines."""


def invalid_documents(paths: Sequence[Path]) -> Iterator[tuple[int, Finding | None]]:
    """Yield (documents so far, finding) for each document that is not valid, and at the end."""
    from ncpl_data.ingest.documents import line_documents, read_documents
    from ncpl_data.ingest.submit import Finding, checked

    n = 0
    for path in paths:
        if has_fast() and is_plain_lines(path):
            for doubtful, n_good in examine_blocks(path):
                n += n_good
                for number, line in doubtful:
                    for document in line_documents(line, str(path), path.parent, number):
                        n += 1
                        _, problems = checked(document)
                        if problems:
                            yield n, Finding(document, None, tuple(problems))
            continue
        for document in read_documents([path]):
            n += 1
            _, problems = checked(document)
            if problems:
                yield n, Finding(document, None, tuple(problems))
    yield n, None


def has_fast() -> bool:
    """Return whether the extra `fast` is installed."""
    try:
        import jsonschema_rs
        import orjson
    except ImportError:
        return False
    return bool(jsonschema_rs and orjson)


def is_plain_lines(path: Path) -> bool:
    """Return whether a path is a file of JSON lines that holds anything, and no link."""
    is_lines = path.suffix.lower() in (".jsonl", ".ndjson")
    return is_lines and path.is_file() and not path.is_symlink() and path.stat().st_size > 1 << 20


def examine_blocks(path: Path) -> Iterator[tuple[list[tuple[int, bytes]], int]]:
    """Yield (doubtful lines with their numbers, surely good documents) for each block of a file.

    At most two blocks a process are held at a time.
    """
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if not workers or workers < 2 or path.stat().st_size < PARALLEL_BYTES:
        for block in blocks(path):
            yield examined(block, good_lines(block[1]))
        return
    waiting: deque[tuple[Block, Future[list[bool]]]] = deque()
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for block in blocks(path):
            waiting.append((block, pool.submit(good_lines, block[1])))
            if len(waiting) > 2 * workers:
                done, future = waiting.popleft()
                yield examined(done, future.result())
        while waiting:
            done, future = waiting.popleft()
            yield examined(done, future.result())


def blocks(path: Path) -> Iterator[Block]:
    """Yield the lines of a file in blocks, as long lines as a document may have."""
    from ncpl_data.ingest.documents import MAX_JSON_BYTES

    number = 1
    with path.open("rb") as file:
        while lines := file.readlines(BLOCK_BYTES):
            if max(map(len, lines)) > MAX_JSON_BYTES:
                lines = [line[: MAX_JSON_BYTES + 1] for line in lines]
            yield number, lines
            number += len(lines)


def examined(block: Block, good: list[bool]) -> tuple[list[tuple[int, bytes]], int]:
    """Return the lines of a block that need a closer look, and how many need none."""
    number, lines = block
    doubtful = [
        (number + index, line)
        for index, (line, is_good) in enumerate(zip(lines, good, strict=True))
        if not is_good and line.strip()
    ]
    return doubtful, sum(good)


def good_lines(lines: list[bytes]) -> list[bool]:
    """Return for each line whether it is surely one valid run document."""
    import orjson

    test = validity_test("run")
    return [is_good(line, orjson.loads, test) for line in lines]


def is_good(line: bytes, loads: Any, test: Any) -> bool:
    """Return whether a line is surely one valid run; False where only a closer look can tell."""
    try:
        document = loads(line)
    except ValueError:
        return False
    if not isinstance(document, dict) or "runs" in document:
        return False
    if isinstance(document.get("curves"), dict):  # in a file beside the document
        return False
    if line.count(b"[") + line.count(b"{") > MAX_DEPTH or has_repeated_key(line, document):
        return False
    return bool(test(document)) and not check_run(document)


def has_repeated_key(line: bytes, document: dict[str, Any]) -> bool:
    """Return whether an object may name a key twice.

    Each key of the text is followed by one colon, so as many colons as keys mean that no key
    was lost. Colons inside texts make a line doubtful, never good.
    """
    return line.count(b":") != count_keys(document)


def count_keys(value: dict[str, Any]) -> int:
    """Return the keys of an object and of everything inside it."""
    total = len(value)
    for item in value.values():
        if type(item) is dict:
            total += count_keys(item)
        elif type(item) is list and item and type(item[0]) in (dict, list):
            total += count_in_list(item)
    return total


def count_in_list(items: list[Any]) -> int:
    """Return the keys of the objects in a list."""
    total = 0
    for item in items:
        if type(item) is dict:
            total += count_keys(item)
        elif type(item) is list:
            total += count_in_list(item)
    return total
