"""Commands of ncpl plan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ncpl.cli import bundle_option, common


@click.group()
def plan() -> None:
    """Choose settings before a run.

    Example: ncpl plan recommend --params 3e8 --tokens 1e10
    """


@plan.command()
@click.option("--params", type=float, help="Non-embedding parameters.")
@click.option("--tokens", type=float, help="Training tokens.")
@click.option("--flop", type=float, help="Compute budget: 6 x parameters x tokens.")
@click.option("--sequence-length", type=click.IntRange(1), default=2048, show_default=True)
@click.option("--source", help="Whose runs to follow, where the bundle has several.")
@bundle_option
@common
def recommend(
    *,
    params: float | None,
    tokens: float | None,
    flop: float | None,
    sequence_length: int,
    source: str | None,
    folder: Path | None,
    as_json: bool,
    no_progress: bool,
) -> None:
    """Recommend the learning rate and batch size for a size and tokens, or a compute budget.

    Example: ncpl plan recommend --params 3e8 --tokens 1e10, or: ncpl plan recommend --flop 1e20
    """
    del no_progress  # nothing takes long here
    import dataclasses

    from ncpl.bundle import load
    from ncpl.plan import recommend as search

    fixed: dict[str, Any] = {"sequence_length": sequence_length}
    if source is not None:
        fixed["source"] = source
    found = search(
        load(folder), params_non_embedding=params, train_tokens=tokens, flop=flop, fixed=fixed
    )
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(found)))
        return
    for title, config, p in (
        ("NCPL", found.config, found.prediction),
        ("Step Law", found.step_law, found.step_law_prediction),
    ):
        click.echo(
            f"{title}: learning rate {config['learning_rate']:.3g}, batch "
            f"{config['batch_size_sequences']} x {sequence_length} tokens, "
            f"{config['params_non_embedding']:.3g} parameters, {config['train_tokens']:.3g} tokens:"
            f" loss {p.loss:.4f}, 90% {p.low:.4f} to {p.high:.4f}"
        )
        for warning in p.warnings:
            click.echo(f"  note: {warning}")
    click.echo(f"{found.ties[0]} of {found.ties[1]} candidates are within 0.1% of the best")
