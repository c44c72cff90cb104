"""`ncpl-data show`: one run, with the origin of each value and its curves."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ncpl_data.ingest import complete
from ncpl_data.ingest.options import catalog_option
from ncpl_data.terminal.console import Console, output_options

if TYPE_CHECKING:
    from ncpl_data.catalog.curve import Curve
    from ncpl_data.catalog.record import Run

WIDTH, HEIGHT = 72, 14
MAX_IDS = 50
NAMES = ("run_id", "source", "source_run", "schema_version")
BLOCKS = " ▁▂▃▄▅▆▇█"

EPILOG = """\b
Examples:
  ncpl-data show example/dense_pretrain
  ncpl-data show example/dense     lists the runs whose ids begin so
  ncpl-data show example/dense_pretrain --metric train/loss --plot loss.png
  ncpl-data show example/dense_pretrain --document > run.json
"""


@click.command(epilog=EPILOG)
@click.argument("run_id", shell_complete=complete.runs)
@click.option("--metric", help="Curve to draw. Default: the one of the final loss.")
@click.option(
    "--plot",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw every curve into a file (.png, .svg, .pdf).",
)
@click.option("--document", is_flag=True, help="Print the run as a document of the schema.")
@catalog_option
@output_options
def show(
    run_id: str,
    metric: str | None,
    plot: Path | None,
    document: bool,
    catalog_folder: Path,
    console: Console,
) -> None:
    """Show one run: every stated value with its unit and origin, and its curve.

    With the beginning of an id, list the runs whose ids begin so.
    """
    from ncpl_data.catalog.errors import InputError
    from ncpl_data.catalog.store import Catalog
    from ncpl_data.ingest.submissions.lookup import find_runs

    catalog = Catalog(catalog_folder)
    run = find_runs(catalog, [run_id]).get(run_id)
    if run is None:
        beginning = ids_beginning(catalog, run_id)
        if beginning:
            console.result({"run_ids": beginning}, "\n".join(shown_ids(beginning)))
            return
        raise InputError(f'{catalog_folder} has no run "{run_id}"{alike(catalog, run_id)}')
    if plot is not None:
        draw_file(run, plot)
        console.note(f"curves drawn into {plot}")
    content = run.to_document()
    if document:
        console.result(content, json.dumps(content, indent=1, ensure_ascii=False))
        return
    curve = chosen_curve(run, metric)
    sheet = catalog.manifest().sources.get(run.source, {})
    lines = value_lines(run, sheet.get("default_origin"))
    if curve is not None:
        lines += ["", *draw_text(curve)]
    elif run.curves:
        lines += ["", f"curves: {', '.join(c.metric for c in run.curves)} (--metric NAME)"]
    lines += eval_lines(run)
    console.result(content, "\n".join(lines))


def ids_beginning(catalog: Any, prefix: str) -> list[str]:
    """Return the stored ids that begin with a text, sorted; small and capital letters are one."""
    import pyarrow.compute as pc

    ids = catalog.read("runs", ["run_id"])["run_id"]
    found = ids.filter(pc.starts_with(ids, pattern=prefix, ignore_case=True)).to_pylist()
    return sorted(found)


def shown_ids(run_ids: Sequence[str]) -> list[str]:
    """Return ids, a line each; the first ones where there are many."""
    shown = list(run_ids[:MAX_IDS])
    if len(run_ids) > MAX_IDS:
        shown.append(f"... and {len(run_ids) - MAX_IDS:,} more; all: --json")
    return shown


def alike(catalog: Any, run_id: str) -> str:
    """Return the stored ids most like one, as the end of a sentence."""
    import difflib

    source = run_id.partition("/")[0]
    known = catalog.read("runs", ["run_id"], source=source)["run_id"].to_pylist()
    if not known:
        return '; list them: ncpl-data query "select run_id from runs"'
    close = difflib.get_close_matches(run_id, known[:20_000], n=3, cutoff=0.3)
    return f"; there are: {', '.join(close or known[:3])}"


def chosen_curve(run: Run, metric: str | None) -> Curve | None:
    """Return the curve to draw; raises InputError for a metric the run has not."""
    from ncpl_data.catalog.errors import InputError

    curves = {curve.metric: curve for curve in run.curves}
    if metric is not None and metric not in curves:
        raise InputError(f'{run.run_id} has no curve "{metric}"; it has: {", ".join(curves)}')
    return curves.get(metric or run.final_loss_metric or "")


def value_lines(run: Run, default_origin: str | None = None) -> list[str]:
    """Return a line for each stated value: field, value, unit, origin.

    `default_origin` is that of values whose origin the run does not state; what names the run and
    says where it comes from has none.
    """
    from ncpl_data.schema.fields import run_fields
    from ncpl_data.terminal.tables import cell_text

    origins = run.origins or {}
    rows: list[tuple[str, str, str, str]] = []
    for f in run_fields():
        value = getattr(run, f.column)
        if value is None or f.column in ("origins", "raw_config"):
            continue
        shown = cell_text(value)
        unit = "" if f.unit in (None, "1") else str(f.unit)
        default = None if f.column in NAMES or f.path[0] == "provenance" else default_origin
        rows.append((f.pointer[1:], shown, unit, origin_text(origins.get(f.column, default))))
    widths = [max((len(row[i]) for row in rows), default=0) for i in range(3)]
    lines = [
        f"{name:<{widths[0]}}  {value:<{widths[1]}}  {unit:<{widths[2]}}  {origin}".rstrip()
        for name, value, unit, origin in rows
    ]
    if run.raw_config:
        lines.append(f"raw configuration: {len(run.raw_config)} entries (--document)")
    return lines


def origin_text(origin: Any) -> str:
    """Return the origin of a value in words."""
    if not isinstance(origin, dict):
        return str(origin or "")
    details = [f"was {origin['was']}"] if origin.get("was") is not None else []
    details += [str(origin[key]) for key in ("rule", "evidence") if origin.get(key)]
    return f"{origin['kind']}: {'; '.join(details)}" if details else str(origin["kind"])


def draw_text(curve: Curve) -> list[str]:
    """Return a curve as text, WIDTH columns of its mean value; steps run from left to right."""
    import numpy as np

    columns = WIDTH if len(curve.step) > 1 else 1
    edges = np.linspace(curve.step[0], curve.step[-1], columns + 1)
    place = np.clip(np.searchsorted(edges, curve.step, side="right") - 1, 0, columns - 1)
    counts = np.bincount(place, minlength=columns)
    sums = np.bincount(place, curve.value, columns)
    between = np.interp((edges[:-1] + edges[1:]) / 2, curve.step, curve.value)
    means = np.where(counts > 0, sums / np.maximum(counts, 1), between)
    low, high = float(means.min()), float(means.max())
    levels = (means - low) / ((high - low) or 1.0) * (HEIGHT * 8 - 1) + 1
    filled = levels.astype(int)
    lines = [f"{curve.metric}, {len(curve.step):,} points"]
    for row in reversed(range(HEIGHT)):
        text = "".join(BLOCKS[int(np.clip(level - 8 * row, 0, 8))] for level in filled)
        label = f"{high:.4g}" if row == HEIGHT - 1 else f"{low:.4g}" if row == 0 else ""
        lines.append(f"{label:>9} |{text}".rstrip())
    end = f"step {curve.step[-1]:,}"
    lines.append(f"{'':>9}  step {curve.step[0]:,}{end:>{max(columns - 6, len(end) + 1)}}")
    return lines


def eval_lines(run: Run) -> list[str]:
    """Return the evaluations of a run as lines."""
    if not run.evals:
        return []
    shown: Sequence[Any] = run.evals[:20]
    lines = ["", f"evaluations ({len(run.evals):,})"]
    for e in shown:
        step = "end" if e.step is None else f"step {e.step:,}"
        shots = "" if e.n_shots is None else f", {e.n_shots} shots"
        lines.append(f"  {e.task} {e.kind}: {e.value:g} ({step}{shots})")
    return lines


def draw_file(run: Run, path: Path) -> None:
    """Draw every curve of a run into a picture, one panel a unit.

    Raises InputError if the run has no curve or the extra `plot` is not installed.
    """
    from ncpl_data.catalog.errors import InputError

    if not run.curves:
        raise InputError(f"{run.run_id} has no curve to draw")
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise InputError("drawing needs the extra plot: pip install 'ncpl-data[plot]'") from error
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    units = {m["name"]: m["unit"] for m in run.metrics or ()}
    if run.final_loss_metric:
        units.setdefault(run.final_loss_metric, run.final_loss_unit or "other")
    panels: dict[str, list[Curve]] = {}
    for curve in run.curves:
        panels.setdefault(units.get(curve.metric, "other"), []).append(curve)
    figure, axes = plt.subplots(len(panels), 1, squeeze=False, figsize=(7, 3 * len(panels)))
    for (unit, curves), axis in zip(sorted(panels.items()), axes[:, 0], strict=True):
        for curve in curves:
            axis.plot(curve.step, curve.value, label=curve.metric)
        axis.set_xlabel("step")
        axis.set_ylabel(unit.replace("_", " "))
        axis.legend()
    figure.suptitle(run.run_id, fontsize=9)
    figure.tight_layout()
    try:
        figure.savefig(path)
    except (OSError, ValueError) as error:
        raise InputError(f"could not write {path}: {error}") from error
    finally:
        plt.close(figure)
