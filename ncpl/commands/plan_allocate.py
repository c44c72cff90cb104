"""Command ncpl plan allocate."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ncpl.commands.options import bundle_option, common
from ncpl_data.terminal.console import NumberRange

if TYPE_CHECKING:
    from ncpl.plan.allocate import Allocation, Step
    from ncpl.plan.allocate_law import LawAllocation

EXAMPLES = """
\b
Examples:
  ncpl plan allocate candidates.jsonl --budget 3e19
  ncpl plan allocate base.json --vary learning_rate=5e-4:8e-3:6 --vary batch_tokens=2.5e5,5e5
      --runs 4
  ncpl plan allocate candidates.jsonl --budget 3e19 --resume results.jsonl
  ncpl plan allocate candidates.jsonl --budget 3e19 --end law --target-params 1e9
      --target-tokens 2e10
"""


@click.command(epilog=EXAMPLES)
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--vary", multiple=True, metavar="NAME=VALUES",
              help="Candidates are every combination: LOW:HIGH:COUNT, or values with commas."
)  # fmt: skip
@click.option("--budget", type=NumberRange(0, min_open=True),
              help="FLOP in all, 6 x parameters x tokens of what is trained.")  # fmt: skip
@click.option("--runs", "n_runs", type=NumberRange(0, min_open=True),
              help="The budget as a number of whole runs of the mean cost, in place of FLOP."
)  # fmt: skip
@click.option("--resume", type=click.Path(path_type=Path, dir_okay=False),
              help="Results so far, as JSON lines: a candidate's run_id, or its number, with "
              "final_loss or curve.")  # fmt: skip
@click.option("--end", type=click.Choice(["best", "law"]), default="best", show_default=True,
              help="The best run, or a law of the run of --target-... options.")  # fmt: skip
@click.option("--target-params", type=NumberRange(0, min_open=True),
              help="Non-embedding parameters of the run a law is for.")  # fmt: skip
@click.option("--target-tokens", type=NumberRange(0, min_open=True), help="Its tokens.")
@click.option("--strategy", default="ncpl", show_default=True,
              help="ncpl, top, 'top, late cut', random, halving, and halving + power law, process "
              "or model.")  # fmt: skip
@click.option("--plot", "plot_file", type=click.Path(path_type=Path, dir_okay=False),
              help="PNG, SVG or PDF: runs along the compute, cuts, forecasts, the best so far."
)  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True, help="Of what is drawn.")
@bundle_option
@common
def allocate(
    *,
    file: Path,
    vary: tuple[str, ...],
    budget: float | None,
    n_runs: float | None,
    resume: Path | None,
    end: str,
    target_params: float | None,
    target_tokens: float | None,
    strategy: str,
    plot_file: Path | None,
    seed: int,
    folder: Path | None,
    as_json: bool,
    no_progress: bool,
) -> None:
    """Choose which of many candidate runs a budget should buy, how far, in which order.

    FILE holds configurations as `ncpl predict` reads them. Run what is listed first, then ask again
    with the results: each changes what is expected of runs like it.
    """
    del no_progress  # over in seconds
    import numpy as np

    from ncpl.bundles import load
    from ncpl.data.fields import derive
    from ncpl.evaluate.configurations import check_all, read_configs
    from ncpl.plan.allocate import allocate as plan
    from ncpl.plan.arms import flop_of
    from ncpl.plan.candidates import varied
    from ncpl.plan.forecasts import forecaster_of

    if (budget is None) == (n_runs is None):
        raise click.UsageError("give --budget or --runs, one of the two")
    is_law = end == "law"
    if is_law != bool(target_params and target_tokens):
        raise click.UsageError("--end law and --target-params, --target-tokens go together")
    if plot_file is not None:
        from ncpl.figures.style import check_suffix, pyplot

        check_suffix(plot_file)
        pyplot()  # a missing package is told before the work, not after it
    configs = varied(read_configs(file), vary)
    bundle = None if is_law else load(folder)
    if bundle is not None:
        configs = check_all(configs, bundle)
    if n_runs is not None:
        budget = n_runs * float(np.mean([flop_of(derive(config)) for config in configs]))
    results = [] if resume is None else read_configs(resume, "json")
    drawn: dict[str, str] = {}
    if bundle is None:
        from ncpl.bundles import community_beside
        from ncpl.plan.allocate_law import allocate_law

        law = allocate_law(
            community_beside(folder).population, configs, float(budget or 0),
            float(target_params or 0), float(target_tokens or 0), results,
        )  # fmt: skip
        if plot_file is not None:
            from ncpl.figures.allocation import law_figure

            drawn = {"plot": str(plot_file), "plot_text": law_figure(law, plot_file)}
        _answer(asdict(law), law_lines(law), drawn, as_json=as_json)
        return
    found = plan(
        bundle, configs, float(budget or 0), results=results, strategy=strategy,
        forecaster=forecaster_of(folder), seed=seed,
    )  # fmt: skip
    if plot_file is not None:
        from ncpl.figures.allocation import allocation_figure

        drawn = {"plot": str(plot_file), "plot_text": allocation_figure(found, plot_file)}
    _answer(as_dict(found), allocation_lines(found, len(configs)), drawn, as_json=as_json)


def _answer(
    plain: dict[str, Any], lines: list[str], drawn: dict[str, str], *, as_json: bool
) -> None:
    """Print a plan; `drawn` is the file of its figure and what it shows."""
    if as_json:
        click.echo(json.dumps(plain | drawn))
        return
    if drawn:
        lines = [*lines, f"plot: {drawn['plot']}"]
    click.echo("\n".join(lines))


def law_lines(found: LawAllocation) -> list[str]:
    """Return runs for a law as text."""
    from ncpl.plan.report import value_text
    from ncpl_data.terminal.tables import aligned

    names = ("params_non_embedding", "train_tokens", "learning_rate", "batch_size_sequences")
    rows = [("run", "FLOP", "then", *(name.replace("_", " ") for name in names))]
    rows += [
        (run.name, f"{run.flop:.3g}", f"+-{run.half:.3f}",
         *(value_text(run.config.get(name)) for name in names))
        for run in found.runs
    ]  # fmt: skip
    return [
        f"{found.budget:.3g} FLOP, {found.spent:.3g} spent on {found.n_known} known runs; the "
        f"large run: {found.loss:.3f} +- {found.half:.3f} nats (90%)",
        *(["", *aligned(rows)] if found.runs else ["the rest of the budget buys no run"]),
    ]


def as_dict(found: Allocation) -> dict[str, Any]:
    """Return a plan as plain values."""
    return {
        "strategy": found.strategy.name,
        "budget_flop": found.budget,
        "spent_flop": found.spent,
        "best": None if found.best is None else _step(found.best),
        "done": [_step(step) for step in found.done],
        "next": [_step(step) for step in found.following],
        "plan": [_step(step) for step in found.steps],
        "notes": found.notes,
    }


def _step(step: Step) -> dict[str, Any]:
    return {
        "run_id": step.name, "number": step.arm + 1, "from_share": step.begin,
        "to_share": step.until, "flop": step.flop, "loss": step.loss, "low": step.low,
        "high": step.high, "config": dict(step.config),
    }  # fmt: skip


def allocation_lines(found: Allocation, n_candidates: int) -> list[str]:
    """Return a plan as text."""
    lines = [
        f"{n_candidates:,} candidates, {found.budget:.3g} FLOP, {found.spent:.3g} spent: "
        f"{found.strategy.about}"
    ]
    if found.best is not None:
        lines.append(f"best so far: {found.best.name}, {found.best.loss:.4f}")
    if not found.following:
        return [*lines, "the rest of the budget buys nothing more"]
    lines += ["", "next:", *_table(found.following), "", "then, if runs give what is forecast:"]
    lines += _table(found.steps)
    return lines + [f"note: {note}" for note in found.notes]


def _table(steps: list[Step]) -> list[str]:
    from ncpl.plan.report import value_text
    from ncpl_data.terminal.tables import aligned

    shown = [n for n in ("learning_rate", "batch_size_sequences", "weight_decay", "optimizer",
                         "params_non_embedding", "train_tokens")
             if len({str(s.config.get(n)) for s in steps}) > 1 or n == "learning_rate"]  # fmt: skip
    head = ("run", "from", "to", "FLOP", "final loss, 90%", *(n.replace("_", " ") for n in shown))
    rows = [
        (
            step.name, f"{100 * step.begin:.0f}%", f"{100 * step.until:.0f}%", f"{step.flop:.3g}",
            f"{step.loss:.4f} ({step.low:.4f} to {step.high:.4f})",
            *(value_text(step.config.get(n)) for n in shown),
        )
        for step in steps
    ]  # fmt: skip
    return aligned([head, *rows])
