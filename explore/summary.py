"""The first page: sources and families, with what varies in each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ncpl_data.catalog.families import COLUMNS, families
from ncpl_data.explore.tables import Tables

SHEET = ("title", "owner", "licence", "citation", "url")
VARYING = (
    "params_non_embedding", "nominal_train_tokens", "train_tokens", "learning_rate",
    "batch_size_sequences", "optimizer", "schedule", "weight_decay", "warmup_steps", "model_family",
    "dataset", "tokenizer", "mixture", "n_experts", "precision", "seed",
)  # fmt: skip
"""Fields looked at for what varies inside a source."""
SAME = {"nominal_train_tokens": "tokens", "train_tokens": "tokens"}


def summary(tables: Tables, curve_points: Mapping[str, int]) -> dict[str, Any]:
    """Return counts, sources and families, each a list of objects."""
    rows = tables.rows
    by_source: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_source.setdefault(row["source"], []).append(row)
    wanted = [{name: row.get(name) for name in COLUMNS} for row in rows]
    return {
        "told": tables.told,
        "n_runs": len(rows),
        "n_curves": sum(row["run_id"] in curve_points for row in rows),
        "n_points": len(tables.curves),
        "sources": [
            source_entry(name, own, tables.sources.get(name, {}), curve_points)
            for name, own in sorted(by_source.items(), key=lambda item: (-len(item[1]), item[0]))
        ],
        "families": [one.as_dict() for one in families(wanted)],
    }


def source_entry(
    name: str,
    rows: Sequence[Mapping[str, Any]],
    sheet: Mapping[str, Any],
    curve_points: Mapping[str, int],
) -> dict[str, Any]:
    """Return what a source is and what its runs differ in."""
    losses = [row["final_loss"] for row in rows if row["final_loss"] is not None]
    return {
        "name": name,
        **{key: sheet.get(key) for key in SHEET},
        "runs": len(rows),
        "with_loss": len(losses),
        "with_curve": sum(row["run_id"] in curve_points for row in rows),
        "params": span([row["params_non_embedding"] for row in rows]),
        "tokens": span([row["nominal_train_tokens"] or row["train_tokens"] for row in rows]),
        "metrics": [m for m, _ in Counter(r["final_loss_metric"] for r in rows).most_common() if m],
        "varies": varies(rows),
    }


def span(values: Sequence[Any]) -> list[Any] | None:
    """Return the smallest and largest stated value; None where none is stated."""
    stated = [value for value in values if value is not None]
    return [min(stated), max(stated)] if stated else None


def varies(rows: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
    """Return the fields of which rows have more than one value, with how many."""
    found: dict[str, int] = {}
    for name in VARYING:
        count = len({str(row[name]) for row in rows if row[name] is not None})
        if count > 1:
            shown = SAME.get(name, name)
            found[shown] = max(count, found.get(shown, 0))
    return [[name, count] for name, count in found.items()]
