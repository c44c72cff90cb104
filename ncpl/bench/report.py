"""The board as Markdown and as one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from ncpl.bench.board import Board
from ncpl.bench.svg import Dot, dot_plot, residual_panels

COLUMNS = (
    ("mae", "MAE", 4),
    ("mae_90", "90% of MAE", 4),
    ("rmse", "RMSE", 4),
    ("spearman", "rank", 3),
    ("spearman_in_group", "rank in group", 3),
    ("choice_gap_percent", "choice gap %", 3),
    ("coverage", "90% covers", 3),
    ("width", "width", 4),
)
PANELS = 4
NOTES = (
    "Errors in nats per token, sorted by MAE. Choice gap: mean percent above the best measured run "
    "at the run a method would choose, over groups of (optimizer, N, D). 90% of MAE: whole groups "
    "drawn with replacement, 1,000 times. Quoted rows are published numbers, not computed here. "
    "Saw test: whether a method's constants have seen held-out groups."
)


def cell(value: Any, digits: int) -> str:
    """Return one number as the tables show it; a dash where there is none."""
    if value is None:
        return "-"
    if isinstance(value, list):
        return f"{value[0]:.{digits}f} to {value[1]:.{digits}f}"
    return f"{value:.{digits}f}"


def ordered(rows: Sequence[Mapping[str, Any]], source: str, split: str) -> list[Mapping[str, Any]]:
    """Return the rows of one part, the smallest error first, choice laws last."""
    mine = [row for row in rows if row["source"] == source and row["split"] == split]
    return sorted(mine, key=lambda r: (r["mae"] is None, r["mae"] or 0.0, r["method"]))


def parts_of(board: Board) -> list[tuple[str, str, Mapping[str, Any]]]:
    """Return (source, split, counts) of every scored part, in board order."""
    return [
        (about["source"], split, about)
        for about in board.about["parts"]
        for split in ("id", "ood")
        if split in about["runs"]
    ]


def heading(source: str, split: str, about: Mapping[str, Any]) -> str:
    """Return the title of one part."""
    runs, groups = about["runs"], about["groups"][split]
    return (
        f"{source}, {split.upper()}: {runs[split]} runs in {groups} groups (train {runs['train']})"
    )


def table_of(row: Mapping[str, Any]) -> list[str]:
    """Return the cells of one row of the main table."""
    name = row["method"]
    if row["kind"] == "quoted":
        name += " (quoted)"
    values = [cell(row.get(key), digits) for key, _, digits in COLUMNS]
    return [name, *values, row["saw_test"]]


def quotations(board: Board) -> list[str]:
    """Return one sentence a quoted row: its part, its name, where it was published."""
    return [
        f"{row['source']}, {row['split'].upper()}: {row['method']}: {row['quoted_from']}"
        for row in board.rows
        if row["kind"] == "quoted"
    ]


HEAD = ["method", *(title for _, title, _ in COLUMNS), "saw test"]


def markdown(board: Board) -> str:
    """Return the board as Markdown."""
    lines = [
        f"# NCPL board, split {board.about['split']}",
        "",
        f"Snapshot {board.about['snapshot_id']}, seed {board.about['seed']}. {NOTES}",
    ]
    for source, split, about in parts_of(board):
        lines += ["", f"## {heading(source, split, about)}", ""]
        lines += ["| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
        for row in ordered(board.rows, source, split):
            lines.append("| " + " | ".join(table_of(row)) + " |")
    lines += ["", "## Where the quoted rows are from", ""]
    lines += [f"- {sentence}" for sentence in quotations(board)]
    if board.left_out:
        lines += ["", "## Left out", ""]
        lines += [f"- {o['method']} on {o['source']}: {o['reason']}" for o in board.left_out]
    return "\n".join(lines) + "\n"


STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1180px; }
body { padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .25rem .5rem; border-bottom: 1px solid #8884; }
th, td { font-size: 13px; }
th:first-child, td:first-child, th:last-child, td:last-child { text-align: left; }
.curves th:nth-child(-n+3), .curves td:nth-child(-n+3) { text-align: left; }
tr.quoted { color: #777; font-style: italic; }
tr.ncpl td { font-weight: 600; }
svg { width: 100%; height: auto; margin: 1rem 0; font: 13px system-ui, sans-serif; }
svg text { fill: currentColor; }
svg .small { font-size: 11px; opacity: .75; }
svg .title { font-size: 15px; font-weight: 600; }
svg .frame { fill: none; stroke: #8888; }
.wide { overflow-x: auto; }
"""


