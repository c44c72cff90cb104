"""Command ncpl adapt: a bundle of one's own runs, and what predict says with --runs."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ncpl.commands.options import bundle_option, common

if TYPE_CHECKING:
    from ncpl.model.bundle import Bundle
    from ncpl.model.community import Community
    from ncpl.model.predictor import Loaded
    from ncpl.plan.own_family import OwnPlans

SHOWN = 21
"""Configurations compared in text; --json has them all."""
log = logging.getLogger(__name__)
EPILOG = """
\b
Examples:
  ncpl adapt mine.jsonl --out mine
  ncpl adapt mine.jsonl --out mine --plot mine.png
  ncpl predict config.json --bundle mine
  ncpl predict config.json --runs mine.jsonl
  ncpl predict settings.jsonl --runs /dev/null   (no run yet: what differs between settings)

\b
mine.jsonl holds a run a line: its configuration and what it gave, in nats per token:
  {"params_non_embedding": 3e7, "train_tokens": 3e9, "learning_rate": 1e-3, "final_loss": 3.29}
A curve counts too, where the schedule is given, beside five finished runs unlike in tokens:
"schedule": "cosine", "curve": [{"tokens": 1e9, "loss": 3.6}, {"tokens": 2e9, "loss": 3.4}]
"""


@click.command(epilog=EPILOG)
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), required=True,
    help="Folder of the adapted bundle.",
)  # fmt: skip
@click.option("--plot", "plot_file", type=click.Path(path_type=Path), help="PNG or SVG of the fit.")
@bundle_option
@common
def adapt(
    *,
    file: Path,
    out: Path,
    plot_file: Path | None,
    folder: Path | None,
    as_json: bool,
    no_progress: bool,
) -> None:
    """Adapt to the runs in FILE (JSON, JSONL or CSV; - is stdin) and write a bundle of them.

    Nothing is retrained: the runs place their family in the population learned from all others.
    """
    del no_progress  # nothing takes long here
    if plot_file is not None:
        from ncpl.figures.style import check_suffix, pyplot

        check_suffix(plot_file)
        pyplot()  # a missing package is told before the work, not after it
    found = adapted_to(file, folder)
    found.save(out)
    from ncpl.evaluate.community_card import render
    from ncpl.model.seal import seal

    (out / "README.md").write_text(render(found.card()), encoding="utf-8")
    seal(out)
    about = found.fits[0].about
    further = next_of(found)
    if plot_file is not None:
        from ncpl.figures.adapted import adapted_figure

        adapted_figure(found, plot_file)
    law = found.fits[0].baseline
    if as_json:
        told = {"bundle": str(out), "law": vars(law), "next_run": further}
        click.echo(json.dumps(told | dict(about)))
        return
    click.echo(f"adapted to {about['runs']} runs and {about['points']} points of curves: {out}")
    click.echo(
        f"law: {law.a:.3g} (N/1M)^-{law.alpha:.3f} + {law.b:.3g} (D/1B)^-{law.beta:.3f} "
        f"+ {law.c:.3f}"
    )
    for note in [*about["notes"], *([further] if further else [])]:
        click.echo(f"note: {note}")


def adapted_to(file: Path, folder: Path | None) -> Community:
    """Return the bundle of the runs in a file, by the community bundle that goes with a folder.

    Raises ConfigError, naming the run, for a wrong one.
    """
    from ncpl.forms.own_runs import read_own_runs

    return adapted(*read_own_runs(file), folder)


def adapted(runs: Sequence[dict[str, Any]], told: Sequence[str], folder: Path | None) -> Community:
    """Return the bundle of runs; `told` is what is to be said of how they were read."""
    from ncpl.bundles import community_beside

    found = community_beside(folder).adapt(runs)
    found.fits[0].about["notes"][:0] = told
    return found


def chosen(folder: Path | None, runs_file: Path | None, source: str | None) -> Loaded:
    """Return what answers: the bundle of own runs, or of a folder, or the community for a source.

    The community where the bundle was not trained on the source. Raises ConfigError when neither
    knows it.
    """
    from ncpl.bundles import community_beside, load

    if runs_file is not None:
        return adapted_to(runs_file, folder)
    bundle = load(folder)
    if source is None or any(source == fit.family[0] for fit in bundle.fits):
        return bundle
    community = community_beside(folder)
    community.named(source, 1)
    return community


def planner(
    folder: Path | None, runs_file: Path | None, source: str | None, *, what: str
) -> Bundle | OwnPlans:
    """Return what plans are made with: own runs, an adapted bundle, or a trained one.

    Raises click.UsageError for own runs and a source, BundleError, naming `what`, for a bundle in
    which nothing can be planned.
    """
    from ncpl.bundles import load, load_ensemble
    from ncpl.model.community import Community
    from ncpl.plan.own_family import OwnPlans

    if runs_file is not None:
        if source is not None:
            raise click.UsageError("give --source or --runs, not both")
        return OwnPlans.of(adapted_to(runs_file, folder))
    found = load(folder)
    return OwnPlans.of(found) if isinstance(found, Community) else load_ensemble(folder, what=what)


def told_of(bundle: Community, configs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what an adapted bundle says beside predictions.

    The next run to make, what was left out, and how configurations differ from the first: what
    transfers where no run tells the level.
    """
    from ncpl.data.fields import derive

    found = bundle.fits[0].adapted.differences([derive(config) for config in configs])
    columns = (found.loss.tolist(), found.low.tolist(), found.high.tolist())
    return {
        "next_run": advice(bundle, configs),
        "notes": bundle.fits[0].about["notes"],
        "against_first": [
            {"loss": loss, "low": low, "high": high}
            for loss, low, high in zip(*columns, strict=True)
        ],
    }


