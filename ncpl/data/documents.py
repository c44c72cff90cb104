"""Run documents of the schema as flat configurations: sections left, columns taken.

What a person has in hand is often what was submitted. The names are those of `schema/v1`; four of
them are columns of another name (`x-column` there), which a test holds equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ncpl.data.fields import KNOWN
from ncpl.errors import ConfigError

SECTIONS = ("model", "optimizer", "schedule", "data", "system")
"""Parts of a run document whose names are fields of a configuration."""
COLUMNS = {
    ("model", "family"): "model_family",
    ("optimizer", "name"): "optimizer",
    ("optimizer", "extra"): "optimizer_extra",
    ("schedule", "shape"): "schedule",
}
"""Fields whose column has another name."""
NATS = "nats_per_token"


def is_document(value: Mapping[str, Any]) -> bool:
    """Return whether an object has sections, as a run document does and a configuration never."""
    has_curves = isinstance(value.get("curves"), list)
    return has_curves or any(isinstance(value.get(section), Mapping) for section in SECTIONS)


def documents_in(values: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the objects of a file, the runs of a submission in place of the submission."""
    return [
        run
        for value in values
        for run in (
            value["runs"]
            if isinstance(value.get("runs"), list) and "contributor" in value
            else [value]
        )
    ]


def flat_config(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a document says of its configuration, in columns, without nulls and names."""
    found = {}
    for section in SECTIONS:
        for name, value in (document.get(section) or {}).items():
            column = COLUMNS.get((section, name), name)
            if value is not None and column in KNOWN:
                found[column] = value
    return found


def own_run(document: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return a document as a run of one's own: flat, with `final_loss` and `curve`.

    The curve is that of the final loss's metric. Raises ConfigError, naming `where`, for a loss in
    another unit than nats per token.
    """
    outcome = document.get("outcome") or {}
    unit = outcome.get("final_loss_unit")
    if outcome.get("final_loss") is not None and unit not in (None, NATS):
        raise ConfigError(f"{where}: final_loss is in {unit}; expected nats per token ({NATS})")
    found = flat_config(document)
    for name, value in (
        ("run_id", document.get("run_id")),
        ("status", outcome.get("status")),
        ("final_loss", outcome.get("final_loss")),
        ("final_loss_metric", outcome.get("final_loss_metric")),
        ("curve", _curve(document, outcome.get("final_loss_metric"))),
    ):
        if value is not None:
            found[name] = value
    return found


def _curve(document: Mapping[str, Any], metric: str | None) -> list[dict[str, Any]] | None:
    """Return the points of the curve of a metric, None where the document has none."""
    for curve in document.get("curves") or []:
        if metric is not None and curve.get("metric") == metric:
            values = zip(curve.get("step") or [], curve.get("value") or [], strict=False)
            return [{"step": step, "loss": value} for step, value in values] or None
    return None
