"""The command ncpl laws optimum."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ncpl.commands.options import catalog_option, common

if TYPE_CHECKING:
    from ncpl.laws.base import Array


@click.command()
@click.option("--snapshot", required=True, help="Snapshot: id, name, path, or latest.")
@catalog_option
@click.option("--source", help="Source of the snapshot.")
@click.option("--optimizer", help="Only runs of this optimizer.")
@click.option("--split", default="train", show_default=True, help="Part of the snapshot.")
@click.option("--refits", type=click.IntRange(1), default=200, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@common
def optimum(
    *,
    snapshot: str,
    catalog: Path | None,
    source: str | None,
    optimizer: str | None,
    split: str,
    refits: int,
    seed: int,
    as_json: bool,
    no_progress: bool,
) -> None:
    """Refit how the best learning rate, batch size and timescale move with size and data.

    The Step Law (rate = s N^p D^q, batch = s D^r) and Power Lines (AdamW timescale = s (D/N)^m),
    beside their published numbers.

    Example: ncpl laws optimum --snapshot latest --source steplaw
    """
    del no_progress  # over in a second
    import numpy as np

    from ncpl.bench import tables
    from ncpl.data.find import find_snapshot
    from ncpl.errors import ConfigError
    from ncpl.laws import steplaw
    from ncpl.laws.optimum import refit

    table = tables.snapshot_table(find_snapshot(snapshot, catalog), source, split)
    names = sorted(set(table["optimizer"].tolist()))
    if optimizer is None and len(names) > 1:
        raise click.UsageError(
            f"these runs have {len(names)} optimizers, whose rates do not compare; give "
            f"--optimizer, one of: {', '.join(names)}"
        )
    if optimizer is not None and optimizer not in names:
        raise click.UsageError(f"no run has optimizer {optimizer!r}; there are: {', '.join(names)}")
    keep = np.array([optimizer in (None, name) for name in table["optimizer"]])

    def column(name: str) -> Array:
        return np.asarray(table[name][keep], dtype=np.float64)

    try:
        optima = steplaw.near_best(
            column("params_non_embedding"),
            column("train_tokens"),
            column("learning_rate"),
            column("batch_tokens"),
            column("loss"),
            table["group"][keep].tolist(),
            weight_decay=column("weight_decay"),
        )
        result = refit(optima, n_refits=refits, seed=seed)
    except ValueError as error:
        raise ConfigError(f"{snapshot}: {error}") from error
    if as_json:
        click.echo(json.dumps(result))
        return
    click.echo(f"{result['groups']} groups of at least {steplaw.MIN_GROUP} runs")
    for name, entry in result["numbers"].items():
        ends = entry["interval_90"]
        spread = f"  90% {ends[0]:.4g} to {ends[1]:.4g}" if ends else ""
        click.echo(f"  {name} = {entry['value']:.4g}{spread}  published {entry['published']:.4g}")
