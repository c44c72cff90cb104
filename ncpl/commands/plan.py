"""Commands of ncpl plan."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ncpl.commands import complete
from ncpl.commands.downstream import task_lines, words
from ncpl.commands.options import bundle_option, catalog_option, common, snapshot_option
from ncpl.commands.plan_allocate import allocate
from ncpl.commands.plan_extrapolate import extrapolate
from ncpl.commands.plan_rules import batch, transfer
from ncpl.commands.plan_sweep import sweep
from ncpl_data.terminal.console import NumberRange
from ncpl_data.terminal.pictures import show_picture

if TYPE_CHECKING:
    from ncpl.plan.recommend import Recommendation

EXAMPLES = """
\b
Examples:
  ncpl plan recommend --params 3e8 --tokens 1e10
  ncpl plan recommend --flop 1e20 --flops-per-device 9.89e14 --mfu 0.4
  ncpl plan recommend --params 3e8 --tokens 1e10 --source marin --optimizer all --snapshot latest
  ncpl plan recommend --params 3e8 --tokens 1e10 --fix batch_tokens=524288
  ncpl plan recommend --config train_gpt2.py --as nanogpt
  ncpl plan recommend --flop 1e20 --runs mine.jsonl
  ncpl plan recommend --params 3e8 --tokens 1e10 --range learning_rate=1e-4:1e-3 --plot plan.png
