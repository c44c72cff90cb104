"""`ncpl-data conflicts`: where sources disagree, which value stands, and why."""

from __future__ import annotations

from pathlib import Path

import click

from ncpl_data.ingest import complete
from ncpl_data.ingest.options import at_option, catalog_option
from ncpl_data.terminal.console import Console, output_options
from ncpl_data.terminal.tables import table_text

SUMMARY = ("kind", "column", "stands", "loses", "runs", "value", "lost", "reason")
SINGLE = ("kind", "run_id", "column", "value", "other", "lost", "reason")

EPILOG = """\b
Kinds:
  twins      two rows of one physical run (same_as) differ
  repaired   a source's own value was wrong, or a guess, and was replaced or removed
  duplicate  two runs that nothing links have one and the same curve
\b
Examples:
  ncpl-data conflicts
  ncpl-data conflicts --kind twins --column final_loss --each
  ncpl-data conflicts --json
"""


@click.command(epilog=EPILOG)
@click.option("--kind", type=click.Choice(["twins", "repaired", "duplicate"]), help="Only these.")
@click.option("--column", help="Only this column.")
@click.option("--run", "run_id", shell_complete=complete.runs, help="Only this run.")
@click.option("--each", is_flag=True, help="List every disagreement, not counts.")
@at_option
@catalog_option
@output_options
def conflicts(
    kind: str | None,
    column: str | None,
    run_id: str | None,
    each: bool,
    at: int | None,
    catalog_folder: Path,
    console: Console,
) -> None:
    """List each disagreement between sources, with the value that stands and the reason."""
    from ncpl_data.catalog.conflicts import find_conflicts, summary
    from ncpl_data.catalog.store import Catalog

    found = [
        one
        for one in find_conflicts(Catalog(catalog_folder, at))
        if kind in (None, one.kind)
        and column in (None, one.column)
        and run_id in (None, one.run_id, one.other)
    ]
    rows = [one.as_dict() for one in found] if each or run_id else summary(found)
    result = {"conflicts": len(found), "by": summary(found)}
    if each or run_id:
        result = {"conflicts": len(found), "each": rows}
    names = SINGLE if each or run_id else SUMMARY
    text = table_text(rows, names) if rows else "no disagreements"
    console.result(result, text)
