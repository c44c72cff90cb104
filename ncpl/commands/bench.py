"""Commands of the board: ncpl bench run and curves."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import click

from ncpl.commands.bench_allocate import allocate
from ncpl.commands.bench_contribute import contribute
from ncpl.commands.bench_losscast import losscast
from ncpl.commands.bench_prefix import prefix
from ncpl.commands.bench_scalebench import scalebench
from ncpl.commands.bench_sweep import sweep
from ncpl.commands.bench_transfer import transfer
from ncpl.commands.boards import board_folder, make_folder, write_files
from ncpl.commands.options import catalog_option, common, snapshot_option

log = logging.getLogger("ncpl.bench")


def named_paths(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> list[tuple[str, Path]]:
    """Return NAME=PATH options as names on the board and existing paths; else a usage error."""
    del ctx  # the parameter tells enough
    found = []
    for value in values:
        name, _, path = value.partition("=")
        if not name or not path:
            raise click.BadParameter(f"{value!r} is not NAME=PATH", param=param)
        if not Path(path).exists():
            raise click.BadParameter(f"{path} does not exist", param=param)
        found.append((name, Path(path)))
    return found


@click.group()
def bench() -> None:
    """Set every law, baseline and bundle on one board.

    Example: ncpl bench run --split ncpl --out board
    """


def shipped() -> list[tuple[str, Path]]:
    """Return the bundle that ships with the package, under its name on the board."""
    from ncpl.model.bundle import DEFAULT

    return [("NCPL, shipped", DEFAULT)]


@bench.command()
@snapshot_option
@catalog_option
@click.option("--split", default="ncpl", show_default=True, help="Split policy of the snapshot.")
@click.option("--source", "sources", multiple=True, help="Only this source; may be repeated.")
@click.option("--method", "names", multiple=True, help="Only methods whose name holds this text.")
@click.option(
    "--bundle",
    "bundles",
    multiple=True,
    callback=named_paths,
    metavar="NAME=DIR",
    help="An NCPL bundle folder; the shipped one if none is given.",
)
@click.option(
    "--predictions",
    multiple=True,
    callback=named_paths,
    metavar="NAME=FILE",
    help="CSV or Parquet file: run_id, prediction and, for 90% intervals, low and high.",
)
@board_folder("board.md, board.json, board.html and timing.json")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@common
def run(
    *,
    snapshot: str,
    catalog: Path | None,
    split: str,
    sources: tuple[str, ...],
    names: tuple[str, ...],
    bundles: list[tuple[str, Path]],
    predictions: list[tuple[str, Path]],
    out: Path | None,
    seed: int,
    as_json: bool,
    no_progress: bool,
) -> None:
    """Fit every method on the training runs and print how they score on the held-out ones.

    The printed board and its files are the same bytes each time; only timing.json changes.

    Example: ncpl bench run --split ncpl --bundle NCPL=runs/ncpl --out board
    """
    import torch

    from ncpl.bench import report
    from ncpl.bench.board import run_board
    from ncpl.bench.joined import installed, of_bundle, of_file
    from ncpl.bench.methods import METHODS
    from ncpl.bundles import load
    from ncpl.data.find import find_snapshot

    torch.set_num_threads(1)  # sums in one order: the same bytes each time
    methods = [*METHODS, *installed()]
    if names:
        methods = [m for m in methods if any(n.lower() in m.name.lower() for n in names)]
    if not (bundles or names):
        bundles = shipped()
    methods += [of_bundle(name, load(path)) for name, path in bundles]
    methods += [of_file(name, path) for name, path in predictions]
    if not methods:
        known = "; ".join(m.name for m in METHODS)
        raise click.UsageError(f"no method's name holds {' or '.join(names)}; there are: {known}")

    def tell(source: str, name: str) -> None:
        if not no_progress:
            log.info("%s: %s", source, name)

    found = find_snapshot(snapshot, catalog)
    make_folder(out)
    board = run_board(
        found,
        methods,
        split=split,
        sources=sources,
        seed=seed,
        on_method=tell,
    )
    if out is not None:
        write_files(
            out,
            {
                "board.json": json.dumps(board.to_json(), indent=1, ensure_ascii=False) + "\n",
                "board.md": report.markdown(board),
                "board.html": report.html(board),
                "timing.json": json.dumps(board.seconds, indent=1) + "\n",
            },
        )
    for row in board.seconds:
        log.debug(
            "%s: %s: fit %.2f s, predict %.3f s",
            row["source"], row["method"], row["fit_seconds"], row["predict_seconds"],
        )  # fmt: skip
    click.echo(
        json.dumps(board.to_json(), ensure_ascii=False) if as_json else report.markdown(board)
    )


@bench.command("curves")
@snapshot_option
@catalog_option
@click.option("--split", default="ncpl", show_default=True, help="Split policy of the snapshot.")
@click.option("--source", "sources", multiple=True, help="Only this source; may be repeated.")
@click.option(
    "--bundle",
    "bundles",
    multiple=True,
    callback=named_paths,
    metavar="NAME=DIR",
    help="An NCPL bundle folder that predicts curves; the shipped one if none is given.",
)
@click.option(
    "--predictions",
    multiple=True,
    callback=named_paths,
    metavar="NAME=FILE",
    help="CSV or Parquet file: run_id, step, prediction, for every scored point.",
)
@click.option(
    "--points",
    type=click.Path(path_type=Path, dir_okay=False),
    help="CSV to write: run_id and step of every scored point of the split's sources.",
)
@board_folder("curves.md, curves.json, curves.html and curves_timing.json")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@common
def run_curve_board(
    *,
    snapshot: str,
    catalog: Path | None,
    split: str,
    sources: tuple[str, ...],
    bundles: list[tuple[str, Path]],
    predictions: list[tuple[str, Path]],
    points: Path | None,
    out: Path | None,
    seed: int,
    as_json: bool,
    no_progress: bool,
) -> None:
    """Score whole loss curves: curve laws, shapes, trees, deep power laws, bundles.

    Example: ncpl bench curves --bundle NCPL=runs/ncpl --out board
    """
    import torch

    from ncpl.bench.curve_report import html, markdown
    from ncpl.bench.curves import run_curves
    from ncpl.bench.tables import write_text
    from ncpl.bundles import load_ensemble
    from ncpl.data.find import find_snapshot

    torch.set_num_threads(1)  # sums in one order: the same bytes each time
    found = find_snapshot(snapshot, catalog)
    make_folder(out)

    def tell(source: str, name: str) -> None:
        if not no_progress:
            log.info("%s: %s", source, name)

    opened = bundles or shipped()
    board = run_curves(
        found,
        predictions,
        [(name, load_ensemble(path, what="place on this board")) for name, path in opened],
        split=split,
        sources=sources,
        seed=seed,
        on_method=tell,
    )
    if points is not None:
        rows = "".join(f"{run_id},{step}\n" for run_id, step in board.wanted)
        write_text(points, "run_id,step\n" + rows)
        log.info("written: %s", points)
    if out is not None:
        write_files(
            out,
            {
                "curves.json": json.dumps(board.to_json(), indent=1, ensure_ascii=False) + "\n",
                "curves.md": markdown(board),
                "curves.html": html(board),
                "curves_timing.json": json.dumps(board.seconds, indent=1) + "\n",
            },
        )
    click.echo(json.dumps(board.to_json(), ensure_ascii=False) if as_json else markdown(board))


bench.add_command(allocate)
bench.add_command(scalebench)
bench.add_command(sweep)
bench.add_command(transfer)
bench.add_command(prefix)
bench.add_command(contribute)
bench.add_command(losscast)
