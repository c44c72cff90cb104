"""Command ncpl predict."""

from __future__ import annotations

import csv
import io
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ncpl.commands import complete
from ncpl.commands.downstream import task_lines, words
from ncpl.commands.options import bundle_option, catalog_option, common

log = logging.getLogger(__name__)
EPILOG = """
\b
Examples:
  ncpl predict config.json
  ncpl predict sweep.csv --csv > predicted.csv
  ncpl predict config.json --curve 10
  ncpl predict config.json --source marin --tasks hellaswag,arc_easy
  ncpl predict train_gpt2.py
  ncpl predict config.json --beside training_args.json --set n_devices=8 --set sequence_length=2048
  ncpl predict config.json --runs mine.jsonl
  ncpl predict config.json --source gemstones
  ncpl predict config.json --set n_experts=8 --set experts_per_token=2 --set d_ff_expert=2816
  ncpl predict --snapshot latest --json
  echo '{"params_non_embedding": 3e8, "train_tokens": 1e10}' | ncpl predict -

\b
config.json holds an object, a list of objects, or one object a line:
  {"params_non_embedding": 3e8, "train_tokens": 1e10, "learning_rate": 2e-3,
   "batch_size_sequences": 256, "sequence_length": 2048}
"""


@click.command(epilog=EPILOG)
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True), required=False)
@click.option(
    "--format", "kind", type=click.Choice(["json", "csv"]),
    help="Of FILE; by its ending if not given, json for standard input.",
)  # fmt: skip
@click.option(
    "--beside", multiple=True, type=click.Path(path_type=Path),
    help="Another file of the same run, such as training_args.json; may be repeated.",
)  # fmt: skip
@click.option(
    "--set", "pairs", multiple=True, metavar="NAME=VALUE",
    help="What the file does not say, or says otherwise; may be repeated.",
)  # fmt: skip
@click.option(
    "--snapshot", help="Predict the runs of a snapshot: id, name, path, or latest.",
    shell_complete=complete.snapshots,
)  # fmt: skip
@click.option("--csv", "as_csv", is_flag=True, help="Print a CSV table.")
@click.option("--curve", "points", type=click.IntRange(1, 10_000), help="Points of the loss curve.")
@click.option(
    "--curve-out", type=click.Path(path_type=Path),
    help="Write the curves as CSV: configuration, percent of the run, tokens, loss.",
)  # fmt: skip
@click.option(
    "--tasks", help="Tasks to predict from the loss, with commas between: hellaswag,arc_easy."
)
@click.option(
    "--task-fit", type=click.Path(path_type=Path, dir_okay=False),
    help="File of ncpl downstream fit; the shipped one of the source if not given.",
)  # fmt: skip
@click.option("--nearest", type=click.IntRange(0), default=3, help="Known runs shown for each.")
@click.option(
    "--runs", "runs_file", type=click.Path(path_type=Path),
    help="Own runs with final_loss: predict in their family, see ncpl adapt.",
)  # fmt: skip
@click.option(
    "--prefix", type=click.Path(path_type=Path),
    help="Log of the run so far: forecast its end, see ncpl plan extrapolate.",
)  # fmt: skip
@click.option(
    "--source", help="Family that FILE is of: a source, or a family's whole name.",
    shell_complete=complete.families,
)  # fmt: skip
@catalog_option
@bundle_option
@common
def predict(
    *,
    file: Path | None,
    kind: str | None,
    beside: tuple[Path, ...],
    pairs: tuple[str, ...],
    snapshot: str | None,
    as_csv: bool,
    points: int | None,
    curve_out: Path | None,
    tasks: str | None,
    task_fit: Path | None,
    nearest: int,
    runs_file: Path | None,
    prefix: Path | None,
    source: str | None,
    catalog: Path | None,
    folder: Path | None,
    as_json: bool,
    no_progress: bool,
) -> None:
    """Predict the final loss of the configurations in FILE (JSON, JSONL or CSV; - is stdin).

    FILE may also be a configuration of transformers, nanoGPT, nanochat, Megatron-LM, torchtitan,
    nanotron, litgpt, axolotl, LLaMA-Factory or OLMo (JSON, YAML, TOML, Python, arguments), or a
    folder with config.json and training_args.json. It is read, never run; what was understood is
    printed with its origin.

    The header of a CSV file names the fields; an empty cell is an absent field. With --snapshot,
    predict the runs of a snapshot instead; those the bundle knows no source for are left out.
    Losses are in nats per token, with a 90% interval.
    """
    del no_progress  # nothing takes long here
    _check_usage(
        file,
        snapshot,
        as_csv=as_csv,
        as_json=as_json,
        only_curves=bool(points) and curve_out is None,
        families=(runs_file is not None) + (source is not None),
    )
    if prefix is not None:
        if file is None or as_csv or points or tasks is not None:
            raise click.UsageError("--prefix goes with FILE, and prints the rest of the curve")
        from ncpl.commands.plan_extrapolate import forecasts_of, show

        found_of = forecasts_of([prefix], [file], pairs, None, source, runs_file, folder)
        show(found_of, None, None, as_json=as_json)
        return
    from ncpl.commands.adapt import chosen, lines_against_first, told_of
    from ncpl.commands.mixtures import answered
    from ncpl.evaluate.configurations import whose_losses
    from ncpl.forms.files import configs_of
    from ncpl.forms.understand import parse_given

    bundle: Any = chosen(folder, runs_file, source)
    found: dict[str, Any] = {}
    lines: list[str] = []
    if file is not None:
        configs, forms = configs_of(file, kind, beside, parse_given(pairs))
        if source is not None or runs_file is not None:
            configs = [{**config, "source": source or "own"} for config in configs]
        configs, told = answered(
            bundle, configs, folder, 0 if as_csv else nearest,
            with_curves=bool(points) or curve_out is not None,
        )  # fmt: skip
        lines = [line for form in forms for line in form.lines()]
        if forms:
            found["understood"] = [form.to_json() for form in forms]
        own = [{"run_id": str(c["run_id"])} if "run_id" in c else {} for c in configs]
        predictions = [name | vars(p) for name, p in zip(own, told, strict=True)]
    else:
        predictions, configs, refused = known_runs(bundle, str(snapshot), catalog)
        found["left_out"] = len(refused)
        if refused:
            log.warning("%d runs are left out; the first: %s", len(refused), refused[0])
    whose = whose_losses(bundle, configs, predictions)
    add_curves_and_tasks(bundle, configs, predictions, points, curve_out, tasks, task_fit)
    if runs_file is not None:
        found |= told_of(bundle, configs)
    notes = [f"note: {note}" for note in [found.get("next_run"), *found.get("notes", ())] if note]
    if as_json:
        plain = [{k: _plain(v) for k, v in p.items()} for p in predictions]
        click.echo(json.dumps({"losses_of": whose, "predictions": plain} | found))
    elif as_csv:
        if whose:
            log.warning("%s", "\n".join(lines_of_whose(whose, bundle)))
        click.echo(prediction_table(predictions), nl=False)
    else:
        click.echo(
            "\n".join(
                [
                    *lines_of_whose(whose, bundle),
                    *lines,
                    *lines_of(predictions, nearest),
                    *(lines_against_first(found, predictions) if runs_file is not None else ()),
                    *notes,
                ]
            )
        )


