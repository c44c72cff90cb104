"""LossCast-Bench: loss curves of Marin, Step Law and nanochat runs, its guesses repaired."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from ncpl_data.catalog.record import Run, Skipped
from ncpl_data.ingest.base import Origin, RawFile, Source
from ncpl_data.ingest.studies import losscast as bench
from ncpl_data.ingest.studies.losscast_marin import marin_run
from ncpl_data.ingest.studies.losscast_steplaw import steplaw_run
from ncpl_data.ingest.studies.recover_marin import Fits, fits_of, read_table

NAME = bench.NAME
REVISION = bench.REVISION
TITLE = "5,168 curves: 2,301 Marin, 2,277 Step Law, 590 nanochat runs"

NANOCHAT_METRIC = "train/loss_ema"
NANOCHAT_HELD_OUT = "val/bpb"
RATES = {
    "matrix_lr": "matrix",
    "embedding_lr": "embedding",
    "unembedding_lr": "unembedding",
    "scalar_lr": "scalar",
}


def read_shipped(files: Mapping[str, Path]) -> Iterator[Run | Skipped]:
    """Yield the runs of the shipped form: the gathered file, then the one of largest models."""
    hidden = read_table(files[HIDDEN.name])
    yield from read(bench.read_shipped(files[bench.SHIPPED.name]), hidden)
    for run in read(bench.read_gzip(files[bench.SHIPPED_OOD.name]), hidden):
        yield replace(run, file=bench.SHIPPED_OOD.name) if isinstance(run, Run) else run


def read_lines(files: Mapping[str, Path]) -> Iterator[Run | Skipped]:
    """Yield the runs of the file of JSON lines, compressed as it was gathered."""
    yield from read_searched(bench.read_gzip(files[f"{bench.RUNS_FILE}.gz"]), files)


def read_recorded(files: Mapping[str, Path]) -> Iterator[Run | Skipped]:
    """Yield the runs of a recording."""
    yield from read_searched(bench.read_records(files[bench.RECORDED_FILE].read_bytes()), files)


def read_searched(
    records: Iterator[bench.Record], files: Mapping[str, Path]
) -> Iterator[Run | Skipped]:
    """Yield the runs of records; hidden fields of runs the table lacks are searched now."""
    table = dict(read_table(files[HIDDEN.name]))
    kept = list(records)
    for record in kept:
        if record.study == "marin" and record.native not in table:
            table[record.native] = fits_of(record) or []
    yield from read(iter(kept), table)


def read(records: Iterator[bench.Record], hidden: Mapping[str, Fits]) -> Iterator[Run | Skipped]:
    """Yield one run a record, in file order."""
    for record in records:
        if record.study == "marin":
            yield marin_run(record, hidden.get(record.native, ()))
        elif record.study == "steplaw":
            yield steplaw_run(record)
        else:
            yield nanochat_run(record)


def nanochat_run(record: bench.Record) -> Run:
    """Return one of the benchmark's own runs; its configuration is logged, not guessed.

    The runs stop after a time budget, so the step count is that of the log, thinned to tens.
    """
    config = record.config
    model, optimizer, data = config["model"], config["optimizer"], config["data"]
    schedule, extra = config["schedule"], optimizer["extra"]
    steps, length = schedule["total_steps"], data["seq_len"]
    batch = data["batch_tokens"] // length
    loss = float(record.value[-1])
    metrics = (
        {
            "name": NANOCHAT_METRIC,
            "split": "train",
            "unit": "nats_per_token",
            "smoothing": "ema 0.9",
            "step": int(record.step[-1]),
            "value": loss,
        },
        {
            "name": NANOCHAT_HELD_OUT,
            "split": "validation",
            "unit": "bits_per_byte",
            "smoothing": "none",
            "value": config["extra"]["val_bpb"],
        },
    )
    values: dict[str, Any] = {
        "source_run": record.native,
        "model_family": "nanochat",
        "n_layers": model["n_layers"],
        "d_model": model["d_model"],
        "d_ff": model["d_ff"],
        "n_heads": model["n_heads"],
        "n_kv_heads": model["n_kv_heads"],
        "head_dim": model["head_dim"],
        "vocab_size": model["vocab_size"],
        "activation": model["activation"],
        "norm": model["norm_type"],
        "position_encoding": "rope" if model["rope"] else None,
        "is_embedding_tied": model["tied_embeddings"],
        "optimizer": optimizer["name"],
        "learning_rate": optimizer["lr"],
        "learning_rate_groups": tuple(
            {"group": group, "learning_rate": extra[key]} for key, group in RATES.items()
        ),
        "weight_decay": optimizer["weight_decay"],
        "adam_beta1": extra["adam_betas"][0],
        "adam_beta2": extra["adam_betas"][1],
        "adam_epsilon": optimizer["eps"],
        "optimizer_extra": {
            "muon_beta1": optimizer["beta1"],
            "muon_ns_steps": extra["muon_ns_steps"],
            "dmodel_lr_scale": extra["dmodel_lr_scale"],
            "window_pattern": model["window_pattern"],
        },
        "schedule": "wsd",
        "warmup_steps": schedule["warmup_steps"],
        "train_steps": steps,
        "batch_size_sequences": batch,
        "sequence_length": length,
        "dataset": data["dataset"],
        "tokenizer": data["tokenizer"],
        "accelerator": config["hardware"],
        "n_devices": config["dp_size"],
        "framework": config["code_repo"],
        "code_revision": config["code_commit"],
        "final_loss": loss,
        "final_loss_metric": NANOCHAT_METRIC,
        "final_loss_unit": "nats_per_token",
        "metrics": metrics,
        "extra": {"losscast.split": record.split},
    }
    derived: dict[str, tuple[Any, str]] = {
        "params_non_embedding": (
            12 * model["n_layers"] * model["d_model"] ** 2,
            "12 x layers x width^2: the log's transformer_matrices",
        ),
        "min_learning_rate": (
            schedule["final_lr_ratio"] * optimizer["lr"],
            "final_lr_ratio x learning_rate",
        ),
        "decay_steps": (round(schedule["warmdown_ratio"] * steps), "warmdown_ratio x steps"),
        "train_tokens": (batch * length * steps, "batch x sequence x steps"),
        "precision": ("bfloat16", "bf16"),
        "status": ("finished", "the log reaches the end of the time budget"),
        "final_step": (steps, "the last logged step"),
    }
    declared: dict[str, Any] = {"stage": "pretrain", "modality": "text", "architecture": "decoder"}
    return Run(
        run_id=f"{NAME}/{record.run_id}",
        source=NAME,
        **values,
        **{column: value for column, (value, _) in derived.items()},
        **declared,
        citation=bench.CITATION,
        url=bench.URL,
        file=bench.RUNS_FILE,
        record=f"line {record.line}",
        is_copy=False,
        origins=nanochat_origins(
            tuple(values), tuple(declared), tuple((c, rule) for c, (_, rule) in derived.items())
        ),
        raw_config=config,
        curves=(record.curve(NANOCHAT_METRIC, batch * length),),
    )


@cache
def nanochat_origins(
    logged: tuple[str, ...], declared: tuple[str, ...], rules: tuple[tuple[str, str], ...]
) -> Mapping[str, Any]:
    """Return where the values of a run come from: the same for all of them."""
    return {
        **dict.fromkeys(logged, "logged"),
        **dict.fromkeys(declared, "declared"),
        **{column: {"kind": "derived", "rule": rule} for column, rule in rules},
    }


HIDDEN = RawFile(
    "marin_hidden.parquet",
    "7a4f543bf2bb23391cf8a386210d2d01799d3e2390ebfc17b5e091829c0aba28",
    19_917,
    bundled="ncpl_data.ingest:data/losscast/marin_hidden.parquet",
)


def origin(name: str, file: RawFile, read_files: Any) -> Origin:
    """Return one of the two forms of the same records."""
    return Origin(
        name=name,
        title=TITLE,
        licence="MIT",
        citation=bench.CITATION,
        url=bench.URL,
        revision=REVISION,
        files=(file, HIDDEN),
        n_runs=5_168,
        read=read_files,
    )


SOURCE = Source(
    name=NAME,
    title="LossCast-Bench: loss curves of the NCPL seed runs and of nanochat",
    owner="LossCast-Bench (dangxingyu)",
    licence="MIT",
    citation=bench.CITATION,
    url=bench.URL,
    origins=(
        replace(
            origin("shipped", bench.SHIPPED, read_shipped),
            title="5,416 curves: 2,549 Marin, 2,277 Step Law, 590 nanochat runs",
            files=(bench.SHIPPED, bench.SHIPPED_OOD, HIDDEN),
            n_runs=5_416,
        ),
        origin(
            "lines",
            RawFile(
                f"{bench.RUNS_FILE}.gz",
                "8a09912fe86141453646d21d05043d49d4ae896cd8fa12feae1e6197f9ba58f5",
                2_178_930,
            ),
            read_lines,
        ),
        replace(
            origin("recorded", RawFile(bench.RECORDED_FILE, sha256="", n_bytes=0), read_recorded),
            title="the repository itself, recorded",
            n_runs=0,
        ),
    ),
    traps=(
        "Step Law rows: sequence length, tokenizer, data, norm, activation, positions and "
        "vocabulary are invented, tokens are half the true ones",
        "Marin rows: d_ff, vocabulary, tokenizer, data, sequence length and tokens are wrong; "
        "seq_len of Soap is the preconditioner's block size",
        "Marin rows: batch_tokens / seq_len is the true batch, total_steps the last logged step",
        "Marin rows: momentum, decay, gamma and other hyperparameters were dropped; the digest "
        "in the run's name gives them back",
        "eps of lion, kron and scion is a filled-in default: they have none",
        "some curves stop before their run does: 36 Marin ones by more than 6% of it (truncated), "
        "153 lack the evaluation at the end alone and keep the one before it (final_step). Twins "
        "that have it end lower: cosine by at most .0007, decay to zero along a line by .001 to "
        ".011 where 2.3% of the run are missing, by .027 to .040 where 4.5% are",
        "nanochat: the curve is a debiased moving average (.9) of the train loss, stopped by a "
        "time budget; the held-out number is in bits per byte",
        "run ids carry a prefix; the Marin and Step Law runs are others' runs (same_as)",
    ),
)
