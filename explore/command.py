"""`ncpl-data explore`: the catalog in a browser."""

from __future__ import annotations

import contextlib
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ncpl_data.ingest.options import catalog_option
from ncpl_data.terminal.console import Console, output_options
from ncpl_data.terminal.pictures import tell_opened

if TYPE_CHECKING:
    from ncpl_data.explore.build import Built

OUT = Path("site")
BOARD = Path(__file__).parent / "transfer.json"
"""The board as it was measured last: a copy of what `ncpl bench transfer --out` wrote."""
EPILOG = """\b
Examples:
  ncpl-data explore                      writes the folder site; open site/index.html
  ncpl-data explore --out pages --snapshot latest
  ncpl-data explore --open               and opens it in the browser
  ncpl-data explore --serve              shows it on this machine only, until Ctrl-C
  ncpl-data explore --board board/transfer.json
\b
The folder is whole: it opens from disk and from any static host, and asks no other server.
"""


@click.command(epilog=EPILOG)
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False),
    help="Folder to write. Default: site, or a temporary one with --serve.",
)  # fmt: skip
@click.option("--serve", is_flag=True, help="Serve it on this machine (127.0.0.1) until Ctrl-C.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8700, show_default=True,
    help="Of --serve; 0 takes a free one.",
)  # fmt: skip
@click.option("--open", "opens", is_flag=True, help="Open it in the browser.")
@click.option(
    "--snapshot", help="Show a snapshot: id, name, path, or latest. Default: the catalog."
)
@click.option(
    "--bundle", "bundle_folder", type=click.Path(path_type=Path, file_okay=False),
    help="Bundle that predicts. Default: the shipped one.",
)  # fmt: skip
@click.option("--no-model", is_flag=True, help="Leave predictions and the planning page out.")
@click.option(
    "--board", type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="transfer.json of: ncpl bench transfer --out DIR. Default: the one that ships.",
)  # fmt: skip
@catalog_option
@output_options
def explore(
    *,
    out: Path | None,
    serve: bool,
    port: int,
    opens: bool,
    snapshot: str | None,
    bundle_folder: Path | None,
    no_model: bool,
    board: Path | None,
    catalog_folder: Path,
    console: Console,
) -> None:
    """Write the explorer: pages of sources, runs, curves, predictions and plans."""
    from ncpl.bundles import load_ensemble
    from ncpl_data.explore.build import build, check_folder
    from ncpl_data.explore.tables import read_catalog, read_snapshot

    with tempfile.TemporaryDirectory(prefix="ncpl-explore-") as temporary:
        folder = out or (Path(temporary) / "site" if serve else OUT)
        check_folder(folder)
        scores = read_board(board or BOARD)
        bundle = None if no_model else load_ensemble(bundle_folder, what="forward pass in a page")
        tables = (
            read_catalog(catalog_folder)
            if snapshot is None
            else read_snapshot(snapshot, catalog_folder)
        )
        folder.parent.mkdir(parents=True, exist_ok=True)
        built = build(tables, bundle, scores, folder, lambda what: console.note(f"writing {what}"))
        if serve:
            show(built, port, console, opens=opens)
        else:
            page = folder / "index.html"
            console.result(content(built), "\n".join([*lines(built), f"open {page}"]))
            if opens:
                tell_opened(page)


def content(built: Built) -> dict[str, Any]:
    """Return what was written, for programs; sizes in bytes."""
    return {
        "page": str(built.folder / "index.html"), "runs": built.runs,
        "predicted": built.predicted, "bytes": built.n_bytes,
        "first_view_bytes": built.first_view_bytes,
    }  # fmt: skip


def lines(built: Built) -> list[str]:
    """Return what was written, for people."""
    whole, first = built.n_bytes / 1e6, built.first_view_bytes / 1e6
    return [
        f"{built.runs:,} runs, {built.predicted:,} with a prediction of the bundle",
        f"{whole:.1f} MB in all, {first:.2f} MB on first view",
    ]


def show(built: Built, port: int, console: Console, *, opens: bool) -> None:
    """Serve a folder on this machine until Ctrl-C, and say where."""
    from ncpl_data.explore.serve import LOOPBACK, server_of

    with server_of(built.folder, port) as server:
        address = f"http://{LOOPBACK}:{server.server_port}/"
        told = content(built) | {"address": address}
        console.result(told, "\n".join([*lines(built), f"open {address}"]))
        console.note("Ctrl-C ends it")
        if opens:
            tell_opened(address)
        with contextlib.suppress(KeyboardInterrupt):  # the way it ends
            server.serve_forever()


def read_board(path: Path) -> dict[str, Any]:
    """Return the transfer board of a file. Raises InputError for another file."""
    from ncpl_data.catalog.errors import InputError

    try:
        board = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(board, dict) or not isinstance(board["rows"], list):
            raise TypeError("it holds no rows")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            f"{path} is no transfer board ({error}); make one: ncpl bench transfer --snapshot "
            "latest --out board"
        ) from error
    return board
