"""Command ncpl predict."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import click

from ncpl.cli import bundle_option, catalog_option, common

log = logging.getLogger(__name__)


@click.command()
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True), required=False)
@click.option(
    "--format", "kind", type=click.Choice(["json", "csv"]),
    help="Of FILE; by its ending if not given, json for standard input.",
)  # fmt: skip
@click.option("--snapshot", help="Predict the runs of a snapshot: id, name, path, or latest.")
@catalog_option
@bundle_option
@common
def predict(
    *,
    file: Path | None,
    kind: str | None,
    snapshot: str | None,
    catalog: Path | None,
    folder: Path | None,
    as_json: bool,
    no_progress: bool,
) -> None:
    """Predict the final loss of the configurations in FILE (JSON, JSONL or CSV; - is stdin).

    The header of a CSV file names the fields; an empty cell is an absent field. With --snapshot,
    predict the runs of a snapshot instead; those the bundle knows no source for are left out.

    Example: ncpl predict config.json, where config.json holds
    {"params_non_embedding": 3e8, "train_tokens": 1e10, "learning_rate": 2e-3,
    "batch_size_sequences": 256, "sequence_length": 2048}
    """
    del no_progress  # nothing takes long here
    if (file is None) == (snapshot is None):
        raise click.UsageError("give FILE or --snapshot, one of the two")
    from ncpl.bundle import load
    from ncpl.configurations import read_configs

    bundle = load(folder)
    found: dict[str, Any] = {}
    if file is not None:
        predictions = [vars(p) for p in bundle.predict(read_configs(file, kind))]
    else:
        predictions, refused = known_runs(bundle, str(snapshot), catalog)
        found["left_out"] = len(refused)
        if refused:
            log.warning("%d runs are left out; the first: %s", len(refused), refused[0])
    if as_json:
        click.echo(json.dumps({"predictions": predictions} | found))
        return
    for p in predictions:
        measured = p.get("final_loss")
        click.echo(
            f"{p.get('run_id') or p['source']}: loss {p['loss']:.4f} nats per token, "
            f"90% {p['low']:.4f} to {p['high']:.4f} (Chinchilla {p['baseline']:.4f}"
            + (f", measured {measured:.4f})" if measured is not None else ")")
        )
        for warning in p["warnings"]:
            click.echo(f"  note: {warning}")


def known_runs(
    bundle: Any, name: str, catalog: Path | None
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return predictions with run id, split and measured loss; and why runs were left out."""
    import math

    from ncpl.configurations import of_snapshot
    from ncpl.data import find_snapshot

    runs = find_snapshot(name, catalog).runs()
    places, configs, refused = of_snapshot(runs, bundle)
    predictions = [
        {
            "run_id": runs.run_ids[i],
            "split": runs.split[i],
            "final_loss": float(runs.loss[i]) if math.isfinite(runs.loss[i]) else None,
        }
        | vars(prediction)
        for i, prediction in zip(places, bundle.predict(configs), strict=True)
    ]
    return predictions, refused