"""


@click.group()
def plan() -> None:
    """Choose settings before a run, and see how good such choices were.

    Example: ncpl plan recommend --params 3e8 --tokens 1e10
    """


@plan.command(epilog=EXAMPLES)
@click.option("--params", type=NumberRange(0, min_open=True), help="Non-embedding parameters.")
@click.option("--tokens", type=NumberRange(0, min_open=True), help="Training tokens.")
@click.option(
    "--flop", type=NumberRange(0, min_open=True), help="Compute budget: 6 x parameters x tokens."
)
@click.option(
    "--fix", multiple=True, metavar="NAME=VALUE", help="Keep a field at a value; may be repeated."
)
@click.option(
    "--range", "ranges", multiple=True, metavar="NAME=LOW:HIGH",
    help="Search a field there, also beyond what training has seen; may be repeated.",
)  # fmt: skip
@click.option(
    "--optimizer",
    metavar="NAME[,NAME]|all",
    help="Optimizers to compare, each at its best settings.",
)
@click.option("--sequence-length", type=click.IntRange(1), help="Tokens of one sequence.")
@click.option(
    "--config", "config_file", type=click.Path(path_type=Path),
    help="Any framework's file: size, shape, tokens and length are taken from it.",
)  # fmt: skip
@click.option(
    "--as", "form", type=click.Choice(["megatron", "hf", "nanogpt", "torchtitan"]),
    help="Print only the recommended settings, in a framework's own form.",
)  # fmt: skip
@click.option(
    "--source", help="Whose runs to follow, where the bundle has several.",
    shell_complete=complete.sources,
)  # fmt: skip
@click.option(
    "--runs", "runs_file", type=click.Path(path_type=Path, dir_okay=False),
    help="Own runs with final_loss: plan in their family, see ncpl adapt.",
)  # fmt: skip
@click.option(
    "--snapshot",
    help="Search only near the runs of this snapshot (id, name, path, or latest), by optimizer.",
    shell_complete=complete.snapshots,
)
@click.option(
    "--mean", is_flag=True, help="Rank by the loss, not by the upper end of its interval."
)
@click.option(
    "--objective", default="loss", show_default=True,
    help="loss, or task:NAME: a task that follows from the loss, shown with its interval.",
)  # fmt: skip
@click.option(
    "--flops-per-device", type=NumberRange(0, min_open=True), help="Peak FLOP/s of a device."
)
@click.option(
    "--mfu", type=NumberRange(0, 1, min_open=True), help="Share of the peak a run reaches."
)
@click.option(
    "--plot", "plot_file", type=click.Path(path_type=Path),
    help="PNG or SVG: loss over what is free to choose, with the choice.",
)  # fmt: skip
@catalog_option
@bundle_option
@common
def recommend(
    *,
    params: float | None,
    tokens: float | None,
    flop: float | None,
    fix: tuple[str, ...],
    ranges: tuple[str, ...],
    optimizer: str | None,
    sequence_length: int | None,
    config_file: Path | None,
    form: str | None,
    source: str | None,
    runs_file: Path | None,
    snapshot: str | None,
    mean: bool,
    objective: str,
    flops_per_device: float | None,
    mfu: float | None,
    plot_file: Path | None,
    catalog: Path | None,
    folder: Path | None,
    as_json: bool,
    no_progress: bool,
) -> None:
    """Recommend settings for a size and tokens, or for a compute budget.

    Every field that the model knows to vary is searched, all together, inside what its training
    runs have seen. Best is the lowest upper end of the 90% interval. "tied" are settings whose
    predicted loss cannot be told from the best: of one field alone, or together with others.
    """
    from ncpl.commands.adapt import planner
    from ncpl.data.find import find_snapshot
    from ncpl.figures.style import check_suffix
    from ncpl.plan.recommend import recommend as search
    from ncpl.plan.report import as_dict, as_text, device_hours
    from ncpl.plan.space import parse_fixed, parse_ranges

    device_hours(1.0, flops_per_device, mfu)  # one without the other, before the search
    if plot_file is not None:
        check_suffix(plot_file)
    wanted = tasks_of(objective)
    if form is not None and as_json:
        raise click.UsageError("give --json or --as, not both")
    own = parse_fixed(fix)
    fixed: dict[str, Any] = {}
    if config_file is not None:
        params, tokens, fixed = _taken(config_file, params, tokens, flop, own)
    fixed |= own
    for name, value in (
        ("sequence_length", sequence_length),
        ("source", source),
    ):
        if value is not None:
            fixed[name] = value
    if runs_file is not None and snapshot is not None:
        raise click.UsageError("give --runs or --snapshot, not both")
    bundle = planner(folder, runs_file, source, what="plans")
    runs = find_snapshot(snapshot, catalog).runs() if snapshot is not None else None
    with _bar(no_progress) as bar:
        found = search(
            bundle,
            params_non_embedding=params,
            train_tokens=tokens,
            flop=flop,
            fixed=fixed,
            ranges=parse_ranges(ranges),
            runs=runs,
            optimizers=[] if optimizer in (None, "all") else _names(str(optimizer)),
            cautious=not mean,
            on_optimizer=lambda name: bar.set_postfix_str(name) or bar.update(1),
        )
    if form is not None:
        from ncpl.forms.write import write_form

        click.echo(write_form(form, found.config), nl=False)
        return
    if plot_file is not None:
        from ncpl.figures.plan import plan_figure

        plan_figure(bundle, found, runs, plot_file)
    hours = device_hours(found.flop, flops_per_device, mfu)
    reached = task_results(found, wanted) if wanted else []
    if as_json:
        more: dict[str, Any] = {"plot": str(plot_file) if plot_file else None}
        more |= {"tasks": reached} if wanted else {}
        click.echo(json.dumps(as_dict(found, hours) | more))
        return
    click.echo(as_text(found, hours))
    if wanted:
        click.echo("\n" + "\n".join(task_lines(reached)))
    if plot_file is not None:
        click.echo(f"plot: {plot_file}")
        show_picture(plot_file)


def tasks_of(objective: str) -> list[str]:
    """Return the task names of an objective, none where the loss is meant."""
    if objective == "loss":
        return []
    kind, _, names = objective.partition(":")
    if kind != "task" or not words(names):
        raise click.UsageError(f"--objective is {objective!r}; expected loss or task:NAME")
    return words(names)


def task_results(found: Recommendation, wanted: list[str]) -> list[dict[str, Any]]:
    """Return the tasks at the recommended setting.

    Each follows from the loss alone and gets better as it falls, so the setting of the lowest loss
    is the one of the best result; a task that the loss does not order gets no number.
    """
    from ncpl.downstream.attach import add_tasks

    row = {"source": found.source, **vars(found.prediction)}
    add_tasks([row], wanted, None)
    tasks: list[dict[str, Any]] = row["tasks"]
    return tasks


KEPT = (
    "params_non_embedding", "train_tokens", "nominal_train_tokens", "n_layers", "d_model", "d_ff",
    "n_heads", "sequence_length",
)  # fmt: skip
"""What a plan takes from a file; the recipe is what it chooses."""


def _taken(
    file: Path, params: float | None, tokens: float | None, flop: float | None, fixed: Any
) -> tuple[float | None, float | None, dict[str, Any]]:
    """Return size, tokens and what else a plan keeps of a file; options come first."""
    from ncpl.forms.understand import read_form

    found = read_form(file)
    said = {n: v for n, v in found.config.items() if n in KEPT and n not in fixed}
    size, data = said.pop("params_non_embedding", None), said.pop("train_tokens", None)
    data = said.pop("nominal_train_tokens", None) or data
    if params is not None:
        said = {n: v for n, v in said.items() if n == "sequence_length"}
    taken = {**said, "params_non_embedding": size, "train_tokens": data}
    names = ", ".join(f"{n} {v:g}" for n, v in taken.items() if v is not None)
    click.echo(f"{file}: taken {names}", err=True)
    is_free = flop is not None and tokens is None
    return params or size, tokens or (None if is_free else data), said


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _bar(no_progress: bool) -> Any:
    from tqdm import tqdm

    return tqdm(desc="optimizers", unit="", leave=False, disable=no_progress)


@plan.command()
@click.option("--groups", is_flag=True, help="Also each group.")
@snapshot_option
@catalog_option
@bundle_option
@common
def check(
    *,
    groups: bool,
    snapshot: str,
    catalog: Path | None,
    folder: Path | None,
    as_json: bool,
    no_progress: bool,
) -> None:
    """Check choices against measured runs: how far above the best run of its group each lies.

    A group is one optimizer, size and number of tokens. The Step Law's constants were fitted on all
    StepLaw groups, also on those held out here.

    Example: ncpl plan check --snapshot latest --groups
    """
    del no_progress  # nothing takes long here
    import dataclasses

    import numpy as np

    from ncpl.bundles import load_ensemble
    from ncpl.data.find import find_snapshot
    from ncpl.evaluate.choices import choices
    from ncpl_data.terminal.tables import aligned

    runs = find_snapshot(snapshot, catalog).runs()
    found = choices(load_ensemble(folder, what="plans"), runs)
    rows: list[dict[str, Any]] = []
    for key in dict.fromkeys((c.source, c.split) for c in found):
        own = [c for c in found if (c.source, c.split) == key]
        gaps = [c.gap_percent for c in own]
        laws = [c.step_law_gap_percent for c in own if not math.isnan(c.step_law_gap_percent)]
        rows.append(
            {
                "source": key[0],
                "split": key[1],
                "groups": len(own),
                "mean_gap_percent": float(np.mean(gaps)),
                "worst_gap_percent": max(gaps),
                "cautious_mean_gap_percent": float(np.mean([c.cautious_gap_percent for c in own])),
                "step_law_mean_gap_percent": float(np.mean(laws)) if laws else None,
                "step_law_groups": len(laws),
                "median_run_mean_gap_percent": float(np.mean([c.median_gap_percent for c in own])),
            }
        )
    if as_json:
        each = [dataclasses.asdict(c) for c in found] if groups else []
        for choice in each:
            if math.isnan(choice["step_law_gap_percent"]):
                choice["step_law_gap_percent"] = None
        click.echo(json.dumps({"choices": rows, "groups": each}))
        return
    head: tuple[str, ...] = (
        "source", "split", "groups", "NCPL %", "cautious %", "worst %", "Step Law %",
        "median run %",
    )  # fmt: skip
    table = [
        (
            row["source"], row["split"].upper(), str(row["groups"]),
            f"{row['mean_gap_percent']:.3f}", f"{row['cautious_mean_gap_percent']:.3f}",
            f"{row['worst_gap_percent']:.3f}",
            "-" if row["step_law_mean_gap_percent"] is None
            else f"{row['step_law_mean_gap_percent']:.3f} ({row['step_law_groups']})",
            f"{row['median_run_mean_gap_percent']:.2f}",
        )
        for row in rows
    ]  # fmt: skip
    click.echo("percent above the best measured run of its group, at the run chosen by the lowest")
    click.echo("predicted loss, and (cautious) by the lowest upper end of its interval")
    click.echo("\n".join(aligned([head, *table])))
    for c in found if groups else []:
        click.echo(f"{c.source} {c.split.upper()} {c.group}: {c.n} runs, gap {c.gap_percent:.3f}%")


plan.add_command(allocate)
plan.add_command(batch)
plan.add_command(sweep)
plan.add_command(transfer)
plan.add_command(extrapolate)
