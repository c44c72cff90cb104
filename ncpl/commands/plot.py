"""Commands of ncpl plot: figures of a bundle against a snapshot."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ncpl.commands import complete
from ncpl.commands.options import bundle_option, catalog_option, common, snapshot_option
from ncpl_data.terminal.pictures import show_picture, tell_opened


@click.group()
def plot() -> None:
    """Draw a bundle's predictions against the measured runs of a snapshot, as PNG, SVG or PDF.

    A terminal that can (kitty, Ghostty, WezTerm, iTerm2, mintty) shows the PNG at once;
    NCPL_PICTURES=0 forbids it.

    Example: ncpl plot contours --snapshot latest --out contours.png
    """


def figure_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add what every figure asks for."""

    @click.option(
        "--out", type=click.Path(path_type=Path), required=True,
        help="File to write; its ending decides: .png, .svg or .pdf.",
    )  # fmt: skip
    @click.option("--open", "opens", is_flag=True, help="Open the file in the browser.")
    @click.option("--source", help="Only runs of this source.", shell_complete=complete.sources)
    @bundle_option
    @snapshot_option
    @catalog_option
    @common
    @functools.wraps(function)
    def command(*, no_progress: bool, opens: bool, **options: Any) -> None:
        del no_progress  # nothing takes long here
        function(**options)
        if not options["as_json"]:
            show_picture(options["out"])
        if opens:
            tell_opened(options["out"])

    return command


group_options = (
    click.option(
        "--group", "names", multiple=True, metavar="OPTIMIZER/N/D",
        help="Show this group of runs; may be repeated. Names: ncpl eval --cells.",
    ),
    click.option(
        "--count", type=click.IntRange(1, 12), default=4, show_default=True,
        help="Groups to show where none is named, those with the most points.",
    ),
)  # fmt: skip


def _opened(
    out: Path, folder: Path | None, snapshot: str, catalog: Path | None, source: str | None
) -> tuple[Any, Any]:
    """Return bundle and snapshot, after what can be refused at once."""
    from ncpl.bundles import load
    from ncpl.data.find import find_snapshot
    from ncpl.errors import NcplError
    from ncpl.figures.style import check_suffix

    check_suffix(out)
    bundle = load(folder)
    known = [fit.family[0] for fit in bundle.fits]
    if source is not None and source not in known:
        raise NcplError(f"this bundle knows no source {source!r}; it has {', '.join(known)}")
    return bundle, find_snapshot(snapshot, catalog)


def _told(out: Path, as_json: bool) -> None:
    click.echo(json.dumps({"plot": str(out)}) if as_json else f"plot: {out}")


@plot.command()
@figure_options
def predicted(
    *, out: Path, source: str | None, folder: Path | None, snapshot: str, catalog: Path | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Draw predicted against measured final losses, ID and OOD, with intervals.

    Example: ncpl plot predicted --bundle runs/ncpl --snapshot latest --out fit.png
    """
    from ncpl.figures.predicted import predicted_against_measured

    bundle, found = _opened(out, folder, snapshot, catalog, source)
    predicted_against_measured(bundle, found.runs(), out, source=source)
    _told(out, as_json)


@plot.command()
@group_options[0]
@group_options[1]
@figure_options
def slices(
    *, out: Path, names: tuple[str, ...], count: int, source: str | None, folder: Path | None,
    snapshot: str, catalog: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Draw loss over learning rate and over batch size, for groups of one size and tokens.

    Example: ncpl plot slices --group adamw/536872960/28400000000 --out slices.svg
    """
    from ncpl.figures.slices import slices as draw

    bundle, found = _opened(out, folder, snapshot, catalog, source)
    draw(bundle, found.runs(), out, count=count, source=source, names=names)
    _told(out, as_json)


@plot.command()
@group_options[0]
@group_options[1]
@figure_options
def contours(
    *, out: Path, names: tuple[str, ...], count: int, source: str | None, folder: Path | None,
    snapshot: str, catalog: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Draw loss over learning rate and batch size together, measured runs on the same colours.

    Example: ncpl plot contours --count 6 --snapshot latest --out contours.png
    """
    from ncpl.figures.contours import contours as draw

    bundle, found = _opened(out, folder, snapshot, catalog, source)
    draw(bundle, found.runs(), out, count=count, source=source, names=names)
    _told(out, as_json)


@plot.command()
@figure_options
def curves(
    *, out: Path, source: str | None, folder: Path | None, snapshot: str, catalog: Path | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Draw loss curves by optimizer and size, measured and predicted.

    Example: ncpl plot curves --source marin --snapshot latest --out curves.png
    """
    from ncpl.figures.curves import curves as draw

    bundle, found = _opened(out, folder, snapshot, catalog, source)
    draw(bundle, found, found.runs(), out, source=source)
    _told(out, as_json)


@plot.command()
@figure_options
def coverage(
    *, out: Path, source: str | None, folder: Path | None, snapshot: str, catalog: Path | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Draw how often 90% intervals hold, near the best run of a group and far from it.

    Example: ncpl plot coverage --snapshot latest --out coverage.png
    """
    from ncpl.figures.coverage import coverage as draw
    from ncpl.figures.coverage import coverage_bins

    bundle, found = _opened(out, folder, snapshot, catalog, source)
    runs = found.runs()
    draw(bundle, runs, out, source=source)
    if as_json:
        click.echo(json.dumps({"plot": str(out), "bins": coverage_bins(bundle, runs, source)}))
    else:
        _told(out, as_json)
