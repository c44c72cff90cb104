"""Several sources at once, each a task of its own; only the commit is shared.

A task is a plain function of plain values, so any engine that runs functions will do: processes
of this machine, or Ray on one machine or many (then the catalog is a bucket or a shared folder).
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ncpl_data.catalog.bucket import is_bucket
from ncpl_data.catalog.errors import InputError, NcplDataError
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
    engine: str = "processes",
) -> Iterator[Finished]:
    """Yield what became of each source, in the order in which they finish.

    Raises InputError for an engine that is not installed, NcplDataError if it loses a task.
    """
    with contextlib.closing(ENGINES[engine](names, location, options, jobs)) as results:
        for finished in results:
            for note in finished.notes:
                notify(note)
            yield finished


def on_processes(
    names: Sequence[str], location: Path, options: Mapping[str, Any], jobs: int
) -> Iterator[Finished]:
    """Yield the results of tasks that run in processes of this machine."""
    context = multiprocessing.get_context("spawn")  # a fork would copy the threads of Arrow
    others = set(multiprocessing.active_children())
    with ProcessPoolExecutor(min(jobs, len(names)), mp_context=context) as pool:
        try:
            with interrupts_are_ours():
                tasks = [pool.submit(ingest_one, name, location, options) for name in names]
            for task in as_completed(tasks):
                yield task.result()
        except BrokenProcessPool as error:
            raise lost(error) from error
        except BaseException:  # what was committed is whole, so they may end anywhere
            for child in set(multiprocessing.active_children()) - others:
                child.terminate()
            raise


@contextlib.contextmanager
def interrupts_are_ours() -> Iterator[None]:
    """Let processes that start now ignore Ctrl-C, which the terminal sends to all: we end them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def on_ray(
    names: Sequence[str], location: Path, options: Mapping[str, Any], jobs: int
) -> Iterator[Finished]:
    """Yield the results of tasks that run on Ray: the cluster of RAY_ADDRESS, else one made here.

    On a cluster every machine needs this package and the same view of the catalog and the cache.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it reports to its makers otherwise
    # Otherwise, under uv, each task would install the driver's project again.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    try:
        import ray
    except ImportError as error:
        raise InputError(
            "--engine ray needs ray; install it: pip install 'ncpl-data[ray]'"
        ) from error
    is_own = not ray.is_initialized()
    if is_own:
        address = os.environ.get("RAY_ADDRESS")
        own = {} if address else {"num_cpus": jobs, "include_dashboard": False}
        ray.init(address=address, log_to_driver=False, logging_level="error", **own)
    try:
        task = ray.remote(num_cpus=1, max_retries=0)(ingest_one)
        place = location if is_bucket(location) else location.absolute()
        waiting = [task.remote(name, place, dict(options)) for name in names]
        while waiting:
            done, waiting = ray.wait(waiting)
            yield from ray.get(done)
    except ray.exceptions.RayError as error:
        raise lost(error) from error
    finally:
        if is_own:
            ray.shutdown()


def lost(error: Exception) -> NcplDataError:
    """Return the error of a task whose process has gone."""
    return NcplDataError(
        f"a process that read a source was killed ({type(error).__name__}; out of memory?); what "
        "the others committed is kept. Run it again with fewer --jobs"
    )


ENGINES: Mapping[str, Callable[[Sequence[str], Path, Mapping[str, Any], int], Any]] = {
    "processes": on_processes,
    "ray": on_ray,
}
