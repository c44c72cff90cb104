"""Command ncpl plan sweep."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ncpl.commands.options import bundle_option, common
from ncpl_data.terminal.console import NumberRange

if TYPE_CHECKING:
    from ncpl.plan.sweep import Sweep

ENDINGS = {"megatron": "sh", "hf": "json", "nanogpt": "py", "torchtitan": "toml"}


@click.command("sweep")
@click.option("--params", type=NumberRange(0, min_open=True), required=True,
              help="Non-embedding parameters of the large run.")  # fmt: skip
@click.option("--tokens", type=NumberRange(0, min_open=True), required=True,
              help="Its training tokens.")  # fmt: skip
@click.option("--share", type=NumberRange(0, 1, min_open=True), default=0.05, show_default=True,
              help="Of its compute, for the small runs together.")  # fmt: skip
@click.option("--count", type=click.IntRange(1, 50), default=8, show_default=True,
              help="Small runs at most.")  # fmt: skip
@click.option("--config", "config_file", type=click.Path(path_type=Path),
              help="Any framework's file: proportions, length and recipe are taken from it."
)  # fmt: skip
@click.option("--sequence-length", type=click.IntRange(1), help="Tokens of one sequence.")
@click.option("--runs", "runs_file", type=click.Path(path_type=Path, dir_okay=False),
              help="Runs of your set-up done so far, each with final_loss.")  # fmt: skip
@click.option("--as", "form", type=click.Choice(list(ENDINGS)),
              help="Print the configurations in a framework's own form.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path, file_okay=False),
              help="Folder for one configuration a file.")  # fmt: skip
@bundle_option
@common
def sweep(
    *,
    params: float,
    tokens: float,
    share: float,
    count: int,
    config_file: Path | None,
    sequence_length: int | None,
    runs_file: Path | None,
    form: str | None,
    out: Path | None,
    folder: Path | None,
    as_json: bool,
    no_progress: bool,
) -> None:
    """Choose the small runs that most narrow the setting and loss of a large one.

    For a set-up of your own: what other families have in common stands behind it, and --runs tells
    what yours has shown. Once some are done, ask again with them.

    Example: ncpl plan sweep --params 1e9 --tokens 2e10 --sequence-length 2048 --as nanogpt
    """
    del no_progress  # over in seconds
    from ncpl.bundles import community_beside
    from ncpl.forms.own_runs import read_own_runs
    from ncpl.forms.understand import read_form
    from ncpl.forms.write import write_form
    from ncpl.plan.sweep import plan_sweep

    if form is not None and as_json:
        raise click.UsageError("give --json or --as, not both")
    base = dict(read_form(config_file).config) if config_file is not None else {}
    if sequence_length is not None:
        base["sequence_length"] = sequence_length
    bundle = community_beside(folder)
    known = [r["config"] | {"final_loss": r["loss"]} for r in bundle.about.get("known", ())]
    if runs_file is not None:
        known, _ = read_own_runs(runs_file)
    found = plan_sweep(
        bundle.population, params, tokens, share=share, count=count, base=base, known=known
    )  # fmt: skip
    texts = [
        write_form(form, run.config) if form else json.dumps(run.config, indent=1) + "\n"
        for run in found.runs
    ]
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        ending = ENDINGS[form] if form else "json"
        for i, text in enumerate(texts, start=1):
            (out / f"run-{i}.{ending}").write_text(text, encoding="utf-8")
    if as_json:
        click.echo(json.dumps(asdict(found)))
    elif form is not None and out is None:
        click.echo("\n".join(texts), nl=False)
    else:
        click.echo("\n".join(sweep_lines(found)))


def sweep_lines(found: Sweep) -> list[str]:
    """Return a sweep as text."""
    from ncpl.plan.report import value_text
    from ncpl_data.terminal.tables import aligned

    now = found.now
    rows: list[tuple[str, ...]] = [
        ("run", "parameters", "tokens", "learning rate", "batch", "FLOP", "loss then", "rate then",
         "batch then"),
        ("now", "", "", "", "", "", f"+-{now.half:.3f}", f"x/ {now.rate_factor:.2f}",
         f"x/ {now.batch_factor:.2f}"),
    ]  # fmt: skip
    for i, run in enumerate(found.runs, start=1):
        config = run.config
        rows.append(
            (
                str(i), value_text(config["params_non_embedding"]),
                value_text(config["train_tokens"]), value_text(config["learning_rate"]),
                value_text(config["batch_size_sequences"]), f"{run.flop:.3g}", f"+-{run.half:.3f}",
                f"x/ {run.rate_factor:.2f}", f"x/ {run.batch_factor:.2f}",
            )
        )  # fmt: skip
    return [
        f"the large run: {found.target_flop:.3g} FLOP; small ones: {found.budget:.3g} at most, "
        f"{sum(run.flop for run in found.runs):.3g} planned; {found.n_known} known runs",
        f"now: loss {now.loss:.3f} +- {now.half:.3f} nats (90%) at learning rate "
        f"{value_text(now.learning_rate)} and {value_text(now.batch_tokens)} tokens a batch",
        "",
        *aligned(rows),
        *(f"note: {note}" for note in found.notes),
    ]
