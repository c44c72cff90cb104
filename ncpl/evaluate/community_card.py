"""The card of a community or adapted bundle, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PARTS = ("train", "id", "ood")
COMPARISONS = Path(__file__).with_name("transfer_comparisons.json")
"""What each part of the model was measured to be worth: `ncpl bench transfer --compare`."""


def render(card: Mapping[str, Any]) -> str:
    """Return the card as Markdown: what was learned from, and every family with its errors."""
    lines = ["# NCPL community bundle", ""]
    if "adapted_from" in card:
        own = card["families"][0]
        lines += [
            f"Adapted to {own['runs']} own runs, by the population of snapshot "
            f"`{card['adapted_from'][:12]}`. No run leaves this folder but by your hand.",
            "",
        ]
    else:
        lines += [
            "A population of scaling laws of size, data and recipe, learned from families of "
            f"comparable losses in snapshot `{card['snapshot_id'][:12]}`; {len(card['families'])} "
            "families are placed in it. It answers for each (`ncpl predict --source NAME`) and for "
            "a set-up of your own (`ncpl adapt`). Final losses only.",
            "",
            f"- learned from the training runs of: {', '.join(card['learned_from'])}",
            f"- trained: {card['created_at']}, {card['train_seconds']} s, ncpl "
            f"{card['versions']['ncpl']}",
            "- interval factors by number of known runs: "
            + ", ".join(f"{k}: {w:.2f}" for k, w in card["population"]["widths"].items()),
            "",
            "Mean absolute error in nats and share inside the 90% interval. Train: runs the family "
            "was placed by; ID and OOD: held-out runs, where the split has some.",
            "",
            "Worst: of the runs of one size and data, three or more, those of which most is missed "
            "on a held-out part.",
            "",
            "| family | runs | sizes | parameters | tokens | train | ID | OOD | worst |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
        lines += [_row(family) for family in card["families"]]
        lines.append("")
        if card.get("not_placed"):
            lines += ["No answer for the other families of the snapshot:", ""]
            lines += [f"- {why}" for why in card["not_placed"].values()]
            lines.append("")
    lines += comparisons_of(card)
    lines += ["## Sources", ""]
    for source in card.get("sources", []):
        licence = source.get("licence") or "no licence stated"
        lines.append(f"- {source.get('name')}: {source.get('owner', '')} ({licence})")
    return "\n".join(lines) + "\n"


def comparisons_of(card: Mapping[str, Any]) -> list[str]:
    """Return what each part of the model is worth, as lines; none where the card does not say."""
    told = card.get("comparisons")
    if not told:
        return []
    return [
        "## Comparisons",
        "",
        "The transfer board with and without a part of the model, a family's sources left out: "
        "mean absolute error in nats, mean over families (median), and share inside 90% intervals; "
        f"snapshot `{told['snapshot_id'][:12]}`, two draws of the frozen tasks, nothing chosen by "
        "it. Known: runs of the family; all: its training runs.",
        "",
        *comparison_table(told["rows"]),
        "",
    ]


def comparison_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return comparisons as lines of a table."""
    lines = [
        "| part | | known | families | error | inside | width |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        error = f"{row['mae']:.4f}"
        if row["families"] > 1:
            error += f" ({row['median']:.4f})"
        lines.append(
            f"| {row['part']} | {row['variant']} | {row['k'] or 'all'} | {row['families']} | "
            f"{error} | {100 * row['coverage']:.0f}% | {row['width']:.3f} |"
        )
    return lines


def _row(family: Mapping[str, Any]) -> str:
    name = "/".join(part for part in family["family"][:4] if part)
    scores = family["about"].get("scores", {})
    cells = [
        f"{own['mae']:.4f}, {100 * own['coverage']:.0f}% of {own['runs']}"
        if (own := scores.get(part))
        else "-"
        for part in PARTS
    ]
    about = family["about"]
    runs, n_sizes = about.get("train_runs", family["runs"]), about.get("n_sizes", "-")
    found = [
        (part, one) for part in PARTS[1:] if (one := (scores.get(part) or {}).get("worst_group"))
    ]
    worst = "-"
    if found:
        part, one = max(found, key=lambda pair: float(pair[1]["mae"]))
        worst = (
            f"{part.upper()}, {one['group']}: {one['mae']:.4f}, {100 * one['coverage']:.0f}% of "
            f"{one['runs']}"
        )
    ends = [f"{low:.3g} to {high:.3g}" for low, high in (family["sizes"], family["data"])]
    return f"| {name} | {runs} | {n_sizes} | {' | '.join([*ends, *cells, worst])} |"
