"""One run of the Marin study as the catalog keeps it, whoever tells its configuration."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ncpl_data.catalog.curve import Curve
from ncpl_data.catalog.errors import RawFileError
from ncpl_data.catalog.record import Evaluation, Run
from ncpl_data.ingest.studies import marin as study
from ncpl_data.ingest.studies import marin_hyper

NAME = "marin"
CITATION = (
    "Wen et al. 2025, Fantastic Pretraining Optimizers and Where to Find Them, arXiv:2509.02046; "
    "marin-community/marin issue 1290"
)
URL = "https://github.com/WhenWen/marin"
CURVES_FILE = "eval_curves.jsonl"

MAX_LOSS = 1e6
"""A final loss above this (one is 1.4e14) says that the run diverged and nothing else."""

Row = Mapping[str, Any]

DIVERGED_ABOVE_NATS = 6.0
"""The study's own bound for a failed run (bad_run in utils_simp.py)."""

LOGGED = "logged"
STATUS_ORIGIN = {"kind": "derived", "rule": "diverged if the final loss is NaN or above 6 nats"}
BUDGET_ORIGIN = {"kind": "derived", "rule": "ratio x 20 x non-embedding parameters"}
TOKENS_ORIGIN = {"kind": "derived", "rule": "batch x sequence x steps"}
SIZE_ORIGIN = {"kind": "derived", "rule": "layers x (3 x width x d_ff + 4 x width^2)"}
TOTAL_ORIGIN = {"kind": "derived", "rule": "blocks + 2 x vocabulary x width"}
RATIO_ORIGIN = {"kind": "derived", "rule": "min_lr_ratio x learning_rate"}
SECOND_ORIGIN = {"kind": "derived", "rule": "logged ratio x learning_rate"}
DECAY_ORIGIN = {"kind": "derived", "rule": "decay x steps"}


def build(
    row: Row,
    *,
    run_id: str,
    name: str | None,
    steps: int,
    loss: float | None,
    curve: Row | None,
    record: str,
    extra: dict[str, Any],
    flags: list[str],
    notes: str | None,
    named_by: Any,
    url: str | None = None,
    is_whole: bool = True,
    assumed: Mapping[str, Any] | None = None,
    changed: Mapping[str, Any] | None = None,
) -> Run:
    """Return a run. A loss that is NaN stands for a diverged run, None for one not known.

    A run that is not whole stopped before its planned end. `assumed` holds hyperparameters the
    configuration leaves out, `changed` the origins of values that are not as they were logged.
    """
    config: Row = row["config"]
    batch = int(config["train_batch_size"])
    hyper = marin_hyper.hyperparameter_fields({**config, **(assumed or {})}, steps)
    known = loss is not None and math.isfinite(loss)
    status = None
    if loss is not None:
        status = "finished" if loss <= DIVERGED_ABOVE_NATS else "diverged"
        if status == "finished" and not is_whole:
            status = "truncated"
    metric: dict[str, Any] = {
        "name": study.METRIC,
        "split": "validation",
        "dataset": "paloma/c4_en",
        "unit": "nats_per_token",
        "smoothing": "none",
    }
    if known:
        metric |= {"value": loss} | ({"step": steps - 1} if is_whole else {})  # counted from 0
    nominal = int(row["tokens"])
    commit, _, path = record.partition(":")
    return Run(
        run_id=run_id,
        source=NAME,
        source_run=name,
        optimizer=study.OPTIMIZERS[row["optimizer"]],
        **study.DECLARED,
        **study.model_fields(row["size"]),
        **hyper,
        train_steps=steps,
        train_tokens=batch * study.SEQUENCE_LENGTH * steps,
        nominal_train_tokens=nominal,
        status=status,
        final_loss=loss if known else None,
        final_loss_metric=study.METRIC,
        final_loss_unit="nats_per_token",
        final_step=last_step(status, steps, curve),
        metrics=(metric,),
        citation=CITATION,
        url=url or f"{URL}/blob/{commit}/{path}",
        file=path or None,
        record=record,
        is_copy=False,
        notes=notes,
        flags=tuple(flags) or None,
        extra=extra,
        origins=origins(hyper, named_by) | dict(changed or {}),
        raw_config={"group": row["optimizer"], "changed": row.get("changed"), **config},
        curves=() if curve is None else (read_curve(curve, batch),),
        evals=() if curve is None else evaluations(curve, steps),
    )


def last_step(status: str | None, steps: int, curve: Row | None) -> int | None:
    """Return the last step taken, counted from 1, if it is known."""
    if status == "truncated" and curve is not None:
        return int(curve["step"][-1]) + 1
    return steps if status == "finished" else None


def origins(hyper: Mapping[str, Any], named_by: Any) -> dict[str, Any]:
    """Return the origin of each value of a run."""
    found: dict[str, Any] = dict.fromkeys(study.DECLARED, "declared")
    shape = ("n_layers", "d_model", "d_ff", "n_heads", "n_kv_heads")
    found |= dict.fromkeys(shape, "declared")
    found |= dict.fromkeys(hyper, LOGGED)
    found |= dict.fromkeys(("optimizer", "train_steps", "final_loss", "final_loss_metric"), LOGGED)
    found |= dict.fromkeys(("final_loss_unit", "metrics", "extra", "notes"), LOGGED)
    found |= {
        "source_run": named_by,
        "params_non_embedding": SIZE_ORIGIN,
        "params_total": TOTAL_ORIGIN,
        "train_tokens": TOKENS_ORIGIN,
        "nominal_train_tokens": BUDGET_ORIGIN,
        "status": STATUS_ORIGIN,
        "final_step": STATUS_ORIGIN,
    }
    if "min_learning_rate" in hyper:
        found["min_learning_rate"] = RATIO_ORIGIN
    if "learning_rate_groups" in hyper:
        found["learning_rate_groups"] = SECOND_ORIGIN
    if "decay_steps" in hyper:
        found["decay_steps"] = DECAY_ORIGIN
    if "lr_schedule" not in hyper and hyper["schedule"] == "cosine":
        found["schedule"] = "declared"  # Levanter's default, left alone by these launchers
    return found


def read_curve(row: Row, batch: int) -> Curve:
    """Return the evaluation curve of one line.

    Raises RawFileError where the points break the laws of a curve.
    """
    step = np.asarray(required(row, "step", CURVES_FILE), dtype=np.int64)
    value = np.asarray(required(row, "eval_paloma_c4_en_loss", CURVES_FILE), dtype=np.float64)
    try:
        return Curve(study.METRIC, step, value, step * (batch * study.SEQUENCE_LENGTH))
    except ValueError as error:
        raise RawFileError(
            f"{NAME} {CURVES_FILE}: {row['optimizer']} {row['size']} {row['data_tag']}: {error}",
            source=NAME,
            file=CURVES_FILE,
        ) from error


def evaluations(row: Row, steps: int) -> tuple[Evaluation, ...]:
    """Return the downstream accuracies of one line, measured at the end."""
    return tuple(
        Evaluation(task=task, kind="accuracy", value=value, step=steps)
        for task, value in sorted(row["lm_eval_acc"].items())
    )


def required(row: Row, key: str, file: str) -> Any:
    """Return a value every line must have.

    Raises RawFileError if it is missing.
    """
    if key not in row:
        name = row.get("wandb_id") or row.get("source") or "a line"
        raise RawFileError(
            f'{NAME} {file}: {name} has no "{key}"; the file is cut off or altered. Take it '
            "again, or use the shipped copy",
            source=NAME,
            file=file,
        )
    return row[key]
