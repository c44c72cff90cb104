"""Command ncpl ablate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ncpl.console import bundle_option, catalog_option, common, snapshot_option


@click.command()
@click.option("--write", is_flag=True, help="Put the tables on the bundle's card.")
@bundle_option
@snapshot_option
@catalog_option
@common
def ablate(
    *,
    write: bool,
    folder: Path | None,
    snapshot: str,
    catalog: Path | None,
    as_json: bool,
    no_progress: bool,
) -> None:
    """Measure what each part of the model gives, on folds of training runs; takes minutes.

    One member with the bundle's settings is fitted again and again without whole groups, one size
    or one optimizer, and without one part of the model. Held-out runs are never used.

    Example: ncpl ablate --bundle runs/ncpl --snapshot latest --write
    """
    from ncpl.ablate import ablations, joint, leave_one_out
    from ncpl.bundle import DEFAULT, load
    from ncpl.card import markdown, render
    from ncpl.snapshots import find_snapshot

    bundle = load(folder)
    runs = find_snapshot(snapshot, catalog).runs()

    def told(what: str) -> None:
        if not no_progress:
            click.echo(f"  {what}", err=True)

    parts = {
        fit.family: runs.where(family=fit.family, split="train").finished() for fit in bundle.fits
    }
    found: dict[str, list[dict[str, Any]]] = {"ablations": [], "leave_one_out": []}
    for train in parts.values():
        found["ablations"] += ablations(train, bundle.config, told=told)
        found["leave_one_out"] += leave_one_out(train, bundle.config, told=told)
    if len(parts) > 1:
        found["ablations"] += joint(parts, bundle.config)
    if write:
        bundle.about |= found
        target = folder or DEFAULT
        bundle.save(target)
        (target / "README.md").write_text(render(bundle.card()), encoding="utf-8")
    if as_json:
        click.echo(json.dumps(found))
    else:
        click.echo("\n\n".join(markdown(rows) for rows in found.values()))
