"""Command ncpl-train."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ncpl.commands.evaluate import print_scores
from ncpl.commands.options import catalog_option, common, snapshot_option
from ncpl.version import __version__
from ncpl_data.terminal.console import NumberRange, Program

if TYPE_CHECKING:
    from ncpl.data.mixtures import DenseRun, Mixtures
    from ncpl.data.snapshot import Snapshot
    from ncpl.model.bundle import Bundle

log = logging.getLogger(__name__)


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
@click.option(
    "--jobs", type=click.IntRange(1), default=1, show_default=True,
    help="Families trained at once, each in a process of its own.",
)  # fmt: skip
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
@click.option(
    "--prefix-for", type=click.Path(path_type=Path, file_okay=False),
    help="Bundle folder to add to what starts of its training runs say (ncpl plan extrapolate); "
    "nothing else is trained. Left-out predictions are kept in --out, and read again from there.",
)  # fmt: skip
@click.option(
    "--experts-for", type=click.Path(path_type=Path, file_okay=False),
    help="Bundle folder to add to what mixtures of experts of the snapshot say; nothing else is "
    "trained.",
)  # fmt: skip
@click.option("--track", multiple=True, help="With --base: wandb, tensorboard or trackio.")
@click.option("--plot", "plot_file", type=click.Path(path_type=Path), help="PNG of the fit.")
@click.version_option(__version__)
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
    jobs: int,
    max_minutes: float | None,
    resume: bool,
    warm_start: Path | None,
    base: str | None,
    parallel: str,
    prefix_for: Path | None,
    experts_for: Path | None,
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
    if prefix_for is not None:
        add_prefixes(prefix_for, snapshot, catalog, seed, out, as_json=as_json)
        return
    if experts_for is not None:
        add_experts(experts_for, snapshot, catalog, as_json=as_json)
        return
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
    from ncpl.bundles import load_ensemble
    from ncpl.data import indistinct
    from ncpl.data.find import find_snapshot
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
    for sentence in indistinct.told(found.path):
        log.warning("%s", sentence)
    older = None
    if warm_start is not None:
        older = load_ensemble(warm_start, what="networks to start from")
    bundle = train_bundle(
        found,
        runs,
        config,
        seed=seed,
        folder=out,
        resume=resume,
        warm_start=older,
        max_minutes=max_minutes,
        progress=not no_progress,
        jobs=jobs,
    )
    learn_mixtures(bundle, found, out)
    drawn = None
    if bundle.about["scores"] and (plot_file is not None or installed.find_spec("matplotlib")):
        from ncpl.figures.predicted import predicted_against_measured

        drawn = plot_file or out / "predicted-against-measured.png"
        predicted_against_measured(bundle, runs, drawn)
    elif plot_file is not None:
        told = f"no plot {plot_file}: the snapshot holds out no run of these families"
        click.echo(told, err=True)
    print_scores(
        bundle,
        as_json,
        {"bundle": str(out), "plot": drawn and str(drawn)},
        outcomes=bundle.about["outcomes"],
    )


def learn_mixtures(bundle: Bundle, found: Snapshot, folder: Path) -> None:
    """Add to a trained bundle what mixtures of experts of its snapshot say, where there are."""
    from ncpl.data.mixtures import mixtures_in
    from ncpl.errors import SnapshotError

    every, dense = mixtures_in(found)
    if not every:
        return
    try:
        with_experts(bundle, found, every, dense, folder)
    except SnapshotError as error:
        log.info("no mixtures of experts: %s", error)


def with_experts(
    bundle: Bundle,
    found: Snapshot,
    every: dict[str, Mixtures],
    dense: dict[str, list[DenseRun]],
    folder: Path,
) -> tuple[list[str], list[dict[str, Any]]]:
    """Add to a bundle what mixtures of experts of a snapshot say; return sources and scores.

    Raises SnapshotError where the snapshot has not enough.
    """
    from ncpl.bundles import community_beside
    from ncpl.evaluate.experts import expert_scores
    from ncpl.train.experts import add_experts_to, learn_experts

    model = learn_experts(bundle, [fit.family[0] for fit in bundle.fits], every, dense)
    scores = expert_scores(model, bundle, community_beside(folder).population, every)
    add_experts_to(model, found, scores, folder)
    return list(model.families), scores


def add_experts(folder: Path, snapshot: str, catalog: Path | None, *, as_json: bool) -> None:
    """Add to a bundle what mixtures of experts of a snapshot say, and print how it scores."""
    from ncpl.bundles import load_ensemble
    from ncpl.data.find import find_snapshot
    from ncpl.data.mixtures import mixtures_in
    from ncpl.evaluate.experts import score_lines

    bundle = load_ensemble(folder, what="dense answers")
    found = find_snapshot(snapshot, catalog)
    sources, scores = with_experts(bundle, found, *mixtures_in(found), folder)
    told = {"bundle": str(folder), "sources": sources, "scores": scores}
    click.echo(json.dumps(told) if as_json else "\n".join(score_lines(scores)))


def add_prefixes(
    folder: Path, snapshot: str, catalog: Path | None, seed: int, keep: Path, *, as_json: bool
) -> None:
    """Add to a bundle what starts of runs say, learned from the snapshot that it was trained on.

    `keep` is a folder of left-out predictions: what is there of an earlier attempt is not fitted
    again.
    """
    from ncpl.bundles import load_ensemble
    from ncpl.data.find import find_snapshot
    from ncpl.errors import SnapshotError
    from ncpl.train.prefix import add_to_bundle, learn_prefixes

    bundle = load_ensemble(folder, what="curves")
    found = find_snapshot(snapshot, catalog)
    if found.id != bundle.snapshot_id:
        raise SnapshotError(
            f"{folder} was trained on the snapshot {bundle.snapshot_id[:12]}, this is "
            f"{found.id[:12]}; give --snapshot {bundle.snapshot_id[:12]}"
        )

    def tell(source: str, fold: int) -> None:
        log.info("%s: fold %d", source, fold + 1)

    keep.mkdir(parents=True, exist_ok=True)
    model = learn_prefixes(bundle, found, found.runs(), seed=seed, keep=keep, on_fold=tell)
    add_to_bundle(model, folder)
    told = {"bundle": str(folder), "sources": list(model.families), **model.about}
    click.echo(
        json.dumps(told) if as_json else f"{folder}: prefixes of {', '.join(model.families)}"
    )