def _check_usage(
    file: Path | None,
    snapshot: str | None,
    *,
    as_csv: bool,
    as_json: bool,
    only_curves: bool,
    families: int,
) -> None:
    """Raise click.UsageError where options contradict each other."""
    if (file is None) == (snapshot is None):
        raise click.UsageError("give FILE or --snapshot, one of the two")
    if families > 1 or (families and file is None):
        raise click.UsageError("--runs and --source go with FILE, one of the two")
    if as_csv and as_json:
        raise click.UsageError("give --json or --csv, not both")
    if as_csv and only_curves:
        raise click.UsageError("--csv has a line a configuration: write curves by --curve-out FILE")


def known_runs(
    bundle: Any, name: str, catalog: Path | None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[str]]:
    """Return predictions with run id, split and measured loss; configurations; who was left out."""
    import math

    from ncpl.data.find import find_snapshot
    from ncpl.evaluate.configurations import of_snapshot

    runs = find_snapshot(name, catalog).runs()
    places, configs, refused = of_snapshot(runs, bundle)
    predictions = [
        {
            "run_id": runs.run_ids[i],
            "split": runs.split[i],
            "final_loss": float(runs.loss[i]) if math.isfinite(runs.loss[i]) else None,
        }
        | vars(prediction)
        for i, prediction in zip(places, bundle.predict(configs), strict=True)
    ]
    return predictions, configs, refused


def add_curves_and_tasks(
    bundle: Any,
    configs: Sequence[Any],
    predictions: list[dict[str, Any]],
    points: int | None,
    curve_out: Path | None,
    tasks: str | None,
    task_fit: Path | None,
) -> None:
    """Put curves and tasks beside the predictions, where asked, and write the file of curves."""
    if points or curve_out:
        add_curves(bundle, configs, predictions, points or 30)
    if tasks is not None or task_fit is not None:
        from ncpl.downstream.attach import add_tasks

        add_tasks(predictions, words(tasks), task_fit)
    if curve_out is not None:
        write_curves(curve_out, predictions)
        if points is None:  # asked for in the file alone
            for p in predictions:
                p.pop("curve", None)


