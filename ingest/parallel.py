"""Several sources at once, each in a process of its own; only the commit is shared."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ncpl_data.catalog.errors import NcplDataError
from ncpl_data.catalog.store import Catalog
from ncpl_data.ingest import pipeline
from ncpl_data.ingest.sources import find_source


@dataclass(frozen=True)
class Finished:
    """What became of one source. Plain values, so that it travels between processes."""

    source: str
    done: Mapping[str, Any] | None
    """The counts; None if it failed."""
    error: str = ""
    exit_code: int = 0
    notes: tuple[str, ...] = ()


def ingest_one(name: str, location: Path, options: Mapping[str, Any]) -> Finished:
    """Bring one source into a catalog and return what became of it; never raises for bad data."""
    notes: list[str] = []
    try:
        done = pipeline.ingest(find_source(name), Catalog(location), notify=notes.append, **options)
    except NcplDataError as error:
        return Finished(name, None, str(error), error.exit_code, tuple(notes))
    return Finished(name, done.as_dict(), notes=tuple(notes))


def ingest_many(
    names: Sequence[str],
    location: Path,
    options: Mapping[str, Any],
    *,
    jobs: int,
    notify: Callable[[str], None],
) -> Iterator[Finished]:
    """Yield what became of each source, in the order in which they finish."""
    context = multiprocessing.get_context("spawn")  # a fork would copy the threads of Arrow
    with ProcessPoolExecutor(min(jobs, len(names)), mp_context=context) as pool:
        try:
            tasks = [pool.submit(ingest_one, name, location, options) for name in names]
            for task in as_completed(tasks):
                finished = task.result()
                for note in finished.notes:
                    notify(note)
                yield finished
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
