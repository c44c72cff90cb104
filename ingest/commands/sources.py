"""`ncpl-data sources`: the data sheets."""

from __future__ import annotations

from typing import Any

import click

from ncpl_data.terminal.console import Console, output_options
from ncpl_data.terminal.tables import table_text


@click.command(epilog="\b\nExample:\n  ncpl-data sources steplaw")
@click.argument("name", required=False)
@output_options
def sources(name: str | None, console: Console) -> None:
    """List the sources, or show one: owner, licence, citation, files with hash, traps."""
    from ncpl_data.ingest.sources import all_sources, find_source

    if name is not None:
        sheet = find_source(name).sheet()
        console.result(sheet, sheet_text(sheet))
        return
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
