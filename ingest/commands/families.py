"""`ncpl-data families`: which losses compare."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ncpl_data.ingest.options import at_option, catalog_option
from ncpl_data.terminal.console import Console, output_options
from ncpl_data.terminal.tables import table_text

EPILOG = """\b
Examples:
  ncpl-data families
  ncpl-data families --min-usable 10 --json
\b
A family is publisher (or public evaluation set), metric, training data, tokenizer and unit: losses
compare, and are learned together, within one family. Usable runs ended with a loss and have size
and tokens; the community split holds parts of a family out from 10 of them on.
"""
SHOWN = ("usable", "runs", "sizes", "params", "tokens", "loss", "split", "family", "varies")


@click.command(epilog=EPILOG)
@click.option(
    "--min-usable",
    type=click.IntRange(min=0),
    default=0,
    help="Show families with at least so many usable runs.",
)
@at_option
@catalog_option
@output_options
def families(min_usable: int, at: int | None, catalog_folder: Path, console: Console) -> None:
    """List the families of comparable losses, with their runs, sizes and what varies."""
    from ncpl_data.catalog import families as rule
    from ncpl_data.catalog.store import Catalog

    rows = Catalog(catalog_folder, at).read("runs", list(rule.COLUMNS)).to_pylist()
    found = [one for one in rule.families(rows) if one.usable >= min_usable]
    shown = [line(one.as_dict()) for one in found]
    console.result({"families": [one.as_dict() for one in found]}, table_text(shown, SHOWN))
    enough = sum(one.is_split and one.sizes >= rule.MIN_SIZES for one in found)
    console.note(
        f"{enough} of {len(found)} families have {rule.MIN_USABLE} usable runs and "
        f"{rule.MIN_SIZES} sizes or more"
    )


def line(family: dict[str, Any]) -> dict[str, Any]:
    """Return a family as a row for people."""
    return {
        "usable": family["usable"],
        "runs": family["runs"],
        "sizes": family["sizes"],
        "params": span(family["min_params"], family["max_params"]),
        "tokens": span(family["min_tokens"], family["max_tokens"]),
        "loss": f"{family['min_loss']:.3f}..{family['max_loss']:.3f}",
        "split": "yes" if family["is_split"] else "train only",
        "family": family["family"],
        "varies": ", ".join(family["varies"]),
    }


def span(low: int | None, high: int | None) -> str:
    """Return a range of counts, short."""
    if low is None or high is None:
        return ""
    return short(low) if low == high else f"{short(low)}..{short(high)}"


def short(count: int) -> str:
    """Return a count with three digits and a suffix."""
    for size, suffix in ((10**12, "T"), (10**9, "B"), (10**6, "M")):
        if count >= size:
            return f"{count / size:.3g}{suffix}"
    return f"{count:,}"
