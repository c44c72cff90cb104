"""The transfer board as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ncpl.bench.transfer import COMMUNITY, TransferBoard
from ncpl.evaluate.community_card import comparison_table
from ncpl.evaluate.transfer_tasks import COUNTS


def markdown(board: TransferBoard) -> str:
    """Return the board: methods by number of known runs, then families of the adapted population.

    Errors are mean absolute errors in nats, the mean over families and the median in brackets.
    """
    rows = {(row["method"], row["k"]): row for row in board.rows()}
    counts = [count for count in COUNTS if any(k == count for _, k in rows)]
    methods = sorted({method for method, _ in rows}, key=lambda m: (m != COMMUNITY, m))
    lines = [
        f"Transfer board, snapshot {board.snapshot_id[:12]}: error of runs of at least 4 times the "
        "compute of k small ones, nats, mean over families (median)",
        "",
        "| method | " + " | ".join(f"k = {count}" for count in counts) + " |",
        "|---|" + "---|" * len(counts),
    ]
    for error, suffix in (("mae", ""), ("best_mae", ": best recipes")):
        for method in methods:
            cells = [
                f"{row[error]:.4f} ({row[f'median_{error}']:.4f})"
                if (row := rows.get((method, count))) is not None
                else "-"
                for count in counts
            ]
            lines.append(f"| {method}{suffix} | " + " | ".join(cells) + " |")
    for name, title in (
        ("coverage", "90% interval covers"), ("width", "its mean width"),
        ("rank", "rank in groups"), ("choice_gap", "choice gap, %"),
    ):  # fmt: skip
        cells = [_number(rows[COMMUNITY, count][name]) for count in counts]
        lines.append(f"| {COMMUNITY}: {title} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "Nothing is known of the level at k = 0: read rank and choice gap there, not the error.",
        "",
        "| family | targets | " + " | ".join(f"k = {count}" for count in counts) + " |",
        "|---|---|" + "---|" * len(counts),
    ]
    found = {count: board.by_family(COMMUNITY, count) for count in counts}
    names = dict.fromkeys(name for own in found.values() for name in own)
    for name in names:
        scores = [found[count].get(name) for count in counts]
        targets = max(score["targets"] for score in scores if score is not None)
        cells = [
            "-" if score is None else f"{score['mae']:.3f}, {100 * score['coverage']:.0f}%"
            for score in scores
        ]
        lines.append(f"| {name} | {targets:.0f} | " + " | ".join(cells) + " |")
    lines += [f"Not scored: {name} ({why})" for name, why in board.absent.items()]
    return "\n".join(lines) + "\n"


def compare_markdown(plain: Mapping[str, Any]) -> str:
    """Return what each part of the model is worth."""
    told = f"Parts of the community model, snapshot {plain['snapshot_id'][:12]}"
    return "\n".join([told, "", *comparison_table(plain["rows"])]) + "\n"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
