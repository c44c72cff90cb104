"""A Step Law run as LossCast-Bench lists it: what the name says kept, guesses removed."""

from __future__ import annotations

from typing import Any

from ncpl_data.catalog.record import Run
from ncpl_data.ingest.base import repaired
from ncpl_data.ingest.studies import losscast
from ncpl_data.ingest.studies import steplaw as study

INVENTED = (
    "filled in by LossCast-Bench with one value for all runs; neither the study's tables nor its "
    "names state it"
)
LENGTH = "step-law/steplaw data/*.csv: D = bs x 2048 x ti in every row"


def steplaw_run(record: losscast.Record) -> Run:
    """Return the run of one record."""
    named = study.parse_name(record.native)
    if named is None:
        raise losscast.bad_line(record.line, f'"{record.native[:80]}" is no run name of the study')
    width, ffn, heads, layers = named.shape
    steps, batch = named.train_steps, named.batch_size_sequences
    loss = float(record.value[-1])
    metric = {
        "name": study.TARGET,
        "split": "train",
        "unit": "nats_per_token",
        "smoothing": "gaussian",
        "step": int(record.step[-1]),
        "value": loss,
    }
    return Run(
        run_id=f"{losscast.NAME}/{record.run_id}",
        source=losscast.NAME,
        source_run=record.native,
        same_as=(named.run_id,),
        d_model=width,
        d_ff=ffn,
        n_heads=heads,
        n_layers=layers,
        params_non_embedding=study.dense_size(named.shape),
        learning_rate=named.learning_rate,
        min_learning_rate=named.min_learning_rate,
        batch_size_sequences=batch,
        train_steps=steps,
        sequence_length=study.SEQUENCE_LENGTH,
        train_tokens=batch * study.SEQUENCE_LENGTH * steps,
        **study.DECLARED,
        status=study.status_of(loss),
        final_loss=loss,
        final_loss_metric=study.TARGET,
        final_loss_unit="nats_per_token",
        final_step=int(record.step[-1]) + 1,
        metrics=(metric,),
        citation=f"{losscast.CITATION}; study: arXiv:2503.04715",
        url=losscast.URL,
        file=losscast.RUNS_FILE,
        record=f"line {record.line}",
        is_copy=True,
        extra={"losscast.split": record.split},
        origins=origins(record),
        raw_config=record.config,
        curves=(record.curve(study.TARGET, batch * study.SEQUENCE_LENGTH),),
    )


def origins(record: losscast.Record) -> dict[str, Any]:
    """Return the origin of each value, with what upstream said where it was wrong."""
    config = record.config
    data, model, schedule = config["data"], config["model"], config["schedule"]
    by_name = {"kind": "derived", "rule": "the run's name"}
    found: dict[str, Any] = dict.fromkeys(study.DECLARED, "declared")
    found |= dict.fromkeys(
        [
            "d_model",
            "d_ff",
            "n_heads",
            "n_layers",
            "source_run",
            "learning_rate",
            "final_loss",
            "metrics",
            "extra",
            "curves",
            "final_loss_metric",
            "final_loss_unit",
            "final_step",
        ],
        "logged",
    )
    return found | {
        "min_learning_rate": by_name,
        "batch_size_sequences": by_name,
        "status": {"kind": "derived", "rule": "diverged if the last smoothed loss is above 4"},
        "train_steps": repaired(schedule["total_steps"], "the name's ti; listed is the last index"),
        "sequence_length": repaired(data["seq_len"], LENGTH),
        "train_tokens": repaired(data["tokens_total"], f"{LENGTH}; the listed value is half"),
        "params_non_embedding": repaired(config["n_params"], "layers x (4 h^2 + 3 h ffn)"),
        "tokenizer": repaired(data["tokenizer"], INVENTED),
        "dataset": repaired(data["dataset"], INVENTED),
        "vocab_size": repaired(model["vocab_size"], INVENTED),
        "activation": repaired(model["activation"], INVENTED),
        "norm": repaired(model["norm_type"], INVENTED),
        "position_encoding": repaired(f"rope: {model['rope']}", INVENTED),
        "precision": repaired(config["precision"], INVENTED),
    }
