"""One Step Law run as the catalog keeps it, whoever tells its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ncpl_data.catalog.curve import Curve
from ncpl_data.catalog.record import Run
from ncpl_data.ingest.studies import losscast
from ncpl_data.ingest.studies.steplaw import (
    DECLARED,
    LAST_BATCH,
    SEQUENCE_LENGTH,
    TARGET,
    parse_name,
    status_of,
)

CITATION = "Li et al. 2025, Predictable Scale: Part I, Step Law, arXiv:2503.04715"


def dense_flags(train_steps: int) -> tuple[str, ...] | None:
    """Return what a reader of a dense run should know."""
    longer = train_steps < DECLARED["warmup_steps"]
    return ("warmup_longer_than_run",) if longer else None


def outcome(smoothed: float, last: float | None, train_steps: int) -> dict[str, Any]:
    """Return the outcome fields: the target is the smoothed loss.

    The last batch's own loss carries a noise all runs of one batch size and length share
    (standard deviation .034), so it is kept as another metric only.
    """
    metrics: list[dict[str, Any]] = [
        {
            "name": TARGET,
            "split": "train",
            "unit": "nats_per_token",
            "smoothing": "gaussian",
            "value": smoothed,
        }
    ]
    if last is not None:
        metrics.append(
            {
                "name": LAST_BATCH,
                "split": "train",
                "unit": "nats_per_token",
                "smoothing": "none",
                "step": train_steps - 1,  # upstream counts steps from 0
                "value": last,
            }
        )
    return {
        "status": status_of(smoothed),
        "final_loss": smoothed,
        "final_loss_metric": TARGET,
        "final_loss_unit": "nats_per_token",
        "final_step": train_steps,
        "metrics": tuple(metrics),
    }


STATUS_ORIGIN = {"kind": "derived", "rule": "diverged if the smoothed loss is above 4 nats"}


TOKENS_ORIGIN = {"kind": "derived", "rule": "batch x sequence x steps"}


def origins(logged: str, **others: Any) -> dict[str, Any]:
    """Return the origin of each value: those logged, those declared of all runs, the others."""
    found: dict[str, Any] = dict.fromkeys(DECLARED, "declared")
    found |= dict.fromkeys(logged.split(), "logged")
    outcome_fields = ("final_loss", "final_loss_metric", "final_loss_unit", "metrics")
    found |= dict.fromkeys(outcome_fields, "logged")
    return found | {"status": STATUS_ORIGIN, "train_tokens": TOKENS_ORIGIN} | others


CURVE_ORIGIN = {
    "kind": "logged",
    "evidence": f"{losscast.CITATION} at {losscast.REVISION}: smoothed train loss by run name",
}
"""The project's repository has no curves; LossCast-Bench copied 2,277 from its W&B project."""


def read_curves(path: Path) -> dict[str, Curve]:
    """Return the smoothed loss curves by run; upstream spells one name in several ways.

    Steps count from 0 and there is no point at step 0.
    """
    found = {}
    for name, record in losscast.steplaw_curves(path).items():
        named = parse_name(name)
        if named is not None:
            tokens_per_step = named.batch_size_sequences * SEQUENCE_LENGTH
            found[named.run_id] = record.curve(TARGET, tokens_per_step)
    return found


def with_curve(run: Run, curves: Mapping[str, Curve]) -> Run:
    """Return a run with its curve, if there is one."""
    curve = curves.get(run.run_id)
    if curve is None:
        return run
    return replace(run, curves=(curve,), origins={**(run.origins or {}), "curves": CURVE_ORIGIN})