def html(board: Board) -> str:
    """Return the board as one HTML file with its figures inside, without scripts or links."""
    body = [f"<h1>NCPL board, split {escape(board.about['split'])}</h1>"]
    body.append(
        f"<p>Snapshot <code>{escape(board.about['snapshot_id'])}</code>. {escape(NOTES)}</p>"
    )
    body.extend(figures(board, about["source"]) for about in board.about["parts"])
    for source, split, about in parts_of(board):
        body.append(f"<h2>{escape(heading(source, split, about))}</h2>")
        rows = ordered(board.rows, source, split)
        body.append(html_table(HEAD, [(row["kind"], table_of(row)) for row in rows]))
        for key, title in (("by_size", "size"), ("by_optimizer", "optimizer")):
            body.append(breakdown(rows, key, title))
    body.append("<h2>Where the quoted rows are from</h2><ul>")
    body.append("".join(f"<li>{escape(sentence)}</li>" for sentence in quotations(board)) + "</ul>")
    if board.left_out:
        items = (f"{o['method']} on {o['source']}: {o['reason']}" for o in board.left_out)
        body.append("<h2>Left out</h2><ul>")
        body.append("".join(f"<li>{escape(item)}</li>" for item in items) + "</ul>")
    return page("NCPL board", body)


def page(title: str, body: Sequence[str]) -> str:
    """Return a whole HTML file of these parts; nothing in it is fetched."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="icon" href="data:,">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body>\n"
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def html_table(
    head: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]], kind: str = ""
) -> str:
    """Return a table of this class; each row comes with the class of its method."""
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = [
        f'<tr class="{escape(row_kind)}">'
        + "".join(f"<td>{escape(c)}</td>" for c in cells)
        + "</tr>"
        for row_kind, cells in rows
    ]
    return (
        f'<div class="wide"><table class="{escape(kind)}"><thead><tr>{top}</tr></thead><tbody>'
        + "\n".join(lines)
        + "</tbody></table></div>"
    )


def breakdown(rows: Sequence[Mapping[str, Any]], key: str, title: str) -> str:
    """Return MAE by size or optimizer, one column each; nothing where there is only one."""
    scored = [row for row in rows if row.get(key)]
    if not scored or len(scored[0][key]) < 2:
        return ""
    head = ["MAE by " + title, *(f"{e['of'] or 'not stated'} ({e['n']})" for e in scored[0][key])]
    lines = [
        (row["kind"], [row["method"], *(cell(entry["mae"], 4) for entry in row[key])])
        for row in scored
    ]
    return f"<h3>By {title}</h3>" + html_table(head, lines)


def figures(board: Board, source: str) -> str:
    """Return the figures of one source."""
    rows = [r for r in board.rows if r["source"] == source and r["mae"] is not None]
    order = {r["method"]: r["mae"] for r in sorted(rows, key=lambda r: r["split"] == "ood")}
    dots = [
        Dot(
            method=row["method"],
            split=row["split"],
            value=row["mae"],
            interval=tuple(row["mae_90"]) if row.get("mae_90") else None,
            is_quoted=row["kind"] == "quoted",
        )
        for row in sorted(rows, key=lambda r: (order[r["method"]], r["method"], r["split"]))
    ]
    parts = [dot_plot(dots, f"{source}: error of every method")] if dots else []
    points = board.points.get(f"{source}/ood") or board.points.get(f"{source}/id")
    if points and points["predicted"]:
        best = sorted(points["predicted"], key=lambda name: order[name])
        shown = best[: PANELS - 1]
        law = next((n for n in points["predicted"] if n.startswith("Chinchilla, refit")), None)
        shown = [*shown, law] if law and law not in shown else best[:PANELS]
        panels = [(name, points["measured"], points["predicted"][name]) for name in shown]
        parts.append(residual_panels(panels, f"{source}: where the errors lie, held-out runs"))
    return "\n".join(parts)
