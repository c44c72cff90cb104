"""Marin speedruns: complete configurations of small models on FineWeb-Edu, one loss each."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ncpl_data.catalog.errors import RawFileError
from ncpl_data.catalog.parquet import file_sha256
from ncpl_data.catalog.record import Run, Skipped
from ncpl_data.ingest.base import RawFile, packed_lines
from ncpl_data.ingest.single import run_with, single_source

NAME = "marin_speedruns"
CITATION = "Marin community, speedruns (marin-community/marin experiments/speedrun)"
URL = "https://github.com/WhenWen/marin"
REVISION = "4dec0f6fdb"
FILE = "speedrun_results.jsonl.zst"
METRIC = "eval/paloma/c4_en/bpb"
FOLDER = "experiments/speedrun/"
RECORDED_FILE = "speedrun_results.jsonl"
NEEDED = ("num_layers", "hidden_dim", "intermediate_dim", "num_heads", "num_kv_heads")
LENGTHS = ("seq_len", "max_seq_len")
"""Names of the sequence length, old and new."""
VOCABULARY = 128_256
GATED = 3
DECLARED: Mapping[str, Any] = {
    "stage": "pretrain",
    "modality": "text",
    "architecture": "decoder",
    "framework": "levanter",
    "status": "finished",  # a speedrun is listed once its run has ended
}
OPTIMIZERS = {
    "adamw_llama_scaling": "adamw",
    "adamc_llama_scaling": "adamc",
    "c-adamc_llama_scaling": "cautious_adamc",
    "cautious_llama_scaling": "cautious",
    "llama_75m_adamax": "adamax",
    "adamh_llama_scaling": "adamh",
    "adamh_qwen3_scaling": "adamh",
    "adamc_qwen3_scaling": "adamc",
}
"""By folder; a configuration with muon_epsilon is Muon's."""


def read(files: Mapping[str, Path]) -> Iterator[Run | Skipped]:
    """Yield one run a line."""
    yield from runs_of(packed_lines(files[FILE], NAME), FILE, file_sha256(files[FILE]))


def read_recorded(files: Mapping[str, Path]) -> Iterator[Run | Skipped]:
    """Yield the runs of a recording: those whose model is of another kind are told apart."""
    path = files[RECORDED_FILE]
    try:
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    except ValueError as error:
        raise RawFileError(
            f"{NAME} {path.name}: expected one JSON object a line ({error}). Record it again: "
            f"ncpl-data record {NAME} --out {path.parent}",
            source=NAME,
            file=path.name,
        ) from error
    for row in rows:
        info = row["run_info"]
        model = info.get("model_config") or {}
        lacking = [key for key in NEEDED if key not in model]
        if not any(key in model for key in LENGTHS):
            lacking.append(LENGTHS[0])
        if lacking or info.get(METRIC) is None:
            what = ", ".join(lacking) or METRIC
            yield Skipped(f"{NAME}/{name_of(row)}", reason=f"no {what}", payload=row)
        else:
            yield from runs_of([row], RECORDED_FILE, file_sha256(path))


def runs_of(rows: Iterable[Mapping[str, Any]], file: str, digest: str) -> Iterator[Run]:
    """Yield the run of each result.

    Raises RawFileError for one that lacks its parts.
    """
    for line, row in enumerate(rows, 1):
        try:
            yield run_of(row, line, digest)
        except (KeyError, TypeError, ValueError) as error:
            raise RawFileError(
                f"{NAME} {file} line {line}: {type(error).__name__} {error}; expected a speedrun's "
                f"path and run_info. Take it again from {URL}",
                source=NAME,
                file=file,
                line=line,
            ) from error


def name_of(row: Mapping[str, Any]) -> str:
    """Return the folder of a result, with its number in a file of several."""
    stem = str(row["path"]).removeprefix(FOLDER).removesuffix(".json")
    number = row.get("number", 1)
    return stem.removesuffix("/speedrun_results") + (f"@{number}" if number > 1 else "")


def run_of(row: Mapping[str, Any], line: int, digest: str) -> Run:
    """Return the run of one result."""
    name = name_of(row)
    info = row["run_info"]
    model, train = info["model_config"], info["train_config"]
    tuned = train.get("optimizer_config") or {}
    loss = info[METRIC]
    logged = {
        "n_layers": model["num_layers"],
        "d_model": model["hidden_dim"],
        "d_ff": model["intermediate_dim"],
        "n_heads": model["num_heads"],
        "n_kv_heads": model["num_kv_heads"],
        "head_dim": model.get("head_dim"),
        "has_bias": model.get("use_bias"),
        "is_embedding_tied": model["tie_word_embeddings"],
        "n_experts": model.get("n_routed_experts"),
        "experts_per_token": model.get("num_experts_per_tok"),
        "params_total": info["model_size"],
        "sequence_length": next(model[k] for k in LENGTHS if k in model),
        "batch_size_sequences": train["train_batch_size"],
        "train_steps": train["num_train_steps"],
        "train_tokens": info["total_tokens"],
        "train_flops": info["model_flops"],
        "learning_rate": train["learning_rate"],
        "schedule": tuned.get("lr_schedule") or train.get("lr_schedule"),
        "final_loss": loss,
        "final_loss_metric": METRIC,
        "final_loss_unit": "bits_per_byte",
        "metrics": (
            {
                "name": METRIC,
                "split": "validation",
                "dataset": "paloma/c4_en",
                "unit": "bits_per_byte",
                "value": loss,
            },
        ),
        "extra": {f"{NAME}.tokenized_dataset": dataset_of(info)},
    }
    if not logged["n_experts"]:  # of the one mixture the file says too little to count its parts
        logged |= {"params_active": info["model_size"]}
    return run_with(
        logged | optimizer_fields(tuned, train),
        DECLARED,
        derived_fields(info, name, tuned),
        run_id=f"{NAME}/{name}",
        source=NAME,
        source_run=name,
        citation=CITATION,
        url=URL,
        file=row["path"],
        file_sha256=digest,
        record=f"line {line}",
        is_copy=True,
        raw_config={"model_config": model, "train_config": train},
    )


