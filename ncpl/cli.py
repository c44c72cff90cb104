"""Commands: ncpl-train, and ncpl with eval and card.

Heavy packages are imported inside commands, so that --help answers at once.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ncpl.commands.options import bundle_option, catalog_option, common, snapshot_option
from ncpl_data.terminal.console import NumberRange, Told

ELSEWHERE = {
    "ablate": "ncpl.ablate_cli:ablate",
    "predict": "ncpl.commands.predict:predict",
    "plan": "ncpl.commands.plan:plan",
    "plot": "ncpl.commands.plot:plot",
    "gate": "ncpl.commands.gate:gate",
    "laws": "ncpl.commands.laws:laws",
    "bench": "ncpl.commands.bench:bench",
}
"""Subcommands that live beside what they run, by import string."""


class Program(Told, click.Command):
    """A command that is a program of its own."""


class LazyGroup(Told, click.Group):
    """A group whose other subcommands are imported when called, and listed when installed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all subcommands at hand."""
        there = [name for name in ELSEWHERE if self.module_of(name)]
        return sorted([*super().list_commands(ctx), *there])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a subcommand by name, imported if it lives elsewhere."""
        own = super().get_command(ctx, cmd_name)
        module = self.module_of(cmd_name)
        if own is not None or module is None:
            return own
        found = getattr(importlib.import_module(module), ELSEWHERE[cmd_name].split(":")[1])
        return found if isinstance(found, click.Command) else None

    @staticmethod
    def module_of(name: str) -> str | None:
        """Return the module of a subcommand that lives elsewhere and is installed."""
        module = ELSEWHERE.get(name, "").split(":")[0]
        folder = Path(__file__).parent.joinpath(*module.split(".")[1:])
        return module if module and folder.with_suffix(".py").is_file() else None


@click.command("ncpl-train", cls=Program)
@snapshot_option
@catalog_option
@click.option("--preset", help="default, demo or tiny; default if not given.")
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="Own TOML file.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), default=Path("runs/ncpl"),
    show_default=True, help="Folder of the bundle.",
)  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--seeds", type=click.IntRange(1), help="Members to train, each from its own seed.")
@click.option("--max-minutes", type=NumberRange(0, min_open=True), help="Stop after this.")
@click.option("--resume", is_flag=True, help="Continue a training that was cut off.")
@click.option(
    "--warm-start", type=click.Path(path_type=Path, file_okay=False),
    help="Bundle folder whose networks the new ones begin with.",
)  # fmt: skip
@click.option(
    "--base", help="The paper's mode: hub id, folder or GGUF file of a causal language model."
)
@click.option(
    "--parallel", type=click.Choice(["ddp", "fsdp2"]), default="ddp", show_default=True,
    help="With --base, under torchrun.",
)  # fmt: skip
@click.option("--track", multiple=True, help="With --base: wandb, tensorboard or trackio.")
@click.option("--plot", "plot_file", type=click.Path(path_type=Path), help="PNG of the fit.")
@common
def train_main(
    *,
    snapshot: str,
    catalog: Path | None,
    preset: str | None,
    config_file: Path | None,
    out: Path,
    seed: int,
    seeds: int | None,
    max_minutes: float | None,
    resume: bool,
    warm_start: Path | None,
    base: str | None,
    parallel: str,
    track: tuple[str, ...],
    plot_file: Path | None,
    as_json: bool,
    no_progress: bool,
) -> None:
    """Train NCPL on a snapshot and print how it scores beside Chinchilla.

    Example: ncpl-train --snapshot latest --preset demo --out runs/demo --plot runs/demo/fit.png

    The paper's mode: torchrun --nproc-per-node 8 -m ncpl.cli train --preset qwen3-1.7b --out DIR
    """
    if preset is not None and config_file is not None:
        raise click.UsageError("give --preset or --config, not both")
    import dataclasses
    import importlib.util as installed

    from ncpl.language.settings import chosen

    language = chosen(preset, config_file, base)
    if language is not None:
        if seeds is not None or plot_file is not None or warm_start is not None:
            raise click.UsageError(
                "--seeds and --plot are not for a language model, nor is --warm-start: give the "
                "bundle's folder model/ as --base"
            )
        from ncpl.commands.train_language import train_and_print

        train_and_print(
            language, snapshot, catalog, as_json=as_json, folder=out, seed=seed, kind=parallel,
            trackers=track, resume=resume, max_minutes=max_minutes, progress=not no_progress,
        )  # fmt: skip
        return
    if track or parallel != "ddp":
        raise click.UsageError("--track and --parallel are for a language model: give --base")
    from ncpl.data.find import find_snapshot
    from ncpl.model.bundle import load
    from ncpl.model.config import FitConfig
    from ncpl.train.pipeline import train_bundle

    config = (
        FitConfig.from_toml(config_file) if config_file else FitConfig.preset(preset or "default")
    )
    if seeds is not None:
        config = dataclasses.replace(config, members=seeds)
    if plot_file is not None:
        from ncpl.figures.style import check_suffix, pyplot

        check_suffix(plot_file)
        pyplot()  # a missing package is told before the training, not after it
    found = find_snapshot(snapshot, catalog)
    runs = found.runs()
    bundle = train_bundle(
        found,
        runs,
        config,
        seed=seed,
        folder=out,
        resume=resume,
        warm_start=load(warm_start) if warm_start is not None else None,
        max_minutes=max_minutes,
        progress=not no_progress,
    )
    if plot_file is not None or installed.find_spec("matplotlib"):
        from ncpl.figures.predicted import predicted_against_measured

        plot_file = plot_file or out / "predicted-against-measured.png"
        predicted_against_measured(bundle, runs, plot_file)
    print_scores(bundle, as_json, {"bundle": str(out), "plot": plot_file and str(plot_file)})