def add_curves(
    bundle: Any, configs: Sequence[Any], predictions: Sequence[dict[str, Any]], points: int
) -> None:
    """Put `points` points of the loss curve beside each prediction, evenly along the run.

    None, and a warning, where the bundle knows no curve.
    """
    import numpy as np

    from ncpl.data.fields import derive

    shares = np.linspace(1 / points, 1, points)
    for config, p, losses in zip(configs, predictions, bundle.curves(configs, shares), strict=True):
        if np.isnan(losses).any():
            p["curve"] = None
            p["warnings"].append("no curve: no training run had this schedule")
            continue
        tokens = derive(config)["data_tokens"]
        p["curve"] = [
            {"percent": 100 * float(s), "tokens": float(s * tokens), "loss": float(loss)}
            for s, loss in zip(shares, losses, strict=True)
        ]


def lines_of_whose(whose: Sequence[dict[str, str]], bundle: Any) -> list[str]:
    """Return whose losses are told, where no source was asked for."""
    known = ", ".join(dict.fromkeys(fit.family[0] for fit in bundle.fits))
    return [
        f"no source given: losses are those of {one['source']} ({one['metric']}, data "
        f"{one['dataset'] or 'as its runs had'}), not of other data; known sources: {known}"
        for one in whose
    ]


def lines_of(predictions: Sequence[dict[str, Any]], nearest: int) -> list[str]:
    """Return a table of predictions, then what is to be said of single ones."""
    from ncpl_data.terminal.tables import aligned

    is_named = any(p.get("run_id") for p in predictions)
    is_measured = any("final_loss" in p for p in predictions)
    has_risk = any(p.get("divergence_risk") is not None for p in predictions)
    head = ["run" if is_named else "#", "source", "loss", "90% interval", "Chinchilla"]
    head += ["diverges"] if has_risk else []
    head += ["measured"] if is_measured else []
    rows = [head]
    for i, p in enumerate(predictions, start=1):
        row = [
            str(p.get("run_id") or i), p["source"], f"{p['loss']:.4f}",
            f"{p['low']:.4f} to {p['high']:.4f}", f"{p['baseline']:.4f}",
        ]  # fmt: skip
        if has_risk:
            risk = p.get("divergence_risk")
            row.append("" if risk is None else f"{100 * risk:.0f}%")
        if is_measured:
            measured = p.get("final_loss")
            row.append("" if measured is None else f"{measured:.4f}")
        rows.append(row)
    lines = aligned(rows)
    for i, p in enumerate(predictions, start=1):
        name = str(p.get("run_id") or i)
        lines += [f"note on {name}: {warning}" for warning in p["warnings"]]
        if "tasks" in p:
            lines += [f"tasks of {name}:", *(f"  {line}" for line in task_lines(p["tasks"]))]
        if p.get("curve"):
            curve = ", ".join(f"{c['percent']:.3g}% {c['loss']:.4f}" for c in p["curve"])
            lines.append(f"curve of {name}: {curve}")
        if not is_measured:
            lines += [f"near {name}: {_near(run)}" for run in (p.get("nearest") or [])[:nearest]]
    return lines


def _near(run: Any) -> str:
    """Return one known run as text."""
    fields = dict(run if isinstance(run, dict) else vars(run))
    config = fields.pop("config", {})
    text = f"{fields.pop('run_id')} measured {fields.pop('final_loss'):.4f}"
    more = [
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in (fields | config).items()
    ]
    return f"{text} ({', '.join(more)})"


def prediction_table(predictions: Sequence[dict[str, Any]]) -> str:
    """Return predictions as CSV, notes in one cell."""
    names = ["run_id", "split", "source", "loss", "low", "high", "baseline", "divergence_risk"]
    names = [n for n in names if any(p.get(n) is not None for p in predictions)]
    names += ["final_loss"] if any("final_loss" in p for p in predictions) else []
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["configuration", *names, "warnings"])
    for i, p in enumerate(predictions, start=1):
        table.writerow([i, *(p.get(name) for name in names), "; ".join(p["warnings"])])
    return out.getvalue()


def write_curves(path: Path, predictions: Sequence[dict[str, Any]]) -> None:
    """Write all curves as CSV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(curve_table(predictions), encoding="utf-8")


def curve_table(predictions: Sequence[dict[str, Any]]) -> str:
    """Return all curves as CSV, one point a line."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["configuration", "percent", "tokens", "loss"])
    for i, p in enumerate(predictions, start=1):
        name = p.get("run_id") or i
        table.writerows([name, c["percent"], c["tokens"], c["loss"]] for c in p["curve"] or ())
    return out.getvalue()


def _plain(value: Any) -> Any:
    """Return nearest runs as plain values, whatever the bundle calls them."""
    if isinstance(value, list):
        return [vars(item) if hasattr(item, "__dict__") else item for item in value]
    return value
