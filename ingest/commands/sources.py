"""`ncpl-data sources`: the data sheets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ncpl_data.ingest import complete
from ncpl_data.terminal.console import EXIT_INVALID, Console, output_options
from ncpl_data.terminal.tables import table_text

if TYPE_CHECKING:
    from ncpl_data.ingest.base import Source


EPILOG = """\b
Examples:
  ncpl-data sources steplaw
  ncpl-data sources acme_sweeps --check               the generic tests, on its shipped files
  ncpl-data sources acme_sweeps --check --from raw/   on files you have
  ncpl-data sources acme_sweeps --template acme/      a package to begin a source of your own with
"""


@click.command(epilog=EPILOG)
@click.argument("name", required=False, shell_complete=complete.sources)
@click.option("--check", "is_check", is_flag=True, help="Run the generic tests on the source NAME.")
@click.option(
    "--from", "folder", type=click.Path(path_type=Path), help="With --check: where its files lie."
)
@click.option(
    "--template", type=click.Path(path_type=Path), help="Write a package with a source NAME there."
)
@output_options
def sources(
    name: str | None, is_check: bool, folder: Path | None, template: Path | None, console: Console
) -> int:
    """List the sources, or show one: owner, licence, citation, files with hash, traps."""
    from ncpl_data.ingest.sources import all_sources, find_source

    if (is_check or template is not None) and name is None:
        raise click.UsageError("name the source")
    if folder is not None and not is_check:
        raise click.UsageError("--from goes with --check")
    if template is not None:
        from ncpl_data.ingest.template import write_template

        files = write_template(str(name), template)
        console.result({"files": files}, "\n".join([*files, NEXT.format(name=name, at=template)]))
        return 0
    if is_check:
        return check(find_source(str(name)), folder, console)
    if name is not None:
        sheet = find_source(name).sheet()
        console.result(sheet, sheet_text(sheet))
        return 0
    sheets = [source.sheet() for source in all_sources(console.note).values()]
    rows = [
        {
            "source": sheet["name"],
            "runs": max(origin["runs"] for origin in sheet["origins"]),
            "offline": any(origin["is_bundled"] for origin in sheet["origins"]),
            "licence": sheet["licence"] or "none stated",
            "title": sheet["title"],
        }
        for sheet in sheets
    ]
    console.result({"sources": sheets}, table_text(rows))
    return 0


NEXT = """\
next: pip install -e {at} && ncpl-data sources {name} --check; then write read() for your files"""


def check(source: Source, folder: Path | None, console: Console) -> int:
    """Print what the generic tests find in one source; return the exit code."""
    from ncpl_data.ingest.pipeline import locate
    from ncpl_data.ingest.source_check import check_source

    located = locate(source, folder=folder, offline=True, accept_changed=True, notify=console.note)
    found = check_source(source, located.origin, located.paths)
    lines = [f"{one.rule}: no: {one.detail}" for one in found.findings]
    lines.append(
        f"{source.name} ({found.origin}): {found.n_runs:,} runs, {found.n_skipped:,} skipped; "
        + (f"{len(found.findings)} rules broken" if lines else "all rules hold")
    )
    console.result(
        {
            "source": source.name,
            "origin": found.origin,
            "runs": found.n_runs,
            "skipped": found.n_skipped,
            "findings": [vars(one) for one in found.findings],
        },
        "\n".join(lines),
    )
    return EXIT_INVALID if found.findings else 0


def sheet_text(sheet: dict[str, Any]) -> str:
    """Return one data sheet for reading."""
    lines = [
        f"{sheet['name']}: {sheet['title']}",
        f"  owner     {sheet['owner']}",
        f"  licence   {sheet['licence'] or 'none stated by the owner'}",
        f"  citation  {sheet['citation']}",
        f"  url       {sheet['url']}",
    ]
    for origin in sheet["origins"]:
        lines += [
            "",
            f"  origin {origin['name']}: {origin['title']}",
            f"    runs      {origin['runs']:,}"
            + (" (a third party's copy)" if origin["is_copy"] else ""),
            f"    licence   {origin['licence'] or 'none stated'}",
            f"    read from {'this package' if origin['is_bundled'] else origin['url']}"
            f" at {origin['revision'][:12]}",
        ]
        lines += [
            f"    file      {f['name']}, {f['bytes']:,} bytes, sha256 {f['sha256'][:16]}..."
            for f in origin["files"]
        ]
    lines += ["", "  traps"]
    lines += [f"    - {trap}" for trap in sheet["traps"]]
    return "\n".join(lines)