def print_scores(bundle: Any, as_json: bool, more: dict[str, Any]) -> None:
    """Print a bundle's score table, as text or as one JSON object."""
    from ncpl.evaluate.scores import format_table

    about = bundle.about
    if as_json:
        found = {
            "snapshot_id": about.get("scored_on", bundle.snapshot_id),
            "split": "ncpl",
            "seeds": {fit.family[0]: fit.seeds for fit in bundle.fits},
            "scores": about["scores"],
            "curve_scores": about.get("curve_scores"),
            "coverage": about.get("coverage"),
            **more,
        }
        click.echo(json.dumps(found))
        return
    click.echo(f"snapshot {about.get('scored_on', bundle.snapshot_id)}, split ncpl, nats per token")
    click.echo(format_table(about["scores"]))
    for row in about.get("curve_scores") or []:
        click.echo(
            f"{row['source']} {row['split'].upper()}: curves of {row['n']} runs, MAE past 10% of "
            f"the run {row['mae']:.4f}, past half {row['mae_second_half']:.4f}"
        )
    for name, value in more.items():
        if value:
            click.echo(f"{name}: {value}")


@click.group("ncpl", cls=LazyGroup)
@click.version_option(package_name="ncpl")
def main() -> None:
    """Predict what a pretraining run will give, before it runs.

    Example: ncpl predict config.json
    """


@main.command("eval")
@click.option("--cells", is_flag=True, help="Also each cell of optimizer, size and data.")
@bundle_option
@snapshot_option
@catalog_option
@common
def evaluate(
    *,
    cells: bool,
    folder: Path | None,
    snapshot: str,
    catalog: Path | None,
    as_json: bool,
    no_progress: bool,
) -> None:
    """Score a bundle on the held-out parts of a snapshot, beside Chinchilla.

    Example: ncpl eval --bundle runs/ncpl --snapshot latest --cells
    """
    del no_progress  # nothing takes long here
    from ncpl.data.find import find_snapshot
    from ncpl.model.bundle import load

    bundle = load(folder)
    found = find_snapshot(snapshot, catalog)
    runs = found.runs()
    rescore, cell_table = scoring_of(bundle)
    rescore(bundle, found, runs)
    table = cell_table(bundle, runs) if cells else []
    print_scores(bundle, as_json, {"cells": table} if as_json and cells else {})
    for row in [] if as_json else table:
        click.echo(
            f"{row['source']} {row['split'].upper()} {row['cell']}: {row['n']} runs, MAE NCPL "
            f"{row['NCPL']:.4f}, Chinchilla refit {row['Chinchilla, refit']:.4f}"
        )


def scoring_of(bundle: Any) -> tuple[Callable[..., None], Callable[..., list[dict[str, Any]]]]:
    """Return the functions that score a bundle of this kind: as a whole, and cell by cell."""
    if bundle.card()["format"].startswith("ncpl-language/"):
        from ncpl.language import scores

        return scores.rescore, scores.cells
    from ncpl.evaluate.scores import cell_table
    from ncpl.train import pipeline

    return pipeline.rescore, cell_table


@main.command()
@bundle_option
@common
def card(folder: Path | None, as_json: bool, no_progress: bool) -> None:
    """Show a bundle's card: data, seeds, scores, intervals, limits.

    Example: ncpl card --bundle runs/ncpl
    """
    del no_progress  # nothing takes long here
    from ncpl.errors import BundleError
    from ncpl.model.bundle import load

    found = load(folder).card()
    kind = (
        "ncpl.language.card"
        if found["format"].startswith("ncpl-language/")
        else "ncpl.evaluate.card"
    )
    render = importlib.import_module(kind).render
    try:
        click.echo(json.dumps(found) if as_json else render(found))
    except KeyError as error:
        where = folder or "the shipped bundle"
        raise BundleError(f"{where}: the card lacks {error}; train the bundle again") from error


if __name__ == "__main__":  # torchrun starts modules: torchrun -m ncpl.cli train ...
    train_main.name = "train"
    main.add_command(train_main)
    main()
