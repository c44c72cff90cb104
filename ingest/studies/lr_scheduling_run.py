"""One run of the learning-rate schedule study, from its log."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from ncpl_data.catalog.curve import Curve
from ncpl_data.catalog.record import Run
from ncpl_data.ingest.base import metric_of
from ncpl_data.ingest.segments import joined
from ncpl_data.ingest.studies.lr_scheduling_logs import NAME

CITATION = (
    "Schaipp et al. 2025, The Surprising Agreement Between Convex Optimization Theory and "
    "Learning-Rate Scheduling for Large Model Training (ICML 2025)"
)
URL = "https://github.com/fabian-sp/lr-scheduling"

FINAL = "validation/final_loss"  # the long last evaluation of the training code
HISTORIES = {
    # metric: (group, key, split, unit); a group's steps are its key "iter"
    "train/loss": ("train", "train_loss", "train", "nats_per_token"),  # one batch, raw
    "train/learning_rate": ("train", "train_lr", "train", "other"),
    "train/grad_norm": ("train", "grad_norm", "train", "other"),
    "validation/loss": ("val", "val_loss", "validation", "nats_per_token"),  # 32 batches
    "validation/loss_weight_averaged": ("wa", "val_loss_wa", "validation", "nats_per_token"),
    FINAL: ("final-val", "final_val_loss", "validation", "nats_per_token"),
}
DIVERGED_ABOVE_NATS = 5.0
"""One run, at rate .005, rises again and ends at 7.59; every other one ends below 3.67."""

LOGGED = (
    "source_run",
    "seed",
    "n_layers",
    "d_model",
    "n_heads",
    "vocab_size",
    "dropout",
    "init_std",
    "model_family",
    "params_total",
    "optimizer",
    "learning_rate",
    "weight_decay",
    "adam_beta1",
    "adam_beta2",
    "grad_clip_norm",
    "warmup_steps",
    "train_steps",
    "sequence_length",
    "dataset",
    "tokenizer",
    "precision",
    "n_devices",
    "step_time_seconds",
    "final_loss",
    "final_loss_metric",
    "final_loss_unit",
    "final_step",
    "metrics",
)
RESUMED = re.compile(r".*/exps/(?P<name>[^/]+)/ckpts/(?P<step>\d+)")


def run_of(record: Mapping[str, Any]) -> Run:
    """Return the run of one log."""
    config, summary = record["config"], record["summary"]
    history = record["history"]
    found: dict[str, Any] = {}
    schedule = schedule_of(config)
    by_config = {"kind": "derived", "rule": SCHEDULE_RULE}
    found |= dict.fromkeys(schedule, by_config)
    size = size_of(config, summary["parameters"])
    by_count = {
        "kind": "derived",
        "rule": "the logged parameter count is exactly one embedding table plus blocks of gated "
        "feed-forward width 8/3 d_model, rounded up to multiple_of",
    }
    found |= dict.fromkeys(size, by_count)
    resumed = RESUMED.fullmatch(config["resume_from"] or "")
    sequences = config["batch_size"] * config["acc_steps"] * config["world_size"]
    steps, length = config["iterations"], config["sequence_length"]
    per_step = sequences * length
    curves, n_dropped = curves_of(history, per_step)
    starts = int(curves[0].step[0])
    flags = []
    if n_dropped:
        flags.append("segments_joined")
    if starts > config["log_interval"] and not resumed:
        flags.append("log_starts_late")
    found |= dict.fromkeys(LOGGED, "logged")
    found |= dict.fromkeys(("stage", "modality", "architecture"), "declared")
    found["batch_size_sequences"] = {
        "kind": "derived",
        "rule": "batch_size x acc_steps x world_size",
    }
    found["train_tokens"] = {"kind": "derived", "rule": "batch x sequence x steps"}
    found["status"] = {
        "kind": "derived",
        "rule": "diverged if the final loss is above 5 nats, else finished if the summary stands "
        "at the planned last step",
    }
    if resumed:
        by_resume = {"kind": "derived", "rule": "checkpoint path in resume_from"}
        found |= {"parent_run_id": by_resume, "branch_step": by_resume}
    return Run(
        run_id=f"{NAME}/{record['name']}",
        source=NAME,
        source_run=record["name"],
        parent_run_id=f"{NAME}/{resumed['name']}" if resumed else None,
        branch_step=int(resumed["step"]) if resumed else None,
        stage="pretrain",
        modality="text",
        architecture="decoder",
        seed=config["seed"],
        model_family=config["model"],
        n_layers=config["n_layer"],
        d_model=config["n_embd"],
        n_heads=config["n_head"],
        vocab_size=config["vocab_size"],
        dropout=float(config["dropout"]),
        init_std=config["init_std"],
        params_total=summary["parameters"],
        optimizer=config["opt"],
        learning_rate=config["lr"],
        weight_decay=config["weight_decay"],
        adam_beta1=config["beta1"],
        adam_beta2=config["beta2"],
        grad_clip_norm=float(config["grad_clip"]),
        warmup_steps=config["warmup_steps"],
        train_steps=steps,
        batch_size_sequences=sequences,
        sequence_length=length,
        train_tokens=per_step * steps,
        dataset=config["dataset"],
        tokenizer=config["tokenizer"],
        precision=config["dtype"],
        n_devices=config["world_size"],
        step_time_seconds=summary["iter_dt"],
        status=status_of(summary, steps),
        final_loss=summary["final-val/loss"],
        final_loss_metric=FINAL,
        final_loss_unit="nats_per_token",
        final_step=summary["iter"],
        metrics=metrics_of(curves, summary),
        citation=CITATION,
        url=URL,
        file=record["path"],
        record=f"blob {record['blob']}",
        is_copy=False,
        flags=tuple(flags) or None,
        origins=found,
        raw_config={k: v for k, v in config.items() if k != "wandb_entity"},
        curves=curves,
        **schedule,
        **size,
    )


def status_of(summary: Mapping[str, Any], train_steps: int) -> str:
    """Return how a run ended."""
    if summary["final-val/loss"] > DIVERGED_ABOVE_NATS:
        return "diverged"
    return "finished" if summary["iter"] >= train_steps else "truncated"


SCHEDULE_RULE = (
    "scheduler, wsd_fract_decay, cos_final_lr and wsd_final_lr_scale of the configuration; the "
    "logged rates agree"
)


def schedule_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return shape, decay length and last rate of the schedule.

    The rate logged at the very last step is the one after the end (0 even in constant runs), so
    the last rate is taken from the configuration.
    """
    peak, steps = config["lr"], config["iterations"]
    if config["scheduler"] == "cos":
        last = config.get("cos_final_lr", -1)
        return {"schedule": "cosine", "min_learning_rate": last if last > 0 else 0.1 * peak}
    frac = config["wsd_fract_decay"]
    if frac == 0 and config["scheduler"] == "wsd":
        return {"schedule": "constant", "min_learning_rate": peak}
    return {
        "schedule": config["scheduler"],
        "decay_steps": round(frac * steps),
        "min_learning_rate": config["wsd_final_lr_scale"] * peak,
    }


