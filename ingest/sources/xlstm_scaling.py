"""xLSTM scaling laws: Llama and mLSTM decoders on DCLM at three context lengths, with curves."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ncpl_data.catalog.errors import RawFileError
from ncpl_data.catalog.parquet import file_sha256
from ncpl_data.catalog.record import Run, Skipped
from ncpl_data.ingest.base import RawFile, metric_of, packed_lines
from ncpl_data.ingest.packed import curve_of
from ncpl_data.ingest.single import run_with, single_source

NAME = "xlstm_scaling"
CITATION = "Beck et al. 2025, xLSTM Scaling Laws (ICLR 2026)"
URL = "https://github.com/NX-AI/xlstm_scaling_laws"
REVISION = "604bb3062d3a7681bb33e467108cb0a6f81267fc"
FILE = "isoflop_runs.jsonl.zst"
CONTEXT = re.compile(r"_ctx(\d+)_")
SHAPE = "model.model_config."
CELL = f"{SHAPE}mlstm_block.mlstm.num_heads"
DECLARED: Mapping[str, Any] = {"stage": "pretrain", "modality": "text", "dataset": "dclm"}


def read(files: Mapping[str, Path]) -> Iterator[Run | Skipped]:
    """Yield one run a configuration: of several attempts the longest; one without loss is skipped.

    The order is that of the file.
    """
    digest = file_sha256(files[FILE])
    rows = packed_lines(files[FILE], NAME)
    longest: dict[str, Mapping[str, Any]] = {}
    for row in rows:
        if last_step(row) >= last_step(longest.get(row["name"], {})):
            longest[row["name"]] = row
    for line, row in enumerate(rows, 1):
        ref = f"{NAME}/{row['name']}"
        if "val/.dclm_loss" not in row["history"]:
            yield Skipped(ref, reason="no validation loss", payload={"id": row["id"]})
        elif longest[row["name"]] is not row:
            yield Skipped(ref, reason="a shorter attempt", payload={"id": row["id"]})
        else:
            try:
                yield run_of(row, digest)
            except (KeyError, TypeError, ValueError, SyntaxError, AttributeError) as error:
                raise RawFileError(
                    f"{NAME} {FILE} line {line}: {type(error).__name__} {error}; expected a W&B "
                    "run with config, summary and history. Take it again from the source",
                    source=NAME,
                    file=FILE,
                    line=line,
                ) from error


def last_step(row: Mapping[str, Any]) -> int:
    """Return the last step of an attempt that has a validation loss, -1 without one."""
    points = row.get("history", {}).get("val/.dclm_loss")
    return int(points["step"][-1]) if points else -1


def run_of(row: Mapping[str, Any], digest: str) -> Run:
    """Return the run of one entry."""
    config, history = row["config"], row["history"]
    match = CONTEXT.search(row["name"])
    if match is None:
        raise ValueError(f'no context length in the name "{row["name"]}"')
    context = int(match[1])
    batch, total = int(history["dataset/.global_batch_size"]), int(history["model/.num_params"])
    width, vocabulary = config[f"{SHAPE}embedding_dim"], config[f"{SHAPE}vocab_size"]
    schedule = ast.literal_eval(config["optimizer.scheduler"])
    steps = row["summary"]["dataset/"]["num_train_steps"]
    metric = f"validation/dclm_ctx{context}"
    curves = tuple(
        curve_of(
            NAME,
            FILE,
            name,
            np.array(history[key]["step"], dtype=np.int64),
            np.array(history[key]["value"], dtype=np.float64),
            np.array(history[key]["step"], dtype=np.int64) * batch * context,
        )
        for key, name in (("val/.dclm_loss", metric), ("train/.loss_mean", "train/loss_mean"))
        if key in history
    )
    metrics = tuple(
        metric_of(c, split=c.metric.split("/")[0], unit="nats_per_token") for c in curves
    )
    last = metrics[0]
    is_llama = "llama" in config["model.model_class"].lower()
    return run_with(
        {
            "seed": config["trainer.seed"],
            "model_family": "llama" if is_llama else "mlstm",
            "n_layers": config[f"{SHAPE}num_blocks"],
            "d_model": width,
            "vocab_size": vocabulary,
            "params_total": total,
            "optimizer": config["optimizer.name"],
            "learning_rate": schedule["lr"],
            "weight_decay": config["optimizer.weight_decay"],
            "adam_beta1": config["optimizer.beta1"],
            "adam_beta2": config["optimizer.beta2"],
            "adam_epsilon": config["optimizer.eps"],
            "grad_clip_norm": config["optimizer.grad_clip_norm"],
            "warmup_steps": schedule["warmup_steps"],
            "min_learning_rate": schedule["cooldown_lr"],
            "batch_size_sequences": batch,
            "train_steps": steps,
            "final_step": last["step"],
            "final_loss": last["value"],
            "final_loss_metric": metric,
            "final_loss_unit": "nats_per_token",
            "metrics": metrics,
            "extra": {
                f"{NAME}.cooldown_steps": schedule["cooldown_steps"],
                f"{NAME}.end_lr_factor": schedule["end_lr_factor"],
            },
            **(llama_fields(config) if is_llama else {"n_heads": config[CELL]}),
        },
        {**DECLARED, "architecture": "decoder" if is_llama else "recurrent"},
        {
            "sequence_length": (context, "ctx in the run's name"),
            "schedule": (
                "cosine" if schedule["name"] == "cosine_decay" else None,
                "optimizer.scheduler: a cosine to end_lr_factor, then a cooldown to zero",
            ),
            "params_non_embedding": (
                total - 2 * vocabulary * width,
                "num_params - 2 x vocab_size x embedding_dim (tie_weights is false)",
            ),
            "status": (
                "finished" if last["step"] >= steps else "truncated",
                "the last validation is at num_train_steps",
            ),
        },
        run_id=f"{NAME}/{row['name']}",
        source=NAME,
        source_run=row["id"],
        citation=CITATION,
        url=URL,
        file=f"data/{row['file']}",
        file_sha256=digest,
        record=row["id"],
        is_copy=False,
        curves=curves,
    )


def llama_fields(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a Llama entry says of its heads."""
    width, head = config[f"{SHAPE}embedding_dim"], config[f"{SHAPE}head_dim"]
    return {
        "head_dim": head,
        "n_heads": width // head,
        "has_bias": config[f"{SHAPE}use_bias"],
        "dropout": float(config[f"{SHAPE}dropout_rate"]),
    }


SOURCE = single_source(
    read,
    name=NAME,
    title="xLSTM scaling laws: Llama and mLSTM isoFLOP runs on DCLM",
    owner="NX-AI (Beck et al.)",
    licence=None,
    citation=CITATION,
    url=URL,
    revision=REVISION,
    files=(
        RawFile(FILE, "d3eaecb0fc1f83640ebe27ea14f89760580a19434aac2de94ca57f6e8c56286d", 675_457),
    ),
    files_title="459 W&B runs of the pickles, as JSON lines",
    n_runs=429,
    traps=(
        "no licence is stated: read with --from, not shipped; the originals are pickles, which are "
        "never read",
        "attempts of one configuration repeat: the longest stands",
        "losses at one context length compare, not between them",
        "the schedule is a cosine to a tenth, then a cooldown to zero over cooldown_steps",
        "mLSTM is recurrent: its size is the logged count, not the shape's",
    ),
)