def lines_against_first(told: dict[str, Any], predictions: Sequence[dict[str, Any]]) -> list[str]:
    """Return the differences from the first configuration as text, none for a single one."""
    names = [str(p.get("run_id") or i) for i, p in enumerate(predictions, start=1)]
    rows = list(zip(names, told["against_first"], strict=True))[1:SHOWN]
    return [
        f"{name} against {names[0]}: {d['loss']:+.4f}, 90% {d['low']:+.4f} to {d['high']:+.4f}"
        for name, d in rows
    ]


FURTHER = 10.0
"""Compute of the run that `ncpl adapt` tells the next run for, over the largest own run."""
CARRIED = (
    "optimizer", "schedule", "weight_decay", "learning_rate", "batch_size_sequences",
    "sequence_length",
)  # fmt: skip


def next_of(bundle: Community) -> str | None:
    """Return which run to do next for one of ten times the largest own compute; None for none."""
    runs = bundle.about["known"]
    if not runs:
        return None
    last = max(runs, key=lambda run: run["params_non_embedding"] * run["train_tokens"])
    asked = {name: last["config"][name] for name in CARRIED if name in last["config"]}
    for name in ("params_non_embedding", "train_tokens"):
        asked[name] = last[name] * FURTHER**0.5
    return advice(bundle, [asked], f"one of {FURTHER:g} times the largest compute")


def advice(
    bundle: Community, configs: Sequence[dict[str, Any]], whose: str = "the largest configuration"
) -> str | None:
    """Return a sentence on the next run, for the largest of the configurations; None for none.

    `whose` calls that configuration by its name.
    """
    from ncpl.data.fields import derive
    from ncpl.data.sizes import size_of, worth_of
    from ncpl.model.next_run import next_run

    asked = max((derive(c) for c in configs), key=lambda row: size_of(row) * worth_of(row))
    names = ("params_non_embedding", "train_tokens")
    known = [derive({name: run[name] for name in names}) for run in bundle.about["known"]]
    found = next_run(bundle.fits[0].adapted, known, asked)
    if found is None:
        return None
    return (
        f"a run of {found.params_non_embedding:.3g} parameters on {found.train_tokens:.3g} tokens "
        f"would narrow the interval of {whose} most: to "
        f"{100 * found.narrows_to:.0f}% of its width"
    )