def size_of(config: Mapping[str, Any], params_total: int) -> dict[str, Any]:
    """Return what the logged parameter count settles, if it is the count of a Llama block."""
    width, layers, vocabulary = config["n_embd"], config["n_layer"], config["vocab_size"]
    multiple = config["multiple_of"]
    d_ff = multiple * -(-int(8 * width / 3) // multiple)
    blocks = layers * (4 * width * width + 3 * width * d_ff + 2 * width) + width
    if params_total != vocabulary * width + blocks:
        return {}
    return {"d_ff": d_ff, "is_embedding_tied": True, "params_non_embedding": blocks}


def curves_of(history: Mapping[str, Any], tokens_per_step: int) -> tuple[tuple[Curve, ...], int]:
    """Return the curves of a log and how many repeated points were left out."""
    curves, n_dropped = [], 0
    for metric, (group, key, _, _) in HISTORIES.items():
        values = np.asarray(history.get(group, {}).get(key, ()), dtype=np.float64)
        if len(values) == 0:
            continue
        steps = np.asarray(history[group]["iter"], dtype=np.int64)
        keep = joined(steps)
        n_dropped += len(steps) - len(keep)
        curves.append(Curve(metric, steps[keep], values[keep], steps[keep] * tokens_per_step))
    return tuple(curves), n_dropped


def metrics_of(curves: tuple[Curve, ...], summary: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    """Return every metric with its last value."""
    found = [
        metric_of(
            curve,
            split=HISTORIES[curve.metric][2],
            unit=HISTORIES[curve.metric][3],
            smoothing="none",
        )
        for curve in curves
        if curve.metric != FINAL
    ]
    found.append(
        {
            "name": FINAL,
            "split": "validation",
            "unit": "nats_per_token",
            "smoothing": "none",
            "step": summary["iter"],
            "value": summary["final-val/loss"],
        }
    )
    return tuple(found)
