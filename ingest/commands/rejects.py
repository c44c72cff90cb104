"""`ncpl-data rejects`: the refused documents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ncpl_data.ingest.commands.submit import change_lines
from ncpl_data.ingest.commands.validate import problem_lines
from ncpl_data.ingest.options import catalog_option
from ncpl_data.terminal.console import EXIT_INVALID, Console, output_options
from ncpl_data.terminal.tables import table_text

if TYPE_CHECKING:
    from ncpl_data.ingest.submissions.rejects import Reject, Rejects

EPILOG = """\b
Examples:
  ncpl-data rejects list
  ncpl-data rejects show 3f2a --document > mended.json
  ncpl-data rejects retry 3f2a --with mended.json
  ncpl-data rejects drop --all
"""


@click.group(epilog=EPILOG)
def rejects() -> None:
    """List, show, retry or drop refused documents.

    They lie beside the catalog, in the folder <catalog>-rejects, so that what was refused never
    changes the catalog. What an ingest refuses is in its table rejects.
    """


@rejects.command("list", epilog="\b\nExample:\n  ncpl-data rejects list --json")
@catalog_option
@output_options
def list_rejects(catalog_folder: Path, console: Console) -> None:
    """List refused documents with their first reason, and what ingests refused, by reason."""
    from ncpl_data.catalog.store import Catalog
    from ncpl_data.ingest.submissions.rejects import Rejects

    rows = [
        {
            "id": reject.id,
            "run": reject.run_id,
            "file": reject.file,
            "first_seen": reject.first_seen,
            "reason": f"{reject.problems[0].pointer or '/'} {reject.problems[0].rule}",
            "problems": len(reject.problems),
        }
        for reject in Rejects(catalog_folder).all()
    ]
    stored = Catalog(catalog_folder).read("rejects", ["source", "reason"])
    by_reason = stored.group_by(["source", "reason"]).aggregate([([], "count_all")]).to_pylist()
    ingested = [
        {"source": row["source"], "reason": row["reason"], "records": row["count_all"]}
        for row in sorted(by_reason, key=lambda r: (r["source"], r["reason"]))
    ]
    text = table_text(rows) if rows else "no refused documents"
    if ingested:
        text += "\n\nrefused while ingesting (in the view rejects of ncpl-data query):\n"
        text += table_text(ingested)
    console.result({"documents": rows, "ingested": ingested}, text)


@rejects.command(epilog="\b\nExample:\n  ncpl-data rejects show 3f2a --document > mended.json")
@click.argument("reject_id", metavar="ID")
@click.option("--document", is_flag=True, help="Print only the document, to be mended.")
@catalog_option
@output_options
def show(reject_id: str, document: bool, catalog_folder: Path, console: Console) -> None:
    """Show a refused document with every problem it has."""
    from ncpl_data.ingest.submissions.rejects import Rejects
    from ncpl_data.schema.validate import shorten

    reject = Rejects(catalog_folder).find(reject_id)
    if document:
        whole = reject.text if reject.document is None else reject.document
        console.result(whole, whole if isinstance(whole, str) else json.dumps(whole, indent=1))
        return
    place = {"file": reject.file, "line": reject.line}
    problems = [{**place, **p.as_dict()} for p in reject.problems]
    content = reject.text or shorten(reject.document, 2_000)
    console.result(reject.as_dict(), "\n".join([*problem_lines(problems), "", content]))


def chosen(store: Rejects, ids: tuple[str, ...], all_of_them: bool) -> list[Reject]:
    """Return the rejects that ids name, or all."""
    if bool(ids) == all_of_them:
        raise click.UsageError("name the rejects by their ids, or give --all")
    return list(store.all()) if all_of_them else [store.find(i) for i in ids]


@rejects.command(epilog="\b\nExample:\n  ncpl-data rejects retry 3f2a --with mended.json")
@click.argument("ids", nargs=-1, metavar="ID...")
@click.option("--all", "all_of_them", is_flag=True, help="Every refused document.")
@click.option(
    "--with",
    "mended",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Submit this mended file instead of the document of the one ID.",
)
@click.option("--replace", is_flag=True, help="Replace stored runs that have other values.")
@catalog_option
@output_options
def retry(
    ids: tuple[str, ...],
    all_of_them: bool,
    mended: Path | None,
    replace: bool,
    catalog_folder: Path,
    console: Console,
) -> int:
    """Submit refused documents again; those that are accepted now are no longer kept.

    To mend one: rejects show ID --document > mended.json, edit it, rejects retry ID --with it.
    """
    from ncpl_data.catalog.errors import InputError
    from ncpl_data.catalog.store import Catalog
    from ncpl_data.ingest.submissions import submit as submission
    from ncpl_data.ingest.submissions.documents import read_documents
    from ncpl_data.ingest.submissions.rejects import Rejects

    store = Rejects(catalog_folder)
    if mended is not None and len(ids) != 1:
        raise click.UsageError("--with goes with exactly one ID")
    wanted = chosen(store, ids, all_of_them)
    documents, retried, unreadable = [], [], []
    for reject in wanted:
        try:
            if mended is None:
                found = [reject.as_document()]
            else:
                found = [reject.beside(document) for document in read_documents([mended])]
        except InputError as error:
            unreadable.append(str(error))
            continue
        documents += found
        retried.append(reject)
    done = submission.submit(documents, Catalog(catalog_folder), replace=replace)
    refused = [finding.document for finding in done.refused]
    if mended is not None:
        accepted = [] if refused else retried
    else:
        accepted = [
            r for r, d in zip(retried, documents, strict=True) if not any(d is x for x in refused)
        ]
    for reject in accepted:
        store.drop(reject)
    if mended is None:
        for finding in done.refused:  # with the reasons of today
            store.keep(finding.document, finding.problems)
    result = done.as_dict() | {"dropped": [r.id for r in accepted], "unreadable": unreadable}
    lines = [*problem_lines(result["problems"]), *unreadable]
    lines += change_lines(done, False, console.verbosity)
    lines.append(f"{len(accepted):,} accepted, {len(wanted) - len(accepted):,} still refused")
    console.result(result, "\n".join(lines))
    return EXIT_INVALID if done.refused or unreadable else 0


@rejects.command(epilog="\b\nExample:\n  ncpl-data rejects drop 3f2a")
@click.argument("ids", nargs=-1, metavar="ID...")
@click.option("--all", "all_of_them", is_flag=True, help="Every refused document.")
@catalog_option
@output_options
def drop(ids: tuple[str, ...], all_of_them: bool, catalog_folder: Path, console: Console) -> None:
    """Forget refused documents."""
    from ncpl_data.ingest.submissions.rejects import Rejects

    store = Rejects(catalog_folder)
    dropped = chosen(store, ids, all_of_them)
    for reject in dropped:
        store.drop(reject)
    console.result({"dropped": [r.id for r in dropped]}, f"{len(dropped):,} dropped")
