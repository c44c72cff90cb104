"""From a source to the catalog: choose the files, read, validate, upsert."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from ncpl_data.catalog.complete import complete
from ncpl_data.catalog.curate import curate
from ncpl_data.catalog.errors import (
    InputError,
    NcplDataError,
    RawFileError,
    SourceUnreachableError,
)
from ncpl_data.catalog.outcome import Outcome
from ncpl_data.catalog.parquet import file_sha256
from ncpl_data.catalog.record import Run, Skipped
from ncpl_data.catalog.store import Catalog
from ncpl_data.catalog.tables import EncodedRun, encode
from ncpl_data.ingest.base import Origin, RawFile, Source
from ncpl_data.ingest.declared import declare
from ncpl_data.ingest.fetch import Progress, cache_folder, fetch
from ncpl_data.ingest.from_url import files_at
from ncpl_data.ingest.garbage import seldom_collected
from ncpl_data.ingest.submissions.adapter_checks import (
    document_problems,
    repeats_elsewhere,
    told,
)
from ncpl_data.ingest.unchanged import mark, unchanged
from ncpl_data.ingest.valid_runs import problems_of
from ncpl_data.schema.validate import Problem
from ncpl_data.terminal.version import __version__

BATCH_RUNS = 32


class Bars(Protocol):
    """Gives a progress bar for one piece of work: what is told of each step moves it."""

    def __call__(
        self, what: str, unit: str, total: int | None = None
    ) -> AbstractContextManager[Progress]:
        """Return the bar; it ends with the piece of work."""
        ...


@contextmanager
def no_bars(what: str, unit: str, total: int | None = None) -> Iterator[Progress]:
    """Give a bar that nobody sees."""
    del what, unit, total
    yield lambda _n: None


@dataclass(frozen=True)
class Located:
    """The files of one origin, on disk."""

    origin: Origin
    paths: Mapping[str, Path]
    how: str
    """Where they came from, for people."""
    is_pinned: bool
    """True if every file has the hash of the data sheet."""


@dataclass(frozen=True)
class Ingested:
    """What one ingest did."""

    source: str
    origin: str
    how: str
    outcome: Outcome

    def as_dict(self) -> dict[str, Any]:
        """Return the result as a JSON object."""
        return {"source": self.source, "origin": self.origin, "from": self.how} | (
            self.outcome.as_dict()
        )


def locate(
    source: Source,
    *,
    folder: Path | None,
    offline: bool,
    accept_changed: bool,
    notify: Callable[[str], None],
    url: str | None = None,
    refresh: bool = False,
    progress: Progress | None = None,
) -> Located:
    """Return the files to read: a given folder or address, else the owner's, else the shipped copy.

    With `refresh` the shipped copies are passed over and the owner's files downloaded.
    Raises SourceUnreachableError if there is none of them, InputError for a folder without the
    source's files.
    """
    if folder is not None:
        return locate_in_folder(source, folder, accept_changed=accept_changed)
    if url is not None:
        origin, found, is_whole = files_at(
            source, url, accept_changed=accept_changed, progress=progress
        )
        return Located(origin, found, url, is_pinned=is_whole)
    if source.is_live:
        raise SourceUnreachableError(
            f"{source.name}: a live source is recorded first: ncpl-data record {source.name} "
            f"--out FOLDER, then ncpl-data ingest {source.name} --from FOLDER"
        )
    cache = cache_folder()
    errors: list[SourceUnreachableError] = []
    for origin in (o for o in source.origins if all(f.sha256 for f in o.files)):
        if refresh and any(f.url is None for f in origin.files):
            continue
        bundled = None if refresh else origin.bundled_paths()
        if bundled is not None:
            if errors:
                why = "not in the cache" if offline else "not to be had from here"
                notify(f"{source.name}: the owner's files are {why}, so another's copy is read")
            return Located(origin, bundled, "this package", is_pinned=True)
        try:
            paths = {
                f.name: (None if refresh else f.bundled_path())
                or fetch(f, cache, source=source.name, offline=offline, progress=progress)
                for f in origin.files
            }
        except SourceUnreachableError as error:
            errors.append(error)
            continue
        return Located(origin, paths, f"{origin.url} at {origin.revision[:12]}", is_pinned=True)
    if not errors:
        raise SourceUnreachableError(
            f"{source.name}: its files are not published one by one; leave out --refresh, or give "
            f"a folder: ncpl-data ingest {source.name} --from FOLDER"
        )
    raise errors[0]


def locate_in_folder(source: Source, folder: Path, *, accept_changed: bool) -> Located:
    """Return the origin whose files lie in a folder, the owner's first."""
    if not folder.is_dir():
        raise InputError(f"{source.name}: {folder} is not a folder; expected one with its files")
    for origin in source.origins:
        paths = {f.name: folder / f.name for f in origin.files}
        # where all files are shipped, the first must be the user's; the others may be ours
        own = [f.name for f in origin.files if f.bundled is None] or [origin.files[0].name]
        if all(paths[name].is_file() for name in own):
            shipped = {f.name: f.bundled_path() for f in origin.files}
            for name, path in paths.items():
                if not path.is_file() and shipped[name] is not None:
                    paths[name] = shipped[name]  # type: ignore[assignment]
            if all(path.is_file() for path in paths.values()):
                changed = [f for f in origin.files if not is_pinned(f, paths[f.name])]
                altered = [f for f in changed if f.sha256]
                if altered and not accept_changed:
                    read_or_explain(source, origin, paths, altered[0])
                return Located(origin, paths, str(folder), is_pinned=not changed)
    wanted = " or ".join(names_of(origin.files) for origin in source.origins)
    raise InputError(f"{source.name}: {folder} does not hold its files; expected {wanted}")


