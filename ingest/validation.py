"""Validate many documents, one at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ncpl_data.ingest.documents import read_documents
from ncpl_data.ingest.submit import Finding, checked


def invalid_documents(paths: Sequence[Path]) -> Iterator[tuple[int, Finding | None]]:
    """Yield (documents so far, finding) for each document that is not valid, and at the end."""
    n = 0
    for document in read_documents(paths):
        n += 1
        _, problems = checked(document)
        if problems:
            yield n, Finding(document, None, tuple(problems))
    yield n, None
