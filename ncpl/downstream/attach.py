"""Tasks beside predictions of losses: the loss's uncertainty carried into the tasks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ncpl.downstream.estimate import NORMAL_90
from ncpl.downstream.saved import Relation, read_relation


def add_tasks(
    predictions: Sequence[dict[str, Any]], wanted: list[str], fit_file: Path | None
) -> None:
    """Put `tasks` beside each prediction, and beside each point of its curve where it has one.

    The relation of loss to tasks is that of the file, else the shipped one of the prediction's
    source. Raises ConfigError where there is none, or for an unknown task.
    """
    relations: dict[str, Relation] = {}
    for p in predictions:
        source = p["source"]
        if source not in relations:
            relations[source] = read_relation(fit_file, source)
        relation = relations[source]
        sd = (p["high"] - p["low"]) / (2 * NORMAL_90)
        p["tasks"] = relation.answer(p["loss"], sd, wanted)
        p["warnings"] = [*p["warnings"], *relation.notes(p["loss"])]
        if relation.source != source:
            p["warnings"].append(
                f"the loss is {source}'s, the tasks are {relation.source}'s: they compare only "
                "where data and tokenizer are the same"
            )
        for point in p.get("curve") or ():
            rows = relation.answer(point["loss"], sd, wanted)
            point["tasks"] = {
                f"{row['task']}:{row['kind']}": row["value"] for row in rows if "value" in row
            }
