"""Commands ncpl eval and card."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from ncpl.commands.options import bundle_option, catalog_option, common, snapshot_option

CARDS = {
    "ncpl-language": "ncpl.language.card",
    "ncpl-community": "ncpl.evaluate.community_card",
}
"""What renders the card of a format; the others are those of an ensemble."""


@click.command("eval")
@click.option("--cells", is_flag=True, help="Also each cell of optimizer, size and data.")
@bundle_option
@snapshot_option
@catalog_option
@common
def evaluate(
    *,
    cells: bool,
    folder: Path | None,
    snapshot: str,
    catalog: Path | None,
    as_json: bool,
    no_progress: bool,
) -> None:
    """Score a bundle on the held-out parts of a snapshot, beside Chinchilla.

    Example: ncpl eval --bundle runs/ncpl --snapshot latest --cells
    """
    del no_progress  # nothing takes long here
    from ncpl.bundles import load
    from ncpl.data.find import find_snapshot

    bundle = load(folder)
    found = find_snapshot(snapshot, catalog)
    runs = found.runs()
    rescore, cell_table = scoring_of(bundle)
    rescore(bundle, found, runs)
    table = cell_table(bundle, runs) if cells else []
    print_scores(bundle, as_json, {"cells": table} if as_json and cells else {})
    for row in [] if as_json else table:
        click.echo(
            f"{row['source']} {row['split'].upper()} {row['cell']}: {row['n']} runs, MAE NCPL "
            f"{row['NCPL']:.4f}, Chinchilla refit {row['Chinchilla, refit']:.4f}"
        )


def scoring_of(bundle: Any) -> tuple[Callable[..., None], Callable[..., list[dict[str, Any]]]]:
    """Return the functions that score a bundle of this kind: as a whole, and cell by cell."""
    if bundle.card()["format"].startswith("ncpl-language/"):
        from ncpl.language import scores

        return scores.rescore, scores.cells
    from ncpl.evaluate.rescore import rescore
    from ncpl.evaluate.scores import cell_table

    return rescore, cell_table


@click.command()
@bundle_option
@common
def card(folder: Path | None, as_json: bool, no_progress: bool) -> None:
    """Show a bundle's card: data, seeds, scores, intervals, limits.

    Example: ncpl card --bundle runs/ncpl
    """
    del no_progress  # nothing takes long here
    from ncpl.bundles import load
    from ncpl.errors import BundleError

    found = load(folder).card()
    kind = CARDS.get(found["format"].split("/")[0], "ncpl.evaluate.card")
    render = importlib.import_module(kind).render
    try:
        click.echo(json.dumps(found) if as_json else render(found))
    except KeyError as error:
        where = folder or "the shipped bundle"
        raise BundleError(f"{where}: the card lacks {error}; train the bundle again") from error


def print_scores(
    bundle: Any,
    as_json: bool,
    more: dict[str, Any],
    *,
    outcomes: Sequence[dict[str, Any]] | None = None,
) -> None:
    """Print a bundle's score table, as text or as one JSON object.

    After a training, with a line for each family of the snapshot.
    """
    from ncpl.evaluate.scores import format_table
    from ncpl.train.families import line

    about = bundle.about
    split = about["scored_split"]
    if as_json:
        found = {
            "snapshot_id": about.get("scored_on", bundle.snapshot_id),
            "split": split,
            "seeds": {fit.family[0]: fit.seeds for fit in bundle.fits},
            "scores": about["scores"],
            "curve_scores": about.get("curve_scores"),
            "coverage": about.get("coverage"),
            **({} if outcomes is None else {"families": outcomes}),
            **more,
        }
        click.echo(json.dumps(found))
        return
    for outcome in outcomes or ():
        click.echo(line(outcome))
    where = about.get("scored_on", bundle.snapshot_id)
    click.echo(f"snapshot {where}, split {split}, nats per token")
    if about["scores"]:
        click.echo(format_table(about["scores"]))
    else:
        click.echo("nothing is held out of these families, so there are no scores")
    for row in about.get("curve_scores") or []:
        click.echo(
            f"{row['source']} {row['split'].upper()}: curves of {row['n']} runs, MAE past 10% of "
            f"the run {row['mae']:.4f}, past half {row['mae_second_half']:.4f}"
        )
    for name, value in more.items():
        if value:
            click.echo(f"{name}: {value}")
