"""Runs that are in the catalog, or among those handed in, under another name."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from ncpl_data.catalog.manifest import Manifest
from ncpl_data.catalog.record import Run
from ncpl_data.catalog.store import Catalog
from ncpl_data.ingest.submissions.duplicates import is_same
from ncpl_data.ingest.submissions.lookup import find_runs
from ncpl_data.ingest.submissions.near_copies import Copy, repeats
from ncpl_data.ingest.submissions.neighbours import Index, Neighbours
from ncpl_data.schema.validate import Problem


def repeated_runs(
    runs: Sequence[Run],
    catalog: Catalog,
    manifest: Manifest,
    *,
    known_as: Collection[str],
    among: bool = True,
    met: Neighbours | None = None,
) -> Iterator[tuple[str, Problem]]:
    """Yield (run_id, problem) for each run that is there already under another name.

    `known_as` holds the ids that are no other name: those handed in. With `among` the runs are
    also held against those before them. `met` remembers runs from one call to the next.
    """
    if not runs:
        return
    met = Neighbours() if met is None else met
    met.meet(runs, catalog, manifest, besides=known_as)
    sketches = [met.sketch(run) for run in runs]
    suspected = [met.index.suspects(sketch) for sketch in sketches]
    wanted = dict.fromkeys(i for ids in suspected for i in ids if i not in known_as)
    whole = find_runs(catalog, wanted, manifest)
    before = Index()
    for run, sketch, ids in zip(runs, sketches, suspected, strict=True):
        others = (whole[i] for i in (*ids, *before.suspects(sketch)) if i in whole)
        copy = repeated_by(run, others)
        if copy is not None:
            yield run.run_id, repetition(copy, known_as)
        elif among:
            whole[run.run_id] = run
            before.add(sketch)
            met.add(sketch)


def repeated_by(run: Run, others: Iterable[Run]) -> Copy | None:
    """Return the first of some runs that a run repeats, to the last digit before nearly."""
    others = list(others)
    for other in others:
        if is_same(run, other):
            return Copy(other, "")
    for other in others:
        words = repeats(run, other)
        if words is not None:
            return Copy(other, words)
    return None


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
