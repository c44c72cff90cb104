"""A submission in batches, and what is kept of the runs around those of earlier ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ncpl_data.catalog.manifest import Manifest
from ncpl_data.catalog.store import Catalog
from ncpl_data.catalog.tables import EncodedRun
from ncpl_data.catalog.waiting import Judge, judge_of, published_files
from ncpl_data.ingest.submissions.documents import Document
from ncpl_data.ingest.submissions.neighbours import Neighbours

BATCH_DOCUMENTS = 2_000
BATCH_POINTS = 1_000_000
"""A batch ends with the document that reaches one of these."""


def batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    """Yield documents in batches of bounded size."""
    batch: list[Document] = []
    n_points = 0
    for document in documents:
        batch.append(document)
        n_points += points_of(document)
        if len(batch) >= BATCH_DOCUMENTS or n_points >= BATCH_POINTS:
            yield batch
            batch, n_points = [], 0
    if batch:
        yield batch


def points_of(document: Document) -> int:
    """Return how many points of curves a document holds; those in a file count as many."""
    curves = document.content.get("curves") if isinstance(document.content, dict) else None
    if isinstance(curves, dict):
        return BATCH_POINTS // 10
    if not isinstance(curves, list):
        return 0
    steps = (curve.get("step") for curve in curves if isinstance(curve, dict))
    return sum(len(step) for step in steps if isinstance(step, list))


@dataclass(frozen=True, slots=True)
class First:
    """Where a run stood first in a submission."""

    file: str
    line: int | None
    digest: str


@dataclass
class Around:
    """What a submission knows of the runs around its own, from one batch to the next."""

    met: Neighbours = field(default_factory=Neighbours)
    judge: Judge | None = None
    published: tuple[str, ...] | None = None
    """The files the judge was made of."""

    def judge_of(self, catalog: Catalog, manifest: Manifest) -> Judge:
        """Return the judge of what the sources of a catalog publish."""
        files = tuple(file.path for file in published_files(manifest))
        if self.judge is None or files != self.published:
            self.judge, self.published = judge_of(catalog, manifest), files
        return self.judge


class SeenContent:
    """The runs of a submission so far, in a few words each."""

    def __init__(self) -> None:
        """Begin with none."""
        self.by_id: dict[str, First] = {}

    def first(self, run: EncodedRun, document: Document) -> First | None:
        """Return where a run stood before; None where it is new, and it is remembered."""
        known = self.by_id.get(run.run_id)
        if known is None:
            own = First(document.file, document.line, run.content_hash())
            self.by_id[run.run_id] = own
        return known
