"""Command ncpl plan extrapolate, and what ncpl predict says with --prefix."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ncpl.commands.options import bundle_option, common
from ncpl_data.terminal.console import NumberRange

if TYPE_CHECKING:
    from ncpl.plan.extrapolate import RunForecast

log = logging.getLogger(__name__)
EPILOG = """
\b
Examples:
  ncpl plan extrapolate run.csv --config config.json --source steplaw
  ncpl plan extrapolate run.csv --config config.json --runs mine.jsonl --target 2.9
  ncpl plan extrapolate run.csv sibling.csv --config config.json --source steplaw
  ncpl plan extrapolate run.csv --config config.json --plot forecast.png
  ncpl predict config.json --prefix run.csv --source steplaw
"""


@click.command(epilog=EPILOG)
@click.argument("logs", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option(
    "--config", "files", type=click.Path(path_type=Path), multiple=True,
    help="Planned configuration, one for all logs or one for each.",
)  # fmt: skip
@click.option(
    "--set", "pairs", multiple=True, metavar="NAME=VALUE",
    help="What neither log nor configuration says; may be repeated.",
)  # fmt: skip
@click.option("--metric", help="Which loss of the log, where it has several.")
@click.option("--source", help="Whose losses the log's compare with: steplaw, marin, ...")
@click.option(
    "--runs", "runs_file", type=click.Path(path_type=Path),
    help="Own finished runs with final_loss, of the same data: see ncpl adapt.",
)  # fmt: skip
@click.option("--target", type=NumberRange(0, min_open=True), help="Final loss to reach, nats.")
@click.option("--plot", "plot_file", type=click.Path(path_type=Path), help="PNG, SVG or PDF.")
@click.option("--watch", is_flag=True, help="Read the logs again as they grow.")
@click.option("--every", type=NumberRange(1), default=60, show_default=True, help="Seconds.")
@click.option("--for", "seconds", type=NumberRange(1), default=86400, show_default=True,
              help="Seconds after which --watch ends.")  # fmt: skip
@bundle_option
@common
def extrapolate(
    *,
    logs: tuple[Path, ...],
    files: tuple[Path, ...],
    pairs: tuple[str, ...],
    metric: str | None,
    source: str | None,
    runs_file: Path | None,
    target: float | None,
    plot_file: Path | None,
    watch: bool,
    every: float,
    seconds: float,
    folder: Path | None,
    as_json: bool,
    no_progress: bool,
) -> None:
    """Tell where running runs end: final loss, rest of the curve, and whether to stop.

    LOGS are what ncpl-data convert reads, submission documents, or tables (CSV, JSON lines) of step
    or tokens and loss. Losses are in nats per token, with 90% intervals. With --source or --runs,
    the configuration is weighed against the log; without, the log and its schedule answer alone.
    With --watch the logs are read again as they grow, until the runs end or --for is over.
    """
    del no_progress  # one pass is over in seconds
    if files and len(files) not in (1, len(logs)):
        raise click.UsageError(f"give one --config, or one for each of the {len(logs)} logs")
    if source is not None and runs_file is not None:
        raise click.UsageError("give --source or --runs, not both")
    if plot_file is not None:
        from ncpl.figures.style import check_suffix, pyplot

        check_suffix(plot_file)
        pyplot()  # a missing package is told before the work, not after it
    given = (files, pairs, metric, source, runs_file, folder)
    end = time.monotonic() + seconds
    seen: list[int] = []
    while True:
        found = forecasts_of(logs, *given)
        now = [f.points for f in found]
        if now != seen:
            show(found, target, plot_file, as_json=as_json)
        seen = now
        if not watch or all(f.share >= 1 or f.is_diverged for f in found):
            return
        left = end - time.monotonic()
        if left <= 0:
            log.warning("%g seconds are over; --for SECONDS watches longer", seconds)
            return
        time.sleep(min(every, left))


def forecasts_of(
    logs: Sequence[Path],
    files: Sequence[Path],
    pairs: tuple[str, ...] = (),
    metric: str | None = None,
    source: str | None = None,
    runs_file: Path | None = None,
    folder: Path | None = None,
) -> list[RunForecast]:
    """Return the forecast of each run of the logs. Raises ConfigError, naming what is wrong."""
    from ncpl.bundles import ensemble_beside, is_community
    from ncpl.commands.adapt import adapted, chosen
    from ncpl.data.progress import read_progress
    from ncpl.errors import BundleError
    from ncpl.evaluate.configurations import check_all
    from ncpl.forms.files import configs_of
    from ncpl.forms.own_runs import read_own_runs
    from ncpl.forms.understand import parse_given
    from ncpl.model.bundle import read_card
    from ncpl.model.prefix import load_prefix
    from ncpl.plan.extrapolate import forecast
    from ncpl.plan.own_curves import own_curves

    where = ensemble_beside(folder)
    model = load_prefix(where, read_card(where))
    if model is None:
        raise BundleError(f"{where} holds nothing of starts of runs; name another --bundle")
    bundle: Any = None
    own = None
    if runs_file is not None:
        runs, told = read_own_runs(runs_file)
        bundle, own = adapted(runs, told, folder), own_curves(runs)
    elif source is not None or (folder is not None and is_community(folder)):
        bundle = chosen(folder, None, source)
    stated = [dict(parse_given(pairs))] * len(logs)
    if files:
        read = [configs_of(file, None, (), parse_given(pairs))[0] for file in files]
        read = read * len(logs) if len(files) == 1 else read
        stated = [dict(configs[0]) for configs in read]
    found = []
    for path, config in zip(logs, stated, strict=True):
        for run in read_progress(path, metric=metric):
            whole: dict[str, Any] = run.config | config
            for name in ("source", "run_id"):
                whole.pop(name, None)
            if bundle is not None:
                whole["source"] = source or "own"
                (whole,) = check_all([whole], bundle)
            found.append(forecast(run, whole, bundle, model, own))
    return found


def show(
    found: Sequence[RunForecast], target: float | None, plot_file: Path | None, *, as_json: bool
) -> None:
    """Print forecasts with advice, and draw them where asked."""
    from ncpl.plan.extrapolate import advice

    said = advice(found, target)
    if plot_file is not None:
        from ncpl.figures.forecast import forecast_figure

        forecast_figure(found, plot_file)
    if as_json:
        runs = [f.to_json() | dict(a) for f, a in zip(found, said, strict=True)]
        click.echo(json.dumps({"target": target, "forecasts": runs}))
        return
    click.echo("\n".join(lines_of(found, said, target)))


def lines_of(
    found: Sequence[RunForecast], said: Sequence[Mapping[str, Any]], target: float | None
) -> list[str]:
    """Return a table of forecasts, then what is to be said of single ones."""
    from ncpl_data.terminal.tables import aligned

    good = "chance of a good end" if len(found) == 1 else "chance of best third"
    if target is not None:
        good = f"chance of {target:g}"
    head = ["run", "done", "points", "final loss", "90% interval", "configuration", "change"]
    has_chance = any(a["chance"] is not None for a in said)
    rows = [head + ([good, "advice"] if has_chance else [])]
    for f, a in zip(found, said, strict=True):
        final, alone = f.final, f.configuration
        row = [
            f.name, f"{100 * f.share:.0f}%", str(f.points),
            "diverged" if final is None else f"{final.loss:.4f}",
            "-" if final is None else f"{final.low:.4f} to {final.high:.4f}",
            "-" if alone is None else f"{alone.loss:.4f}",
            "-" if f.change is None else f"{f.change:+.4f}",
        ]  # fmt: skip
        if has_chance:
            chance = a["chance"]
            row += ["-" if chance is None else f"{100 * chance:.0f}%", a["advice"] or "-"]
        rows.append(row)
    lines = aligned(rows)
    for f in found:
        lines += [
            f"spike of {f.name}: step {s['step']:,.0f}, {s['rise']:.3f} above the lowest before"
            for s in f.spikes[:5]
        ]
        lines += [f"note on {f.name}: {note}" for note in f.notes]
        if f.curve:
            some = f.curve[:: max(1, len(f.curve) // 4)]
            text = ", ".join(f"{c['percent']:.3g}% {c['loss']:.4f}" for c in some)
            lines.append(f"rest of {f.name}: {text}")
    return lines