def names_of(files: Sequence[RawFile]) -> str:
    """Return the names of an origin's files, the first ones where there are many."""
    names = [file.name for file in files]
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def has_altered(located: Located) -> bool:
    """Return whether a file is not the one whose hash the data sheet states."""
    return not located.is_pinned and any(
        file.sha256 and not is_pinned(file, located.paths[file.name])
        for file in located.origin.files
    )


def is_pinned(file: RawFile, path: Path) -> bool:
    """Return whether a file is the one the data sheet names."""
    return path.stat().st_size == file.n_bytes and file_sha256(path) == file.sha256


def read_or_explain(
    source: Source, origin: Origin, paths: Mapping[str, Path], changed: RawFile
) -> None:
    """Refuse a file of another hash, with the row that is wrong if reading finds one."""
    with explained(source, origin, is_pinned=False):
        for _ in origin.read(paths):
            pass
    path = paths[changed.name]
    raise RawFileError(
        f"{source.name} {changed.name}: {path} has {path.stat().st_size:,} bytes with sha256 "
        f"{file_sha256(path)[:16]}..., expected {changed.n_bytes:,} bytes with "
        f"{changed.sha256[:16]}... (revision {origin.revision[:12]}). It is cut off, altered or "
        "of another revision; to read it all the same, add --accept-changed",
        source=source.name,
        file=changed.name,
    )


@contextmanager
def explained(source: Source, origin: Origin, *, is_pinned: bool) -> Iterator[None]:
    """Turn the failure of a reader on files it was not written for into one sentence.

    On the files of its data sheet it is a mistake of ours, and passes; a reader of another package
    is told apart from ours.
    """
    try:
        yield
    except NcplDataError:
        raise
    except Exception as error:
        if is_pinned and is_ours(source):
            raise
        if is_pinned:
            raise RawFileError(
                f"{source.name}: its reader fails on the files of its data sheet "
                f"({type(error).__name__}: {str(error)[:200]}). That is a fault of the package it "
                f"comes with; see where: ncpl-data sources --check {source.name}",
                source=source.name,
                file="",
            ) from error
        raise RawFileError(
            f"{source.name}: its files are not of the form that its reader knows "
            f"({type(error).__name__}: {str(error)[:200]}), and not those of revision "
            f"{origin.revision[:12]}, which the data sheet names. Take those: ncpl-data sources "
            f"{source.name}",
            source=source.name,
            file="",
        ) from error


def is_ours(source: Source) -> bool:
    """Return whether a source is one of this package."""
    from ncpl_data.ingest.sources import SOURCES

    return SOURCES.get(source.name) is source


def provenance(run: Run, located: Located) -> Run:
    """Return a run with the revision and licence of the files it was read from."""
    return run.with_values(
        revision=located.origin.revision if located.is_pinned else None,
        licence=run.licence or located.origin.licence,
    )


