"""QuEST: Llama-style runs on C4 whose weights and activations train at 1 to 16 bits."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ncpl_data.catalog.errors import RawFileError
from ncpl_data.catalog.parquet import file_sha256
from ncpl_data.catalog.record import Run, Skipped
from ncpl_data.ingest.base import RawFile
from ncpl_data.ingest.single import run_with, single_source, validation

NAME = "quest"
CITATION = (
    "Panferov et al. 2025, QuEST: Stable Training of LLMs with 1-Bit Weights and Activations, "
    "arXiv:2502.05003"
)
URL = "https://github.com/IST-DASLab/QuEST"
REVISION = "c295afda142c03a89d2af04653881beccf459aa1"
FILE = "runs_for_scaling.json"
SCHEDULES = {"cos": "cosine"}
DECLARED: Mapping[str, Any] = {
    "stage": "pretrain",
    "modality": "text",
    "architecture": "decoder",
    "status": "finished",  # the file holds the runs the authors fit
    "attention": "multi_head",  # src/models/llama.py: one projection of 3 x n_embd
    "is_ffn_gated": True,  # likewise: silu(w1 x) * w2 x
    "activation": "swiglu",
    "norm": "rmsnorm",
    "position_encoding": "rope",
    "is_embedding_tied": False,  # every run's name starts with UNTIED
}


def read(files: Mapping[str, Path]) -> Iterator[Run | Skipped]:
    """Yield one run an entry, in file order."""
    digest = file_sha256(files[FILE])
    try:
        rows = json.loads(files[FILE].read_bytes())
        seen: dict[str, int] = {}
        for number, row in enumerate(rows):
            yield run_of(row, number, digest, seen)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RawFileError(
            f"{NAME} {FILE}: {type(error).__name__} {error}; expected a list of runs with loss, "
            f"tokens and args. Take it again from {URL}",
            source=NAME,
            file=FILE,
        ) from error


def run_of(row: Mapping[str, Any], number: int, digest: str, seen: dict[str, int]) -> Run:
    """Return the run of one entry."""
    args = row["args"]
    batch = args["batch_size"] * args["acc_steps"] * args["world_size"]
    quantizers = {"quest.weight_quantizer": row["w_quant"], "quest.act_quantizer": row["a_quant"]}
    ratio = round(row["tokens"] / row["non_embedding_parameters"])
    label = f"{row['model_size']}M_{ratio}tpp_w{row['w_bits']}a{row['a_bits']}_{row['w_quant']}"
    seen[label] = seen.get(label, 0) + 1
    if seen[label] > 1:
        label = f"{label}_{seen[label]}"
    width = args["n_embd"]
    return run_with(
        {
            "seed": args["seed"],
            "model_family": args["model"],
            "n_layers": args["n_layer"],
            "d_model": width,
            "n_heads": args["n_head"],
            "vocab_size": args["vocab_size"],
            "has_bias": args["bias"],
            "params_non_embedding": row["non_embedding_parameters"],
            "init_std": args["init_std"],
            "dropout": float(args["dropout"]),
            "optimizer": args["opt"],
            "learning_rate": args["lr"],
            "weight_decay": args["weight_decay"],
            "adam_beta1": args["beta1"],
            "adam_beta2": args["beta2"],
            "grad_clip_norm": float(args["grad_clip"]),
            "schedule": SCHEDULES.get(args["scheduler"], args["scheduler"]),
            "warmup_steps": args["warmup_steps"],
            "train_steps": args["iterations"],
            "sequence_length": args["sequence_length"],
            "train_tokens": row["tokens"],
            "dataset": args["dataset"],
            "tokenizer": args["tokenizer"],
            "precision": args["dtype"],
            "weight_bits": row["w_bits"],
            "activation_bits": row["a_bits"],
            "extra": quantizers,
            **validation("validation/loss", row["loss"]),
        },
        DECLARED,
        {
            "batch_size_sequences": (batch, "batch_size x acc_steps x world_size"),
            "d_ff": (
                256 * -(-(8 * width // 3) // 256),
                "256 x ceil(8 n_embd / 3 / 256): with it the shape gives non_embedding_parameters",
            ),
        },
        run_id=f"{NAME}/{label}",
        source=NAME,
        source_run=args["wandb_run_prefix"],
        citation=CITATION,
        url=URL,
        file=f"for_plots/{FILE}",
        file_sha256=digest,
        record=f"entry {number}",
        is_copy=False,
        raw_config={k: v for k, v in args.items() if not isinstance(v, str) or "/" not in v},
    )


SOURCE = single_source(
    read,
    name=NAME,
    title="QuEST: 104 Llama-style runs on C4 at 1 to 16 bits, six sizes",
    owner="IST-DASLab (Panferov et al.)",
    licence="MIT",
    citation=CITATION,
    url=URL,
    revision=REVISION,
    files=(
        RawFile(
            FILE,
            "b588f0fc2144a69a0d24c192becf70d329fd2613c69ff6d3c9ddeea3e2e702fc",
            210_670,
            url=f"https://raw.githubusercontent.com/IST-DASLab/QuEST/{REVISION}/for_plots/{FILE}",
            bundled=f"ncpl_data.ingest:data/quest/{FILE}",
        ),
    ),
    files_title="the runs the authors fit their law on, final losses",
    n_runs=104,
    traps=(
        "precision is a setting of its own: weight_bits and activation_bits; 16 is plain bf16",
        "the batch is batch_size x acc_steps x world_size",
        "several quantizers at one number of bits: extra.quest.weight_quantizer",
    ),
)
