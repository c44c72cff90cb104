"""The curve board as Markdown and as one HTML file that needs nothing else."""

from __future__ import annotations

from html import escape
from typing import Any

from ncpl.bench.curve_points import POINTS_PER_RUN
from ncpl.bench.curves import CurveBoard
from ncpl.bench.report import html_table, page
from ncpl.bench.schedule_studies import LENGTH, SCHEDULE
from ncpl.bench.svg import Dot, dot_plot
from ncpl.bench.svg_curves import curve_panels

ORDER = {"id": 0, "ood": 1, SCHEDULE: 2, LENGTH: 3}


HEAD = (
    "source", "part", "method", "runs", "points", "MAE", "90% of MAE", "MAE past 50%",
    "Huber x 1e4", "saw test",
)  # fmt: skip
NOTES = (
    "MAE in nats per token over points past 10% (and past 50%) of the run, at most "
    f"{POINTS_PER_RUN} a run on StepLaw and Marin. Huber: delta .01. 90%: whole groups drawn with "
    "replacement, 1,000 times. Parts: ID and OOD as in the split; SCHEDULE and LENGTH: each model "
    "of multipower and lr_scheduling is fitted on some schedules and scored on others and on "
    "longer runs."
)


def markdown(board: CurveBoard) -> str:
    """Return the curve board as Markdown."""
    about = board.about
    lines = [
        f"# NCPL curve board, split {about['split']}",
        "",
        f"Snapshot {about['snapshot_id']}, seed {about['seed']}. {NOTES}",
        "",
        f"| {' | '.join(HEAD)} |",
        "|" + "---|" * len(HEAD),
    ]
    lines += [f"| {' | '.join(cells(row))} |" for row in ordered(board)]
    lines += ["", *(f"- {o['method']} on {o['source']}: {o['reason']}" for o in board.left_out)]
    return "\n".join(lines).rstrip() + "\n"


def ordered(board: CurveBoard) -> list[dict[str, Any]]:
    """Return the rows by source and part, the smallest error first."""
    place = {source: i for i, source in enumerate(dict.fromkeys(r["source"] for r in board.rows))}
    return sorted(
        board.rows,
        key=lambda r: (place[r["source"]], ORDER[r["split"]], r["mae"], r["method"]),
    )


def cells(row: dict[str, Any]) -> list[str]:
    """Return the cells of one row of the table."""
    half = row["mae_second_half"]
    return [
        row["source"], row["split"].upper(), row["method"], str(row["runs"]), str(row["points"]),
        f"{row['mae']:.4f}", f"{row['mae_90'][0]:.4f} to {row['mae_90'][1]:.4f}",
        "-" if half is None else f"{half:.4f}", f"{1e4 * row['huber']:.2f}", row["saw_test"],
    ]  # fmt: skip


CURVE_LAWS = ("Tissue", "Multi-power law")
COLOURS = {"id": "id", "ood": "ood", SCHEDULE: "id", LENGTH: "ood"}


def html(board: CurveBoard) -> str:
    """Return the curve board as one HTML file with its figures inside, without scripts or links."""
    about = board.about
    body = [f"<h1>NCPL curve board, split {escape(about['split'])}</h1>"]
    body.append(f"<p>Snapshot <code>{escape(about['snapshot_id'])}</code>. {escape(NOTES)}</p>")
    rows = ordered(board)
    for source in dict.fromkeys(row["source"] for row in rows):
        mine = [row for row in rows if row["source"] == source]
        splits = sorted({row["split"] for row in mine}, key=ORDER.__getitem__)
        body.append(f"<h2>{escape(source)}</h2>")
        dots = [
            Dot(row["method"], COLOURS[row["split"]], row["mae"], tuple(row["mae_90"]), False)
            for row in sorted(mine, key=lambda r: (-ORDER[r["split"]], r["mae"]))
        ]
        names = {COLOURS[split]: split.upper() for split in splits}
        title = f"{source}: error along the curve, past 10% of the run"
        body.append(dot_plot(dots, title, names=names))
        for split in splits:
            shown = board.shown[f"{source}/{split}"]
            names_there = [row["method"] for row in mine if row["split"] == split]
            law = [name for name in names_there[2:] if name.startswith(CURVE_LAWS)][:1]
            predicted = {n: shown["predicted"][n] for n in [*names_there[:2], *law]}
            label = f"{source}, {split.upper()}: measured curves, the two best methods, a curve law"
            body.append(curve_panels(shown["runs"], predicted, label))
        body.append(html_table(HEAD, [("", cells(row)) for row in mine], "curves"))
    if board.left_out:
        items = (f"{o['method']} on {o['source']}: {o['reason']}" for o in board.left_out)
        body.append("<h2>Left out</h2><ul>")
        body.append("".join(f"<li>{escape(item)}</li>" for item in items) + "</ul>")
    return page("NCPL curve board", body)