def check(
    items: Iterable[Run | Skipped],
    located: Located,
    progress: Progress = lambda _n: None,
    kept: list[Run] | None = None,
) -> Iterator[EncodedRun | Skipped]:
    """Yield what was read, curated; a run that breaks the schema is skipped, with the reason.

    With `kept`, which takes the runs that pass, so is one that contradicts itself, as a submission
    would be. The pinned files of our own sources go without: what their owners published stays, and
    curation says in flags what is odd about it.
    Step by step for a few runs at a time, of which `progress` is told: each step's code and the
    runs stay in the processor's caches, which makes a fifth of the time.
    """
    stream = iter(items)
    while batch := list(islice(stream, BATCH_RUNS)):
        yield from (item for item in batch if isinstance(item, Skipped))
        runs = [provenance(item, located) for item in batch if isinstance(item, Run)]
        curated = [curate(complete(declare(run))) for run in runs]
        refused = {}
        for index, run in enumerate(curated):
            problems, reason = problems_of(run), "schema"
            if not problems and kept is not None:
                problems, reason = document_problems(run), "contradiction"
            if problems:
                refused[index] = refused_run(run, reason, problems)
        yield from refused.values()
        passed = [run for index, run in enumerate(curated) if index not in refused]
        if kept is not None:
            kept += passed
        yield from map(encode, passed)
        progress(len(batch))


def refused_run(run: Run, reason: str, problems: Iterable[Problem]) -> Skipped:
    """Return a run as a refused record, whole."""
    return Skipped(run.run_id, reason=reason, payload=run.to_document(), detail=told(problems))


def ingest(
    source: Source,
    catalog: Catalog,
    *,
    folder: Path | None = None,
    url: str | None = None,
    offline: bool = False,
    accept_changed: bool = False,
    max_rejects: int | None = None,
    dry_run: bool = False,
    refresh: bool = False,
    notify: Callable[[str], None] = lambda _: None,
    bars: Bars = no_bars,
) -> Ingested:
    """Bring a source's runs into the catalog and return what that did.

    `bars` gives one for the bytes that are downloaded and one for the records that are read.
    Raises NcplDataError, with the catalog as it was, if the files can not be had or read, or if
    more than `max_rejects` records are refused.
    """
    with bars(f"downloading {source.name}", "B") as progress:
        located = locate(
            source,
            folder=folder,
            url=url,
            offline=offline,
            accept_changed=accept_changed,
            notify=notify,
            refresh=refresh,
            progress=progress,
        )
    ours = is_ours(source)
    if ours and max_rejects is None:
        known = unchanged(source.name, source.sheet(), located.origin.name, located.paths, catalog)
        if known is not None:
            notify(f"{source.name}: unchanged since it was read from {located.how}")
            return Ingested(source.name, located.origin.name, located.how, known)
    notify(f"{source.name}: reading from {located.how}: {located.origin.title}")
    runs: list[EncodedRun] = []
    skipped: list[Skipped] = []
    plain: list[Run] | None = None if ours and not has_altered(located) else []
    bar = bars(f"reading {source.name}", " records", located.origin.n_runs or None)
    reading = explained(source, located.origin, is_pinned=located.is_pinned)
    with bar as progress, seldom_collected(), reading:
        for item in check(located.origin.read(located.paths), located, progress, plain):
            if isinstance(item, Skipped):
                skipped.append(item)
            else:
                runs.append(item)
    if plain and not ours:
        whole = {run.run_id: run for run in plain}
        for run_id, problem in repeats_elsewhere(plain, catalog, source.name):
            skipped.append(refused_run(whole[run_id], "duplicate", [problem]))
            runs = [run for run in runs if run.run_id != run_id]
    if max_rejects is not None and len(skipped) > max_rejects:
        raise InputError(
            f"{source.name}: {len(skipped)} records were refused, more than --max-rejects "
            f"{max_rejects}; the first: {skipped[0].ref}: {skipped[0].reason} "
            f"({skipped[0].detail}). Nothing was written"
        )
    outcome = catalog.upsert(
        runs,
        source=source.name,
        operation=f"ingest {source.name}",
        origin=located.origin.name,
        skipped=skipped,
        sheet=source.sheet(),
        cursor=mark(located.origin.name, located.paths, runs, skipped, source.name)
        if ours
        else None,
        dry_run=dry_run,
        tool_version=__version__,
    )
    return Ingested(source.name, located.origin.name, located.how, outcome)
