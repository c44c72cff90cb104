"""`ncpl-data coverage`: what the catalog has of a published split, and of what a model needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from ncpl_data.ingest.options import at_option, catalog_option
from ncpl_data.terminal.console import Console, output_options
from ncpl_data.terminal.tables import table_text

COLUMNS = ("source", "part", "named", "in_catalog", "with_loss", "with_final_loss", "with_curve")

EPILOG = """\b
Examples:
  ncpl-data coverage
  ncpl-data coverage --missing     names the runs that have no loss here
  ncpl-data coverage --truncated   names the runs whose log stops before they do
  ncpl-data coverage --model       what a model can learn from, by source and field
  ncpl-data coverage --model -v    and what the other runs would need
"""


@click.command(epilog=EPILOG)
@click.option("--split", default="ncpl", show_default=True, help="Published split.")
@click.option("--missing", is_flag=True, help="Name the runs without a loss, one a line.")
@click.option("--truncated", is_flag=True, help="Name the runs whose loss is not the final one.")
@click.option(
    "--model",
    "is_model",
    is_flag=True,
    help="Count by source and field what a model can learn from; with -v what is lacking.",
)
@at_option
@catalog_option
@output_options
def coverage(
    split: str,
    is_model: bool,
    missing: bool,
    truncated: bool,
    at: int | None,
    catalog_folder: Path,
    console: Console,
) -> None:
    """Count which runs of a split are in the catalog, with a loss, with a curve."""
    if is_model:
        model_coverage(at, catalog_folder, console)
        return
    from ncpl_data.catalog.stats import coverage as split_coverage
    from ncpl_data.catalog.store import Catalog

    rows = [part.as_dict() for part in split_coverage(Catalog(catalog_folder, at), split)]
    names = {part: named(rows, part) for part in ("missing", "truncated")}
    wanted = [
        part for part, is_wanted in (("missing", missing), ("truncated", truncated)) if is_wanted
    ]
    lines = [line for part in wanted for line in names[part]]
    console.result(
        {"split": split, "parts": rows}, "\n".join(lines) if wanted else table_text(rows, COLUMNS)
    )
    if names["missing"] and not wanted:
        console.note(f"{len(names['missing']):,} runs have no loss here; their names: --missing")
    if names["truncated"] and not wanted:
        console.note(
            f"{len(names['truncated']):,} runs have a loss that is the last one logged, not the "
            "final one (status truncated); their names: --truncated"
        )


def model_coverage(at: int | None, catalog_folder: Path, console: Console) -> None:
    """Print how many physical runs with a loss have what a model reads, by source and field."""
    from ncpl_data.catalog import model_ready
    from ncpl_data.catalog.store import Catalog

    rows = Catalog(catalog_folder, at).read("runs", list(model_ready.COLUMNS)).to_pylist()
    parts = [part.as_dict() for part in model_ready.coverage(rows)]
    totals = ("runs", "size_and_data", "usable", "recipe", "recipe_asked")
    table = [{"source": p["name"]} | {n: p[n] for n in totals} | p["fields"] for p in parts]
    text = table_text(table, ("source", *totals, *model_ready.FIELDS))
    if console.verbosity > 0:
        for part in parts[:-1]:
            lines = [f"  {n['runs']:,} lack {n['field']}: {n['needs']}" for n in part["needs"]]
            text += "\n" + "\n".join([f"{part['name']}:", *(lines or ["  nothing is lacking"])])
    console.result({"parts": parts}, text)
    whole = parts[-1]
    if whole["runs"]:
        size = whole["size_and_data"] / whole["runs"]
        recipe = whole["recipe"] / (whole["recipe_asked"] or 1)
        console.note(
            f"of {whole['runs']:,} pretraining runs with a final loss {size:.1%} have size and "
            f"data; of {whole['recipe_asked']:,} (mixture studies without a rate left out) "
            f"{recipe:.1%} have learning rate, batch, schedule, warm-up and optimizer"
        )


def named(rows: Sequence[Mapping[str, Any]], part: str) -> list[str]:
    """Return a line for each run of one list: source, part of the split, name."""
    return [f"{row['source']}\t{row['part']}\t{name}" for row in rows for name in row[part]]
