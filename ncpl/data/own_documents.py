"""Own runs in the forms people have them: submission documents, and tables with a column loss."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from ncpl.data.consistency import nearest_field
from ncpl.data.fields import KNOWN
from ncpl.data.progress import SECTIONS
from ncpl.errors import ConfigError

OUTCOME = ("final_loss", "curve")
"""What a run may hold beside its configuration."""
RENAMED = (
    ("model", "family", "model_family"), ("optimizer", "name", "optimizer"),
    ("schedule", "shape", "schedule"),
)  # fmt: skip
"""Part of a document, name in it, and the field of a flat configuration."""
NATS = "nats_per_token"


def flat(run: Mapping[str, Any], where: str) -> tuple[dict[str, Any], list[str]]:
    """Return a run as one flat object, and names in it that nothing reads.

    A submission document (schema/FIELDS.md) gives the fields of its parts, its final loss, and its
    curve of the final loss's metric; a column `loss` is the final loss. Raises ConfigError for a
    loss in another unit, or a name that is nearly that of a field.
    """
    own = _of_document(run, where) if is_document(run) else dict(run)
    if "loss" in own and "final_loss" not in own:
        own["final_loss"] = own.pop("loss")
    if isinstance(own.get("final_loss"), str):  # a cell of a CSV file
        with contextlib.suppress(ValueError):
            own["final_loss"] = float(own["final_loss"]) if own["final_loss"].strip() else None
    unknown = [name for name in own if name not in KNOWN and name not in OUTCOME]
    unread = [name for name in unknown if nearest_field(str(name)) is None]
    return {name: value for name, value in own.items() if name not in unread}, unread


def is_document(run: Mapping[str, Any]) -> bool:
    """Return whether a run is written as a submission document: in parts."""
    return isinstance(run.get("outcome"), Mapping) or isinstance(run.get("schedule"), Mapping)


def _of_document(run: Mapping[str, Any], where: str) -> dict[str, Any]:
    parts = [run[name] for name in SECTIONS if isinstance(run.get(name), Mapping)]
    found: dict[str, Any] = {
        name: value
        for part in parts
        for name, value in part.items()
        if name in KNOWN and isinstance(value, str | int | float)
    }
    for part, name, field in RENAMED:
        said = run.get(part)
        if isinstance(said, Mapping) and said.get(name) is not None:
            found[field] = said[name]
    raw = run.get("outcome")
    outcome: Mapping[str, Any] = raw if isinstance(raw, Mapping) else {}
    unit = outcome.get("final_loss_unit")
    if unit not in (None, NATS):
        raise ConfigError(f"{where}: its final loss is in {unit}; expected {NATS}")
    for name in ("final_loss", "final_loss_metric", "status"):
        if outcome.get(name) is not None:
            found[name] = outcome[name]
    if run.get("run_id") is not None:
        found["run_id"] = run["run_id"]
    curve = _curve(run, outcome.get("final_loss_metric"))
    return found | ({"curve": curve} if curve else {})


def _curve(run: Mapping[str, Any], metric: Any) -> list[dict[str, float]]:
    """Return the points of the curve of a metric; none where the document has none of it."""
    curves = run.get("curves")
    for curve in curves if isinstance(curves, list) else ():
        if isinstance(curve, Mapping) and metric is not None and curve.get("metric") == metric:
            steps, values = curve.get("step"), curve.get("value")
            if isinstance(steps, list) and isinstance(values, list) and len(steps) == len(values):
                return [{"step": s, "loss": v} for s, v in zip(steps, values, strict=True)]
    return []
