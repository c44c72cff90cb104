"""Command ncpl bench prefix."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import click

from ncpl.commands.options import bundle_option, catalog_option, common, snapshot_option

log = logging.getLogger("ncpl.bench")


@click.command()
@snapshot_option
@catalog_option
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False),
    help="Folder for prefix.md and prefix.json.",
)  # fmt: skip
@bundle_option
@common
def prefix(
    *,
    snapshot: str,
    catalog: Path | None,
    out: Path | None,
    folder: Path | None,
    as_json: bool,
    no_progress: bool,
) -> None:
    """Forecast held-out runs from their first 10, 30, 50 and 80%, beside simple ways.

    Example: ncpl bench prefix --snapshot latest --out board
    """
    from ncpl.bench.prefix import run_prefix, text_of
    from ncpl.bench.tables import write_text
    from ncpl.bundles import load_ensemble
    from ncpl.data.find import find_snapshot
    from ncpl.errors import BundleError
    from ncpl.model.bundle import DEFAULT
    from ncpl.model.prefix import load_prefix

    bundle = load_ensemble(folder, what="curves")
    model = load_prefix(folder or DEFAULT, bundle.card())
    if model is None:
        raise BundleError("the bundle holds nothing of starts of runs; name another --bundle")
    found = find_snapshot(snapshot, catalog)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    board = run_prefix(
        found, bundle, model, tell=lambda text: None if no_progress else log.info("%s", text)
    )
    texts = {
        "prefix.json": json.dumps(board.to_json(), indent=1) + "\n",
        "prefix.md": text_of(board),
    }
    for name, text in texts.items() if out is not None else ():
        assert out is not None
        write_text(out / name, text)
    click.echo(json.dumps(board.to_json()) if as_json else texts["prefix.md"], nl=as_json)
