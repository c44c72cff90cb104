"""Commands of the laws: ncpl laws list, fit, predict, compare, reproduce."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from ncpl.commands.law_predict import predict
from ncpl.commands.optimum import optimum
from ncpl.commands.options import catalog_option, common
from ncpl_data.terminal.console import EXIT_INVALID

fit_file = click.Path(path_type=Path, dir_okay=False, exists=True)


@click.group()
def laws() -> None:
    """Fit published scaling laws, compare them, and check their published findings.

    Example: ncpl laws fit chinchilla runs.csv --out fit.json
    """


@laws.command("list")
@common
def list_laws(*, as_json: bool, no_progress: bool) -> None:
    """List the laws: formula, columns they read, where they are from.

    Example: ncpl laws list
    """
    del no_progress  # nothing takes long here
    from ncpl.laws import registry

    rows = []
    for name in registry.NAMES:
        law = registry.FIXED.get(name) or example_of(name)
        columns = registry.columns_for(name)
        rows.append(
            {"law": name, "formula": law.formula, "columns": columns, "citation": law.citation}
        )
    if as_json:
        click.echo(json.dumps({"laws": rows}, ensure_ascii=False))
        return
    for row in rows:
        click.echo(f"{row['law']}\n  {row['formula']}\n  reads: {', '.join(row['columns'])}")
        click.echo(f"  {row['citation']}")


def example_of(name: str) -> Any:
    """Return a law whose shape depends on its data, on the smallest data there is."""
    import numpy as np

    from ncpl.laws import bnsl, mixture, registry
    from ncpl.laws.schedules import Curves

    if name == "bnsl":
        return bnsl.bnsl(np.array([1.0, 10.0]))
    if name == "mixing":
        return mixture.mixing_law(2)
    curve = Curves(np.zeros(2, np.int64), np.array([1.0, 2.0]), np.array([1.0, 0.5]))
    return registry.CURVE_LAWS[name](curve)


@laws.command()
@click.argument("law")
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--snapshot", help="Fit on a snapshot instead of FILE: id, name, path, or latest.")
@catalog_option
@click.option("--source", help="Source of the snapshot; losses compare only inside one.")
@click.option("--dataset", help="Data set, where a source has several.")
@click.option("--metric", help="Metric of the loss, where a source has several.")
@click.option("--split", default="train", show_default=True, help="Part of the snapshot.")
@click.option("--loss", "loss_column", default="loss", show_default=True, help="Column of losses.")
@click.option("--group", "group_column", default="group", show_default=True,
              help="Column of groups that are resampled together, where there is one.")  # fmt: skip
@click.option("--refits", type=click.IntRange(0), default=200, show_default=True,
              help="Draws of the intervals; 0 for none.")  # fmt: skip
@click.option("--starts", type=click.IntRange(1), default=20, show_default=True)
@click.option("--breaks", type=click.IntRange(1, 5), default=1, show_default=True, help="Of bnsl.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="JSON to write.")
@common
def fit(
    *,
    law: str,
    file: Path | None,
    snapshot: str | None,
    catalog: Path | None,
    source: str | None,
    dataset: str | None,
    metric: str | None,
    split: str,
    loss_column: str,
    group_column: str,
    refits: int,
    starts: int,
    breaks: int,
    seed: int,
    out: Path | None,
    as_json: bool,
    no_progress: bool,
) -> None:
    """Fit LAW to the runs in FILE (CSV, Parquet, JSONL) or in a snapshot.

    Example: ncpl laws fit chinchilla --snapshot latest --source steplaw --out fit.json
    """
    del no_progress  # a fit is over before a bar would help
    if (file is None) == (snapshot is None):
        raise click.UsageError("give FILE or --snapshot, one of them")
    from ncpl.bench import tables
    from ncpl.data.find import find_snapshot
    from ncpl.errors import ConfigError
    from ncpl.laws import registry, saved
    from ncpl.laws.forecast import one_valued
    from ncpl.laws.uncertainty import draws_of

    if law not in registry.NAMES:
        raise click.UsageError(f"there is no law {law!r}; there are: {', '.join(registry.NAMES)}")
    if file is not None:
        table = tables.read_table(file)
    else:
        table = tables.snapshot_table(
            find_snapshot(str(snapshot), catalog), source, split,
            dataset=dataset, metric=metric,
        )  # fmt: skip
    if loss_column not in table:
        raise ConfigError(
            f"no column {loss_column!r} of losses; there are: {', '.join(table)}. Name yours: "
            "--loss COLUMN"
        )
    try:
        data = registry.ready(law, table, breaks)
        observed = table[loss_column].astype("float64")
        found = registry.fit_ready(law, data, observed, seed=seed, n_starts=starts)
        groups = table.get(group_column, table.get("curve"))
        resampled = None
        if refits:
            resampled = draws_of(
                found,
                data.inputs,
                observed,
                None if groups is None else groups.tolist(),
                n_draws=refits,
                seed=seed,
            )
    except ValueError as error:
        raise ConfigError(f"{file or snapshot}: {error}") from error
    result = saved.to_json(found, data, resampled, seed)
    result["warnings"] += one_valued(data.inputs)
    if out is not None:
        tables.write_text(out, json.dumps(result, ensure_ascii=False) + "\n")
    shown = {key: value for key, value in result.items() if key not in ("draws", "noise")}
    click.echo(json.dumps(shown, ensure_ascii=False) if as_json else describe(shown, out))


def describe(result: dict[str, Any], out: Path | None) -> str:
    """Return a fit as text: one line a parameter, then what is wrong with it."""
    lines = [f"{result['law']}: {result['formula']}", f"{result['n_points']} runs"]
    intervals = (result["bootstrap"] or {}).get("interval", {})
    for name, entry in result["parameters"].items():
        ends = intervals.get(name)
        spread = f"  90% {ends[0]:.5g} to {ends[1]:.5g}" if ends else ""
        lines.append(f"  {name} = {entry['value']:.6g} {entry['unit']}{spread}".rstrip())
    agreeing = f"{result['n_starts_agreeing']} of {result['n_starts']} starts agree"
    lines.append(f"  {agreeing}")
    if (result["bootstrap"] or {}).get("method") == "posterior":
        lines.append(
            f"  intervals: draws from the posterior of {result['bootstrap']['groups']} groups of "
            "runs, with the ranges of the starts as what was known before"
        )
    lines += [f"  warning: {warning}" for warning in result["warnings"]]
    if out is not None:
        lines.append(f"written: {out}")
    return "\n".join(lines)


@laws.command()
@click.argument("a", type=fit_file)
@click.argument("b", type=fit_file)
@common
def compare(*, a: Path, b: Path, as_json: bool, no_progress: bool) -> None:
    """Say at which training compute the fitted curves A and B cross, if they do inside the data.

    Laws of size and tokens are compared at their best size for each compute.

    Example: ncpl laws compare adamw.json muon.json
    """
    del no_progress  # nothing takes long here
    from ncpl.laws import saved

    result = saved.compare(saved.load(a), saved.load(b))
    if as_json:
        click.echo(json.dumps(result))
        return
    low, high = result["range_flops"]
    span = f"{low:.3g} to {high:.3g} FLOPs, the compute both were fitted on"
    names = {"a": str(a), "b": str(b), None: "neither"}
    if result["crossing_flops"] is None:
        better = names[result["lower_at_the_end"]]
        click.echo(f"no crossing inside {span}; {better} is lower throughout")
    else:
        ends = result["interval_90"]
        spread = (
            f", 90% {ends[0]:.3g} to {ends[1]:.3g}"
            if ends
            else ", no interval: too few refits cross"
        )
        better = names[result["lower_at_the_end"]]
        click.echo(
            f"they cross at {result['crossing_flops']:.3g} FLOPs{spread}; {better} is lower above"
        )
        click.echo(f"looked at {span}")
    if result["crosses_share"] is not None:
        click.echo(
            f"{100 * result['crosses_share']:.0f}% of {result['refits']} pairs of refits cross"
        )


@laws.command()
@click.argument("names", nargs=-1)
@click.option("--epoch", type=fit_file, help="svg_extracted_data.csv: Chinchilla's figure 4.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@common
def reproduce(
    *, names: tuple[str, ...], epoch: Path | None, seed: int, as_json: bool, no_progress: bool
) -> None:
    """Check published findings on public points; leaves with 1 if one is outside its band.

    Example: ncpl laws reproduce multipower tissue
    """
    del no_progress  # each line is progress
    from ncpl.bench import reproduce as checks

    unknown = [name for name in names if name not in checks.CHECKS]
    if unknown:
        known = ", ".join(checks.CHECKS)
        raise click.UsageError(f"no check {unknown[0]!r}; there are: {known}")
    found = []
    sources = [checks.CHECKS[name](seed) for name in (names or checks.CHECKS)]
    if epoch is not None:
        sources.append(checks.check_epoch(epoch, seed))
    for source in sources:
        for check in source:
            found.append(check)
            if not as_json:
                verdict = "ok  " if check.passed else "FAIL"
                band = f"{check.low:.4g} to {check.high:.4g}"
                click.echo(f"{verdict} {check.name}: {check.what}: {check.value:.5g} (band {band})")
    if as_json:
        rows = [{**vars(check), "passed": check.passed} for check in found]
        click.echo(json.dumps({"checks": rows}))
    if not all(check.passed for check in found):
        sys.exit(EXIT_INVALID)


laws.add_command(optimum)
laws.add_command(predict)
