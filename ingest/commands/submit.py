"""`ncpl-data submit`: bring run documents into the catalog."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import click

from ncpl_data.ingest.commands.validate import problem_lines
from ncpl_data.ingest.options import catalog_option
from ncpl_data.terminal.console import EXIT_INVALID, Console, output_options

T = TypeVar("T")

MAX_CHANGES = 100

EPILOG = """\b
Examples:
  ncpl-data submit runs/ --dry-run     what would be added or changed, field by field
  ncpl-data submit runs/               do it
  ncpl-data submit run.yaml --replace  correct a run submitted before
"""


@click.command(epilog=EPILOG)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--replace", is_flag=True, help="Replace stored runs that have other values.")
@click.option("--dry-run", is_flag=True, help="Print what would change; write nothing.")
@click.option("--contributor", help="Who submits, for documents that do not say.")
@click.option("--licence", help="Licence of the records, for documents that do not say.")
@catalog_option
@output_options
def submit(
    files: tuple[Path, ...],
    replace: bool,
    dry_run: bool,
    contributor: str | None,
    licence: str | None,
    catalog_folder: Path,
    console: Console,
) -> int:
    """Check run documents and bring the good ones into the catalog.

    A document that is wrong, repeats a run or changes a stored one is refused, kept whole with
    the reasons (ncpl-data rejects list), and makes the exit code 1.
    """
    from ncpl_data.catalog.errors import InputError
    from ncpl_data.catalog.store import Catalog
    from ncpl_data.ingest.submissions import submit as submission
    from ncpl_data.ingest.submissions.documents import read_documents
    from ncpl_data.ingest.submissions.rejects import Rejects

    catalog = Catalog(catalog_folder)
    console.note(f"catalog: {catalog_folder}{' (dry run, nothing is written)' if dry_run else ''}")
    with console.progress("submitting", " documents", after_seconds=0) as advance:
        done = submission.submit(
            counted(read_documents(files), advance),
            catalog,
            replace=replace,
            dry_run=dry_run,
            contributor=contributor,
            licence=licence,
        )
    kept: list[str] = []
    not_kept = None
    if not dry_run:
        try:
            rejects = Rejects(catalog_folder)
            kept += [rejects.keep(f.document, f.problems).id for f in done.refused]
        except InputError as error:  # what was done, and what is wrong, is told all the same
            not_kept = str(error)
    result = {"catalog": str(catalog_folder), "dry_run": dry_run, **done.as_dict(), "kept": kept}
    counts = (f"{result[what]:,} {what}" for what in ("added", "updated", "unchanged", "rejected"))
    lines = [*problem_lines(result["problems"]), *change_lines(done, dry_run, console.verbosity)]
    lines += [] if done.outlook is None else done.outlook.lines()
    lines += [] if done.measured is None else done.measured.lines()
    lines.append(", ".join(counts) + (" (dry run)" if dry_run else ""))
    if kept:
        lines.append("refused documents are kept: ncpl-data rejects list")
    console.result(result, "\n".join(lines))
    if not_kept:
        click.echo(f"error: {not_kept}", err=True)
    return EXIT_INVALID if done.refused else 0


def counted(documents: Iterable[T], advance: Callable[[int], object]) -> Iterator[T]:
    """Yield documents, each counted."""
    for document in documents:
        yield document
        advance(1)


def change_lines(done: object, dry_run: bool, verbosity: int) -> list[str]:
    """Return what is added and changed, field by field."""
    from ncpl_data.ingest.submissions.submit import Submitted
    from ncpl_data.schema.validate import shorten

    assert isinstance(done, Submitted)
    lines = []
    if dry_run or verbosity > 0:
        lines += [f"+ {run_id}" for run_id in done.added[:MAX_CHANGES]]
        if len(done.added) > MAX_CHANGES:
            lines.append(f"+ ... and {len(done.added) - MAX_CHANGES:,} runs more")
    lines += [
        f"~ {c.run_id} {c.pointer}: {shorten(c.before)} -> {shorten(c.after)}"
        for c in done.changes[:MAX_CHANGES]
    ]
    if len(done.changes) > MAX_CHANGES:
        lines.append(f"~ ... and {len(done.changes) - MAX_CHANGES:,} values more; all: --json")
    return lines
