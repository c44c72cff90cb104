"""What runs say of others: that they are one physical run (`same_as`), or continue it.

Twins become one row of a snapshot, and a lineage lies on one side of its split. So a wrong name
would spoil the run it names, and one that ties a trained run to a held-out one every snapshot.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ncpl_data.catalog.manifest import Manifest
from ncpl_data.catalog.record import Run
from ncpl_data.catalog.store import Catalog
from ncpl_data.catalog.twins import lineages
from ncpl_data.ingest.submissions.duplicates import told_apart_by
from ncpl_data.ingest.submissions.lookup import find_runs
from ncpl_data.schema.validate import Problem

LINKS = ("run_id", "same_as", "parent_run_id")
HINT = "Leave a name out that is another run's."


def false_claims(
    runs: Sequence[Run], catalog: Catalog, manifest: Manifest
) -> Iterator[tuple[str, Problem]]:
    """Yield (run_id, problem) for each new run that can not be the stored one it names."""
    claiming = [run for run in runs if run.same_as or run.parent_run_id]
    if not claiming:
        return
    stored = find_runs(catalog, {name for run in claiming for name in run.same_as or ()}, manifest)
    joined = joined_runs(claiming, catalog, manifest)
    for run in claiming:
        contradicted = (
            contradiction(run, index, stored) for index in range(len(run.same_as or ()))
        )
        problem = next((p for p in contradicted if p is not None), None)
        if problem is None and run.run_id in joined:
            first, second = joined[run.run_id]
            problem = Problem(
                "/same_as" if run.same_as else "/parent_run_id",
                "lineage",
                f'names that make one run, or one lineage, of "{first}" and "{second}"',
                "names of one physical run, and of the run it continues",
                HINT,
            )
        if problem is not None:
            yield run.run_id, problem


def contradiction(run: Run, index: int, stored: dict[str, Run]) -> Problem | None:
    """Return what is wrong with one name, where the stored run has another configuration."""
    name = (run.same_as or ())[index]
    column = told_apart_by(run, stored[name]) if name in stored else None
    if column is None:
        return None
    own, other = getattr(run, column), getattr(stored[name], column)
    return Problem(
        f"/same_as/{index}",
        "lineage",
        f'"{name}", whose {column} is {other:g}; here it is {own:g}',
        "the same physical run in another source",
        f"Leave the name out, or correct {column}, or leave it out if it is not known.",
    )


def joined_runs(
    claiming: Sequence[Run], catalog: Catalog, manifest: Manifest
) -> dict[str, tuple[str, str]]:
    """Return the new runs that tie two lineages of published runs together, with one run of each.

    Names that no run has yet tie as well: two runs that name the same third are one.
    """
    rows = catalog.read("runs", list(LINKS), manifest=manifest).to_pylist()
    new = [{column: getattr(run, column) for column in LINKS} for run in claiming]
    before, after = lineages(rows), lineages([*rows, *new])
    first: dict[str, str] = {}
    pairs: dict[str, tuple[str, str]] = {}
    for row in rows:
        run_id = row["run_id"]
        if run_id.partition("/")[0] not in manifest.submitted:
            known = first.setdefault(after[run_id], run_id)
            if before[known] != before[run_id]:
                pairs.setdefault(after[run_id], (known, run_id))
    return {run.run_id: pairs[after[run.run_id]] for run in claiming if after[run.run_id] in pairs}
