"""`ncpl-data ingest`: bring the runs of sources into the catalog."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ncpl_data.ingest import complete
from ncpl_data.ingest.options import catalog_option
from ncpl_data.terminal.console import EXIT_INVALID, EXIT_UNREACHABLE, Console, output_options

if TYPE_CHECKING:
    from ncpl_data.ingest.base import Source

COUNTS = ("added", "updated", "unchanged", "rejected")

EPILOG = """\b
Examples:
  ncpl-data ingest steplaw                    the owner's files, or the shipped copy
  ncpl-data ingest steplaw --offline          the shipped copy, no network
  ncpl-data ingest steplaw --from ~/steplaw   files you have
  ncpl-data ingest steplaw --from https://example.org/steplaw   a mirror of them
  ncpl-data ingest --all --dry-run            what would change
  ncpl-data ingest --all --jobs 4             four sources at once
  ncpl-data ingest --all --jobs 4 --engine ray   the same on Ray, or on the cluster of RAY_ADDRESS
"""


@click.command(epilog=EPILOG)
@click.argument("names", nargs=-1, metavar="NAME...", shell_complete=complete.sources)
@click.option("--all", "all_sources", is_flag=True, help="Every source.")
@click.option(
    "--from",
    "place",
    metavar="FOLDER|URL",
    help="Folder that holds the source's files, or its address (http, https).",
)
@click.option("--offline", is_flag=True, help="Use only the cache and the shipped copies.")
@click.option(
    "--refresh", is_flag=True, help="Download the owner's files although a copy is shipped."
)
@click.option(
    "--accept-changed",
    is_flag=True,
    help="With --from: read files whose hash is not the pinned one.",
)
@click.option("--max-rejects", type=click.IntRange(min=0), help="Fail if more are refused.")
@click.option("--strict", is_flag=True, help="Fail if any record is refused.")
@click.option("--dry-run", is_flag=True, help="Print what would change; write nothing.")
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Read so many sources at once, each in a process.",
)
@click.option(
    "--engine",
    type=click.Choice(["processes", "ray"]),
    default="processes",
    show_default=True,
    help="What runs the jobs.",
)
@catalog_option
@output_options
def ingest(
    names: tuple[str, ...],
    all_sources: bool,
    place: str | None,
    offline: bool,
    refresh: bool,
    accept_changed: bool,
    max_rejects: int | None,
    strict: bool,
    dry_run: bool,
    jobs: int,
    engine: str,
    catalog_folder: Path,
    console: Console,
) -> int:
    """Bring the runs of sources into the catalog.

    Prints what was added, updated, left unchanged and rejected. A second run adds nothing.
    Rejected records are kept with their reasons: ncpl-data query "select * from rejects".
    """
    from ncpl_data.catalog.errors import SourceUnreachableError
    from ncpl_data.catalog.store import Catalog
    from ncpl_data.ingest import pipeline
    from ncpl_data.ingest.from_url import is_url
    from ncpl_data.ingest.sources import all_sources as known_sources
    from ncpl_data.ingest.sources import find_source

    url = place if place is not None and is_url(place) else None
    folder = Path(place) if place is not None and url is None else None
    if bool(names) == all_sources:
        raise click.UsageError("name the sources to ingest, or give --all")
    check_place(place, is_url(place or ""), len(names), offline=offline, refresh=refresh)
    sources = [
        find_source(name) for name in (known_sources(console.note) if all_sources else names)
    ]
    if all_sources:
        sources = [source for source in sources if not source.is_live]
    catalog = Catalog(catalog_folder)
    console.note(f"catalog: {catalog_folder}{' (dry run, nothing is written)' if dry_run else ''}")
    options: dict[str, Any] = {
        "folder": folder,
        "url": url,
        "offline": offline,
        "refresh": refresh,
        "accept_changed": accept_changed,
        "max_rejects": 0 if strict else max_rejects,
        "dry_run": dry_run,
    }
    results: list[dict[str, Any]] = []
    unreachable: dict[str, str] = {}
    if engine == "ray" or (jobs > 1 and len(sources) > 1):
        results, unreachable = side_by_side(sources, catalog_folder, options, jobs, engine, console)
    else:
        for source in sources:
            try:
                done = pipeline.ingest(
                    source, catalog, notify=console.note, bars=console.progress, **options
                )
            except SourceUnreachableError as error:
                if len(sources) == 1:
                    raise
                unreachable[source.name] = str(error)
                console.note(f"{source.name}: {error}")
                continue
            results.append(done.as_dict())
    lines = []
    for result in results:
        counts = (f"{result[what]:,} {what}" for what in COUNTS)
        lines.append(f"{result['source']} ({result['origin']}): {', '.join(counts)}")
        for reason, count in result["rejected_by_reason"].items():
            lines.append(f"  {count:,} rejected: {reason}")
    # What may not ship is expected to be absent offline: that is no failure of --all.
    not_shipped = [
        source.name
        for source in sources
        if all_sources and offline and source.name in unreachable and not source.is_shipped
    ]
    lines += [f"{name}: left out, it does not ship and --offline is given" for name in not_shipped]
    console.result(
        {
            "catalog": str(catalog_folder),
            "dry_run": dry_run,
            "sources": results,
            "not_shipped": not_shipped,
            "unreachable": {n: why for n, why in unreachable.items() if n not in not_shipped},
        },
        "\n".join(lines),
    )
    if len(unreachable) > len(not_shipped):
        return EXIT_UNREACHABLE
    return EXIT_INVALID if any(r["rejected"] for r in results) and strict else 0


def check_place(
    place: str | None, is_address: bool, n_names: int, *, offline: bool, refresh: bool
) -> None:
    """Raise click.UsageError for options that do not go together; no name stands for --all."""
    if refresh and (offline or place is not None):
        raise click.UsageError("--refresh downloads: it goes with neither --offline nor --from")
    if is_address and offline:
        raise click.UsageError("--offline forbids a download: give --from a folder")
    if place is not None and n_names != 1:
        raise click.UsageError("--from goes with exactly one source")


def side_by_side(
    sources: Sequence[Source],
    catalog_folder: Path,
    options: Mapping[str, Any],
    jobs: int,
    engine: str,
    console: Console,
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Ingest several sources at once; return the results in the order given, and what failed.

    Raises NcplDataError for a source whose data is wrong, after the others are done.
    """
    from ncpl_data.catalog.errors import NcplDataError
    from ncpl_data.ingest.parallel import ingest_many

    names = [source.name for source in sources]
    done_one_by_one = ingest_many(
        names, catalog_folder, options, jobs=jobs, engine=engine, notify=console.note
    )
    finished = {}
    with console.progress("reading", " sources", len(names)) as progress:
        for one in done_one_by_one:
            finished[one.source] = one
            progress(1)
    unreachable = {}
    for name in names:
        one = finished[name]
        if one.done is None and one.exit_code != EXIT_UNREACHABLE:
            error = NcplDataError(one.error)
            error.exit_code = one.exit_code
            raise error
        if one.done is None:
            unreachable[name] = one.error
            console.note(f"{name}: {one.error}")
    found = (finished[name].done for name in names)
    return [dict(done) for done in found if done is not None], unreachable
