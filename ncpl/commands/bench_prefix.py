"""Command ncpl bench prefix."""

from __future__ import annotations

from pathlib import Path

import click

from ncpl.commands.boards import answer, board_folder, make_folder, progress_of
from ncpl.commands.options import bundle_option, catalog_option, common, snapshot_option


@click.command()
@snapshot_option
@catalog_option
@board_folder("prefix.md and prefix.json")
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
    make_folder(out)
    board = run_prefix(found, bundle, model, tell=progress_of(no_progress=no_progress))
    answer("prefix", board.to_json(), text_of(board), out, as_json=as_json)
