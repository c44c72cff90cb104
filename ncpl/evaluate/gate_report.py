"""A verdict of the gate as text, as Markdown and as plain values."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from ncpl.evaluate.gate import Verdict, sentences
from ncpl.evaluate.gate_data import DataChange
from ncpl_data.terminal.tables import aligned

HEAD = (
    "source", "split", "runs", "MAE old", "MAE new", "difference, 90%", "covers old", "covers new",
    "gap % old", "gap % new",
)  # fmt: skip


def plain(verdict: Verdict, data: DataChange | None, about: dict[str, Any]) -> dict[str, Any]:
    """Return the verdict in plain values; NaN as None."""
    found = {
        "passes": verdict.passes,
        "reasons": verdict.reasons,
        "remarks": verdict.remarks,
        "scores": [dataclasses.asdict(c) for c in verdict.changes],
        "worse_cells": [dataclasses.asdict(c) for c in verdict.worse_cells],
        "data": None if data is None else dataclasses.asdict(data),
        **about,
    }
    for row in found["scores"]:
        for name, value in row.items():
            if isinstance(value, float) and math.isnan(value):
                row[name] = None
    return found


def rows_of(verdict: Verdict) -> list[tuple[str, ...]]:
    """Return the scores of both bundles as cells."""
    rows: list[tuple[str, ...]] = []
    for c in verdict.changes:
        gaps = [
            "-" if math.isnan(gap) else f"{gap:.3f}"
            for gap in (c.old_gap_percent, c.new_gap_percent)
        ]
        rows.append(
            (
                c.source, c.split.upper(), str(c.n), f"{c.old_mae:.4f}", f"{c.new_mae:.4f}",
                f"{c.new_mae - c.old_mae:+.4f} ({c.low:+.4f} to {c.high:+.4f})",
                f"{100 * c.old_coverage:.1f}%", f"{100 * c.new_coverage:.1f}%", *gaps,
            )
        )  # fmt: skip
    return rows


def data_lines(data: DataChange | None, why_not: str | None) -> list[str]:
    """Return what changed in the data, in sentences."""
    if data is None:
        return [f"data: {why_not}"] if why_not else []

    def told(counts: dict[str, int]) -> str:
        each = ", ".join(f"{n:,} of {source}" for source, n in counts.items())
        return f"{sum(counts.values()):,}" + (f" ({each})" if each else "")

    return [
        f"data: runs added {told(data.added)}, removed {told(data.removed)}, "
        f"changed {told(data.changed)}",
        *data.moved,
    ]


def as_text(verdict: Verdict, data: Sequence[str]) -> str:
    """Return the verdict for a terminal."""
    lines = [*data, *aligned([HEAD, *rows_of(verdict)])]
    lines += [f"note: {remark}" for remark in verdict.remarks]
    lines += [f"worse: {reason}" for reason in sentences(verdict.reasons)]
    lines.append("passes: not worse" if verdict.passes else "refused: worse than the one in use")
    return "\n".join(lines)


def as_markdown(verdict: Verdict, data: Sequence[str], about: dict[str, Any]) -> str:
    """Return the verdict as a page."""
    table = ["| " + " | ".join(cells) + " |" for cells in (HEAD, *rows_of(verdict))]
    table.insert(1, "|" + "---|" * len(HEAD))
    result = "**passes**: not worse" if verdict.passes else "**refused**: worse"
    parts = [
        "# Release gate",
        f"New `{about['new']}` against `{about['old']}`, on snapshot `{about['snapshot_id']}`: "
        f"{result}.",
        "\n".join(f"- {line}" for line in data),
        "\n".join(table),
        "Losses in nats per token. The difference is new - old, with the 90% interval of a paired "
        "bootstrap over groups of (optimizer, N, D), or over runs where there are fewer than five.",
    ]
    if verdict.reasons:
        parts.append("## Worse\n\n" + "\n".join(f"- {reason}" for reason in verdict.reasons))
    if verdict.remarks:
        parts.append("## Notes\n\n" + "\n".join(f"- {remark}" for remark in verdict.remarks))
    return "\n\n".join(part for part in parts if part) + "\n"
