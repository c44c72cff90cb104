"""The run table: a column for each field one filters, sorts or colours by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ncpl_data.catalog.families import Full, family_of, tokens_of
from ncpl_data.explore.pack import packed

FIELDS = (
    "status", "model_family", "optimizer", "schedule", "params_non_embedding", "learning_rate",
    "batch_size_sequences", "sequence_length", "train_steps", "weight_decay", "warmup_steps",
    "n_layers", "d_model", "n_experts", "seed", "dataset", "tokenizer", "precision", "contributor",
    "final_loss", "final_loss_metric", "final_loss_unit",
)  # fmt: skip
"""Columns taken from the catalog as they are; size and tokens are completed by rule."""


def run_table(
    rows: Sequence[Mapping[str, Any]],
    splits: Mapping[str, str],
    curve_points: Mapping[str, int],
    predictions: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """Return the columns of the run table, in the order of the rows.

    `rest` is a run's id without its source and the stroke; `predictions` hold loss, low and high by
    run id. A column nobody states is left out.
    """
    full = [Full(row) for row in rows]
    columns: dict[str, Sequence[Any]] = {
        "source": [row["source"] for row in rows],
        "rest": [rest_of(row) for row in rows],
        "family": [family.key if (family := family_of(row)) else None for row in full],
        "split": [splits.get(row["run_id"]) for row in rows],
        "tokens": [tokens_of(row) for row in full],
        "points": [curve_points.get(row["run_id"]) for row in rows],
    }
    columns |= {name: [row[name] for row in full] for name in FIELDS}
    for name, key in (("predicted", "loss"), ("low", "low"), ("high", "high")):
        columns[name] = [predictions.get(row["run_id"], {}).get(key) for row in rows]
    stated = {
        name: values
        for name, values in columns.items()
        if any(value is not None for value in values)
    }
    return {"n": len(rows), "columns": {name: packed(values) for name, values in stated.items()}}


def rest_of(row: Mapping[str, Any]) -> str:
    """Return a run's id without its source; the whole id where it does not begin with it."""
    run_id, start = str(row["run_id"]), f"{row['source']}/"
    return run_id.removeprefix(start) if run_id.startswith(start) else f"/{run_id}"
