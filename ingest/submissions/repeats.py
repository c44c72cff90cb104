"""Runs that are in the catalog, or among those handed in, under another name."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from ncpl_data.catalog.manifest import Manifest
from ncpl_data.catalog.record import Run
from ncpl_data.catalog.store import Catalog
from ncpl_data.ingest.submissions.duplicates import Twins, stored_candidates
from ncpl_data.ingest.submissions.lookup import find_runs
from ncpl_data.ingest.submissions.near_copies import Copy, NearCopies, near_candidates
from ncpl_data.schema.validate import Problem


def repeated_runs(
    runs: Sequence[Run],
    catalog: Catalog,
    manifest: Manifest,
    *,
    known_as: Collection[str],
    among: bool = True,
) -> Iterator[tuple[str, Problem]]:
    """Yield (run_id, problem) for each run that is there already under another name.

    `known_as` holds the ids that are no other name: those handed in. With `among` the runs are
    also held against those before them.
    """
    if not runs:
        return
    candidates = [run_id for _, run_id in stored_candidates(catalog, manifest, runs)]
    candidates += near_candidates(catalog, manifest, runs)
    exact, near = Twins(), NearCopies()
    for run in find_runs(catalog, dict.fromkeys(candidates), manifest).values():
        if run.run_id not in known_as:
            exact.add(run)
            near.add(run)
    for run in runs:
        twin = exact.find(run)
        copy = near.find(run) if twin is None else Copy(twin, "")
        if copy is not None:
            yield run.run_id, repetition(copy, known_as)
        elif among:
            exact.add(run)
            near.add(run)


def repetition(copy: Copy, known_as: Collection[str]) -> Problem:
    """Return the problem of a run that is there already under another name."""
    where = "of this submission" if copy.run.run_id in known_as else "of the catalog"
    told = f" ({copy.words})" if copy.words else ""
    return Problem(
        "/run_id",
        "duplicate",
        f'the run "{copy.run.run_id}" {where} under another name{told}',
        "a run that is not there yet",
        "If it is the same run seen in another place, name that id in same_as; if it continues it, "
        "name it in parent_run_id; if it is another run, state what differs, such as seed.",
    )
