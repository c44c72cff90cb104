"""Commands ncpl plan batch and ncpl plan transfer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ncpl.commands import complete
from ncpl.commands.options import bundle_option, catalog_option, common
from ncpl_data.terminal.console import NumberRange

if TYPE_CHECKING:
    from ncpl.plan.batch import BatchPlan
    from ncpl.plan.transfer import Transfer

snapshot_runs = click.option(
    "--snapshot", help="Runs to measure on (id, name, path, or latest); the bundle's own if absent."
)


@click.command()
@click.option("--params", type=NumberRange(0, min_open=True), required=True,
              help="Non-embedding parameters.")  # fmt: skip
@click.option("--tokens", type=NumberRange(0, min_open=True), required=True,
              help="Training tokens.")  # fmt: skip
@click.option("--fix", multiple=True, metavar="NAME=VALUE", help="Keep a field; may be repeated.")
@click.option("--optimizer", help="Optimizer, where the source has several.")
@click.option("--sequence-length", type=click.IntRange(1), help="Tokens of one sequence.")
@click.option(
    "--source", help="Whose runs to follow, where the bundle has several.",
    shell_complete=complete.sources,
)  # fmt: skip
@click.option(
    "--runs", "runs_file", type=click.Path(path_type=Path, dir_okay=False),
    help="Own runs with final_loss: plan in their family, see ncpl adapt.",
)  # fmt: skip
@snapshot_runs
@catalog_option
@bundle_option
@common
def batch(
    *,
    params: float,
    tokens: float,
    fix: tuple[str, ...],
    optimizer: str | None,
    sequence_length: int | None,
    source: str | None,
    runs_file: Path | None,
    snapshot: str | None,
    catalog: Path | None,
    folder: Path | None,
    as_json: bool,
    no_progress: bool,
) -> None:
    """Tell the best and the critical batch, and what another one costs at its best learning rate.

    Beside: what was measured at this size and tokens, the optima of measured sweeps carried there,
    the Step Law, and Kaplan's critical batch.

    Example: ncpl plan batch --params 268304384 --tokens 2.5e10
    """
    del no_progress  # over in seconds
    from ncpl.commands.adapt import planner
    from ncpl.data.find import find_snapshot
    from ncpl.plan.batch import plan_batch
    from ncpl.plan.space import parse_fixed

    if runs_file is not None and snapshot is not None:
        raise click.UsageError("give --runs or --snapshot, not both")
    fixed = parse_fixed(fix)
    for name, value in (("sequence_length", sequence_length), ("source", source)):
        if value is not None:
            fixed[name] = value
    found = plan_batch(
        planner(folder, runs_file, source, what="batches"),
        params_non_embedding=params,
        train_tokens=tokens,
        fixed=fixed,
        optimizers=(optimizer,) if optimizer else (),
        runs=find_snapshot(snapshot, catalog).runs() if snapshot is not None else None,
    )
    if as_json:
        click.echo(json.dumps(found.to_json()))
        return
    click.echo("\n".join(batch_lines(found)))


def batch_lines(found: BatchPlan) -> list[str]:
    """Return a table of batches and the rules beside it, as text."""
    from ncpl.plan.report import value_text
    from ncpl_data.terminal.tables import aligned

    rows: list[tuple[str, ...]] = [
        ("batch", "tokens", "learning rate", "loss", "costs, 90%", "measured best", "at rate", "")
    ]
    for row in found.rows:
        seen = row.measured is not None
        rows.append(
            (
                str(row.batch_size_sequences), value_text(row.batch_tokens),
                value_text(row.learning_rate), f"{row.loss:.4f}",
                f"{row.cost:.4f} ({row.cost_low:.4f} to {row.cost_high:.4f})",
                f"{row.measured:.4f}" if seen else "-",
                value_text(row.measured_learning_rate) if seen else "-",
                "best" if row.cost == 0 else "tied" if row.is_tied else "",
            )
        )  # fmt: skip
    config = found.recommendation.config
    lines = [
        f"{found.recommendation.source}: {config['params_non_embedding']:.4g} non-embedding "
        f"parameters, {config['train_tokens']:.4g} tokens, each batch at its best learning rate",
        *aligned(rows),
        "",
    ]
    if found.critical_tokens is not None:
        lines.append(
            f"critical batch (McCandlish et al. 2018, fitted to these losses): "
            f"{found.critical_tokens:.3g} tokens, members {found.critical_low:.3g} to "
            f"{found.critical_high:.3g}"
        )
    lines.append(
        "critical batch (Kaplan et al. 2020, at this loss): "
        f"{found.kaplan_critical_tokens:.3g} tokens"
    )
    lines.append(f"best batch (Step Law): {found.step_law_tokens:.3g} tokens")
    if found.catalog is not None:
        own = found.catalog
        lines.append(
            f"best batch (optima of {own.n_cells} measured sweeps): {own.value:.3g} tokens, 90% "
            f"{own.low:.3g} to {own.high:.3g}; ~ size^{own.power_of_size:.2f} "
            f"tokens^{own.power_of_tokens:.2f}"
        )
    return lines + [f"note: {note}" for note in found.notes]


@click.command()
@click.option("--from", "begin", multiple=True, metavar="NAME=VALUE",
              help="The run whose learning rate is carried: params_non_embedding, train_tokens, "
              "batch_tokens, learning_rate.")  # fmt: skip
@click.option("--to", "end", multiple=True, metavar="NAME=VALUE",
              help="The other run: params_non_embedding, train_tokens, batch_tokens; what is not "
              "given stays.")  # fmt: skip
@click.option("--optimizer", help="Optimizer, where the source has several.")
@click.option(
    "--source", help="Whose runs to follow, where the bundle has several.",
    shell_complete=complete.sources,
)  # fmt: skip
@snapshot_runs
@catalog_option
@bundle_option
@common
def transfer(
    *,
    begin: tuple[str, ...],
    end: tuple[str, ...],
    optimizer: str | None,
    source: str | None,
    snapshot: str | None,
    catalog: Path | None,
    folder: Path | None,
    as_json: bool,
    no_progress: bool,
) -> None:
    """Set published rules of carrying settings beside the slopes that measured sweeps have.

    With --from and --to, also the learning rate that each rule gives for another run.

    Example: ncpl plan transfer --from params_non_embedding=1e8 --from train_tokens=5e9 --from
    batch_tokens=262144 --from learning_rate=2e-3 --to params_non_embedding=1e9
    """
    del no_progress  # over in seconds
    from ncpl.bundles import load_ensemble
    from ncpl.data.find import find_snapshot
    from ncpl.plan.measured import MeasuredRuns
    from ncpl.plan.transfer import transfer as carry

    bundle = load_ensemble(folder, what="measured runs")
    named = {} if source is None else {"source": source}
    fit = bundle.fit_for({**named, "params_non_embedding": 1e8, "data_tokens": 1e9})
    runs = find_snapshot(snapshot, catalog).runs() if snapshot is not None else None
    first = numbers(begin, "--from") if begin or end else None
    found = carry(
        MeasuredRuns.of(fit, runs), fit.family[0], optimizer, first,
        None if first is None else {**first, **numbers(end, "--to")},
    )  # fmt: skip
    if as_json:
        click.echo(json.dumps(found.to_json()))
        return
    click.echo("\n".join(transfer_lines(found)))


def numbers(texts: tuple[str, ...], option: str) -> dict[str, float]:
    """Return the numbers of NAME=VALUE texts; raises ConfigError for anything else."""
    from ncpl.errors import ConfigError
    from ncpl.forms.understand import number_of
    from ncpl.plan.transfer import NEEDED

    known = (*NEEDED, "learning_rate")
    found: dict[str, float] = {}
    for text in texts:
        name, _, value = text.partition("=")
        number = number_of(value.strip())
        is_plain = isinstance(number, (int, float)) and not isinstance(number, bool)
        if name.strip() not in known or not is_plain:
            raise ConfigError(
                f"{option} {text}: expected NAME=NUMBER, the names {', '.join(known)}"
            )
        found[name.strip()] = float(number)
    return found


def transfer_lines(found: Transfer) -> list[str]:
    """Return rules, measured slopes and carried rates as text."""
    from ncpl.plan.report import value_text
    from ncpl_data.terminal.tables import aligned

    rows: list[tuple[str, ...]] = [("rule", "what", "power", "measured, 90%", "", "from")]
    for rule in found.rules:
        own = rule.measured
        rows.append(
            (
                rule.name, rule.what, f"{rule.published:.3g}",
                "-" if own is None else f"{own.value:.3f} ({own.low:.3f} to {own.high:.3f})",
                "" if rule.agrees is None else "agrees" if rule.agrees else "differs", rule.origin,
            )
        )  # fmt: skip
    of = f", {found.optimizer}" if found.optimizer else ""
    lines = [
        f"{found.source}{of}: {found.n_cells} sweeps of the learning rate with an optimum inside",
        *aligned(rows),
    ]
    if found.carried:
        table: list[tuple[str, ...]] = [("carried by", "learning rate", "90%")]
        for rate in found.carried:
            ends = "" if rate.low is None else f"{value_text(rate.low)} to {value_text(rate.high)}"
            table.append((rate.rule, value_text(rate.learning_rate), ends))
        lines += ["", *aligned(table)]
    return lines + [f"note: {note}" for note in found.notes]
