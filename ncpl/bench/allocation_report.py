"""The allocation board as text."""

from __future__ import annotations

from ncpl.bench.allocation import SHARES, AllocationBoard


def markdown(board: AllocationBoard) -> str:
    """Return the board: strategies by part of the split and budget."""
    parts = list(dict.fromkeys((row["source"], row["split"]) for row in board.rows))
    found = {(row["source"], row["split"], row["strategy"]): row for row in board.rows}
    names = list(dict.fromkeys(row["strategy"] for row in board.rows))
    budgets = " / ".join(f"{100 * share:.0f}" for share in SHARES)
    lines = [
        f"Allocation board, snapshot {board.snapshot_id[:12]}: regret in percent of the loss of "
        f"the best run of a group, at {budgets}% of the group's compute (one whole run at least)",
        "",
        "| strategy | " + " | ".join(
            f"{source} {split.upper()} ({found[source, split, names[0]]['groups']} groups)"
            for source, split in parts
        ) + " |",
        "|---|" + "---|" * len(parts),
    ]  # fmt: skip
    for name in names:
        cells = [
            " / ".join(f"{found[s, p, name][f'regret_percent_at_{100 * x:.0f}']:.3f}"
                       for x in SHARES)
            for s, p in parts
        ]  # fmt: skip
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += [f"Not replayed: {name} ({why})" for name, why in board.absent.items()]
    return "\n".join(lines) + "\n"
