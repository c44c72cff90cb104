"""A Marin run as LossCast-Bench lists it: logged values kept, guesses replaced, gaps filled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ncpl_data.catalog.record import Run
from ncpl_data.ingest.base import repaired
from ncpl_data.ingest.studies import losscast, marin_hyper
from ncpl_data.ingest.studies import marin as study
from ncpl_data.ingest.studies.marin_hidden import hidden_keys

DIVERGED_ABOVE_NATS = 6.0

SAYS = "marin-community/marin issue 1290 and marin/optimizer_sweep"
DERIVED_BY_DIGEST = {
    "kind": "derived",
    "rule": "the only choice of the study's grids that fits the digest in the run's name",
}
BATCH_ORIGIN = {"kind": "derived", "rule": "listed batch_tokens / listed seq_len"}


def marin_run(record: losscast.Record, fits: Sequence[Mapping[str, Any]]) -> Run:
    """Return the run of one record.

    `fits` holds the choices of hidden hyperparameters for this run; they are taken if there is
    exactly one and the digest of the whole configuration says so again.
    """
    named = study.parse_name(record.native)
    if named is None:
        raise losscast.bad_line(record.line, f'"{record.native[:80]}" is no run name of the study')
    listed = losscast.marin_config(named.optimizer, record.config)
    batch = listed["train_batch_size"]
    steps = study.steps_of(named.nominal_tokens, batch)
    flags: list[str] = []
    hidden: Mapping[str, Any] = fits[0] if len(fits) == 1 else {}
    digest = study.verify_digest(record.native, named.optimizer, {**listed, **hidden}, steps)
    if digest not in ("exact", "respelled"):
        hidden = {}
        if hidden_keys(named.optimizer):
            flags.append("hidden_ambiguous" if len(fits) > 1 else "hidden_unknown")
    if named.digest is None:
        flags.append("digest_missing")
    config = {**listed, **hidden}
    rate, second = listed["learning_rate"], record.config["optimizer"].get("adam_lr")
    if second is not None and not hidden:
        config["muon_to_adam_lr"] = marin_hyper.rounded(second / rate)
    if named.optimizer == "nadamw":
        config["nesterov"] = True  # its one difference from adamw; logged so on every shared run
    config["lr_schedule"] = record.config["schedule"]["lr_schedule"]
    hyper = marin_hyper.hyperparameter_fields(config, steps)
    last = int(record.step[-1])
    return Run(
        run_id=f"{losscast.NAME}/{record.run_id}",
        source=losscast.NAME,
        source_run=record.native,
        same_as=(f"marin/{record.native}",),
        optimizer=named.optimizer,
        **study.DECLARED,
        **study.model_fields(named.size),
        **hyper,
        train_steps=steps,
        train_tokens=batch * study.SEQUENCE_LENGTH * steps,
        nominal_train_tokens=named.nominal_tokens,
        **outcome(record, steps, last),
        citation=f"{losscast.CITATION}; study: arXiv:2509.02046",
        url=losscast.URL,
        file=losscast.RUNS_FILE,
        record=f"line {record.line}",
        is_copy=True,
        flags=tuple(flags) or None,
        extra={"losscast.split": record.split, "marin.digest": digest or "unchecked"},
        origins=origins(record, hyper, hidden, digest, steps),
        raw_config=record.config,
        curves=(record.curve(study.METRIC, batch * study.SEQUENCE_LENGTH),),
    )


def outcome(record: losscast.Record, steps: int, last: int) -> dict[str, Any]:
    """Return the outcome columns: the last evaluation, and whether the log is whole."""
    loss = float(record.value[-1])
    status = "finished" if loss <= DIVERGED_ABOVE_NATS else "diverged"
    if last + 1 < (1 - study.MISSING_END_FRAC) * steps:
        status = "truncated"
    metric = {
        "name": study.METRIC,
        "split": "validation",
        "dataset": "paloma/c4_en",
        "unit": "nats_per_token",
        "smoothing": "none",
        "step": last,
        "value": loss,
    }
    return {
        "status": status,
        "final_loss": loss,
        "final_loss_metric": study.METRIC,
        "final_loss_unit": "nats_per_token",
        "final_step": last + 1,  # of the loss; the run itself may have gone on to its end
        "metrics": (metric,),
    }


def status_origin(last: int, steps: int) -> dict[str, Any]:
    """Return how it is known how the run ended, with the place of its last evaluation."""
    return {
        "kind": "derived",
        "rule": "diverged above 6 nats; truncated if more than 6% of the run follow the last "
        "evaluation: its loss is then no final one",
        "evidence": f"last evaluation at step {last} of {steps} ({(last + 1) / steps:.1%})",
    }


def origins(
    record: losscast.Record,
    hyper: Mapping[str, Any],
    hidden: Mapping[str, Any],
    digest: str | None,
    steps: int,
) -> dict[str, Any]:
    """Return the origin of each value, with what upstream said where it was wrong."""
    config, last = record.config, int(record.step[-1])
    data, model, optimizer = config["data"], config["model"], config["optimizer"]
    found: dict[str, Any] = dict.fromkeys(study.DECLARED, "declared")
    found |= dict.fromkeys(("n_layers", "d_model", "n_heads", "final_loss", "metrics"), "logged")
    found |= dict.fromkeys(("final_loss_metric", "final_loss_unit", "source_run"), "logged")
    found |= dict.fromkeys(("optimizer", "extra", "curves"), "logged")
    found |= dict.fromkeys(hyper, "logged")
    models = f"{SAYS}/models.py"
    length = f"{models}: all runs have 4,096-token sequences"
    budget = "the name's token tag x 4,096-token sequences; the listed step is the last one logged"
    found |= {
        "n_kv_heads": "declared",
        "d_ff": repaired(model["d_ff"], f"{models}: 4 x hidden"),
        "vocab_size": repaired(model["vocab_size"], "tokenizer Llama 3.1: experiments/llama.py"),
        "tokenizer": repaired(data["tokenizer"], "experiments/llama.py of the study"),
        "dataset": repaired(data["dataset"], "experiments/dclm/tokenize_dclm.py of the study"),
        "sequence_length": repaired(data["seq_len"], length),
        "params_non_embedding": repaired(config["n_params"], f"shape of {models}"),
        "params_total": {"kind": "derived", "rule": "blocks + 2 x vocabulary x width"},
        "train_steps": repaired(config["schedule"]["total_steps"], budget),
        "train_tokens": repaired(data["tokens_total"], "batch x 4,096 x planned steps"),
        "batch_size_sequences": BATCH_ORIGIN,
        "nominal_train_tokens": {"kind": "derived", "rule": "ratio x 20 x non-embedding params"},
        "status": status_origin(last, steps),
        "final_step": status_origin(last, steps),
        "min_learning_rate": {"kind": "derived", "rule": "final_lr_ratio x learning_rate"},
    }
    if "is_nesterov" in hyper:
        found["is_nesterov"] = "declared"
    if "adam_epsilon" not in hyper and optimizer.get("eps") is not None:
        found["adam_epsilon"] = repaired(optimizer["eps"], "this optimizer has no epsilon")
    by_digest = DERIVED_BY_DIGEST | {"evidence": f"digest of the whole configuration: {digest}"}
    if hidden:
        columns = {marin_hyper.COLUMNS.get(key, "optimizer_extra") for key in hidden}
        if "decay" in hidden:
            columns |= {"schedule", "decay_steps"}
        if marin_hyper.SECOND_RATES.keys() & hidden.keys():
            columns.add("learning_rate_groups")
        found |= dict.fromkeys(columns & hyper.keys(), by_digest)
    return found
