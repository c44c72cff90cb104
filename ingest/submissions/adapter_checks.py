"""The checks of a submission, for the runs of a source that comes with another package."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ncpl_data.catalog.record import Run
from ncpl_data.catalog.store import Catalog
from ncpl_data.ingest.submissions.checks import check_run
from ncpl_data.ingest.submissions.repeats import repeated_runs
from ncpl_data.schema.validate import Problem


def document_problems(run: Run) -> list[Problem]:
    """Return every contradiction inside a run, as `ncpl-data validate` names it.

    How its values are known is no matter of this: readers give origins to tables too.
    """
    return [p for p in check_run(run.to_document()) if not p.pointer.startswith("/provenance")]


def repeats_elsewhere(
    runs: Sequence[Run], catalog: Catalog, source: str
) -> Iterator[tuple[str, Problem]]:
    """Yield (run_id, problem) for each run of a source that another source of the catalog holds.

    Runs that name the other one in `same_as` are not among them.
    """
    manifest = catalog.manifest()
    others = {
        table: tuple(file for file in files if file.source != source)
        for table, files in manifest.tables.items()
    }
    elsewhere = type(manifest)(**{**vars(manifest), "tables": others})
    yield from repeated_runs(runs, catalog, elsewhere, known_as=(), among=False)


def told(problems: Iterable[Problem]) -> str:
    """Return problems in one line, for the table `rejects`."""
    return "; ".join(map(str, problems))