def dataset_of(info: Mapping[str, Any]) -> str:
    """Return the name of the tokenized data, without the bucket it lies in."""
    return str(info["tokenized_dataset"]).rsplit("/", 1)[-1]


def optimizer_fields(tuned: Mapping[str, Any], train: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the optimizer's own configuration states."""
    warmup = next((w for w in (tuned.get("warmup"), train.get("warmup")) if w is not None), None)
    steps, rate = train["num_train_steps"], train["learning_rate"]
    ratio, decay = tuned.get("min_lr_ratio"), tuned.get("decay")
    clip = tuned.get("max_grad_norm")
    found = {
        "weight_decay": tuned.get("weight_decay", train.get("weight_decay")),
        "adam_beta1": tuned.get("beta1"),
        "adam_beta2": tuned.get("beta2"),
        "adam_epsilon": tuned.get("epsilon"),
        "momentum": tuned.get("momentum"),
        "grad_clip_norm": None if clip is None else float(clip),
    }
    if warmup is not None:  # in steps from 1 on, a share of the run below
        found["warmup_steps"] = round(warmup if warmup >= 1 else warmup * steps)
    if ratio is not None:
        found["min_learning_rate"] = ratio * rate
    if decay is not None:
        found["decay_steps"] = round(decay if decay > 1 else decay * steps)
    return found


def derived_fields(
    info: Mapping[str, Any], name: str, tuned: Mapping[str, Any]
) -> dict[str, tuple[Any, str]]:
    """Return what follows from the counts and names of a result."""
    model = info["model_config"]
    width = model["hidden_dim"]
    found: dict[str, tuple[Any, str]] = {}
    if "fineweb-edu-10B" in dataset_of(info):
        found["dataset"] = ("fineweb_edu", "the tokenized data's name")
    head = model.get("head_dim") or width // model["num_heads"]
    queries, keys = model["num_heads"] * head, model["num_kv_heads"] * head
    matrices = 2 * width * (queries + keys) + GATED * width * model["intermediate_dim"]
    blocks = model["num_layers"] * matrices
    tables = (1 if model["tie_word_embeddings"] else 2) * VOCABULARY * width
    if abs(info["model_size"] - blocks - tables) <= 0.001 * info["model_size"]:
        rule = "with a gated layer and this vocabulary the shape gives model_size"
        found |= {"vocab_size": (VOCABULARY, rule), "is_ffn_gated": (True, rule)}
        found["tokenizer"] = ("meta-llama/Meta-Llama-3.1-8B", f"{rule}: Marin's one of that size")
    optimizer = (
        "muon" if tuned.get("muon_epsilon") else OPTIMIZERS.get(name.split("/", maxsplit=1)[0])
    )
    if optimizer is not None:
        found["optimizer"] = (optimizer, "the keys of optimizer_config and the folder's name")
    return found


SHIPPED = single_source(
    read,
    name=NAME,
    title="Marin speedruns: 52 runs with complete configurations, 8M to 2.1B parameters",
    owner="the Marin community",
    licence="Apache-2.0",
    citation=CITATION,
    url=URL,
    revision=REVISION,
    files=(
        RawFile(
            FILE,
            "e78047b452a9630f237176a8184d006eb4a6c0660f3da0383854980016040d97",
            6_542,
            bundled=f"ncpl_data.ingest:data/{NAME}/{FILE}",
        ),
    ),
    files_title="52 speedrun_results.json in one file, author names dropped",
    n_runs=52,
    traps=(
        "the loss is in bits per byte on Paloma's C4; no loss in nats is stated",
        "warmup is in steps from 1 on, else a share of the run",
        "12 results state no optimizer_config: their schedule and optimizer are Levanter's "
        "defaults at that time, which the file does not say",
        "of the one mixture of experts active parameters are not stated",
    ),
)
SOURCE = replace(
    SHIPPED,
    origins=(
        *SHIPPED.origins,
        replace(
            SHIPPED.origins[0],
            name="recorded",
            title="the results in Marin's own repository, recorded: about 230 files",
            url="https://github.com/marin-community/marin",
            revision="live",
            files=(RawFile(RECORDED_FILE, sha256="", n_bytes=0),),
            n_runs=0,
            read=read_recorded,
        ),
    ),
)
