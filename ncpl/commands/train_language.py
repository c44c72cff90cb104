"""What `ncpl-train` does when it is given a language model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ncpl.data.find import find_snapshot
from ncpl.evaluate.scores import format_table
from ncpl.language.pipeline import train_language
from ncpl.language.settings import LanguageConfig


def train_and_print(
    config: LanguageConfig,
    snapshot: str,
    catalog: Path | None,
    *,
    as_json: bool,
    folder: Path,
    **options: Any,
) -> None:
    """Train a bundle into a folder and print its score table; options as of `train_language`."""
    found = find_snapshot(snapshot, catalog)
    bundle = train_language(found, found.runs(), config, folder=folder, **options)
    if bundle is None:
        return  # another process prints
    if as_json:
        named = ("scores", "curve_scores", "held_out_mae", "best_step", "steps", "train_seconds")
        about = {name: bundle.about[name] for name in named}
        told = {"snapshot_id": found.id, "split": found.policy, "bundle": str(folder)}
        click.echo(json.dumps(told | about))
        return
    click.echo(f"snapshot {found.id}, split {found.policy}, nats per token")
    click.echo(format_table(bundle.about["scores"]))
    for row in bundle.about["curve_scores"]:
        click.echo(
            f"curves, {row['source']} {row['split'].upper()}: MAE {row['mae']:.4f} over "
            f"{row['points']} points of {row['runs']} runs"
        )
    click.echo(f"bundle: {folder}")
