"""Over-training testbed of Gadre et al.: 104 models, eight losses and downstream tasks each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ncpl_data.catalog.errors import RawFileError
from ncpl_data.catalog.record import Evaluation, Run, Skipped
from ncpl_data.ingest.packed import json_object, packed_source, sha256
from ncpl_data.ingest.pins.overtraining import PINS

NAME = "overtraining"
CITATION = (
    "Gadre et al. 2024, Language models scale reliably with over-training and on downstream "
    "tasks, arXiv:2403.08540"
)
URL = "https://github.com/mlfoundations/scaling"
REVISION = "a003c4913793ac2ae7ef87b28ecb562955d026d5"

SEQUENCE_LENGTH = 2048
VOCABULARY = 50_432
PRIMARY = "validation/c4_val"
DATASETS = {"c4_original": "c4", "rpj": "redpajama", "rw_original": "refinedweb"}
SHAPE = re.compile(r".*/d=(?P<d>\d+)_l=(?P<l>\d+)_h=(?P<h>\d+)\.json")
EVALUATION = "evals/evaluation_{name}_heavy.json"

DECLARED: Mapping[str, Any] = {
    "stage": "pretrain",
    "modality": "text",
    "architecture": "decoder",
    "optimizer": "adamw",
    "schedule": "cosine",
    "sequence_length": SEQUENCE_LENGTH,
    "vocab_size": VOCABULARY,
    "tokenizer": "gpt-neox",
    "is_embedding_tied": False,
}
LOGGED = (
    "source_run",
    "model_family",
    "params_total",
    "learning_rate",
    "weight_decay",
    "warmup_steps",
    "min_learning_rate",
    "nominal_train_tokens",
    "dataset",
    "final_loss",
    "final_loss_metric",
    "final_loss_unit",
    "metrics",
    "optimizer_extra",
)


def read(contents: Mapping[str, bytes]) -> Iterator[Run | Skipped]:
    """Yield one run a model file, with its downstream tasks where their file is there."""
    for name in sorted(contents):
        if not name.startswith("models/"):
            continue
        document = json_object(contents[name], NAME, name)
        try:
            tasks = EVALUATION.format(name=document["name"])
            evals = evals_of(contents[tasks], tasks) if tasks in contents else ()
            yield run_of(document, name, sha256(contents[name]), evals)
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, RawFileError):
                raise
            raise RawFileError(
                f"{NAME} {name}: {type(error).__name__} {error}; expected a model file of the "
                f"project. Take it again from {URL}",
                source=NAME,
                file=name,
            ) from error


def evals_of(content: bytes, name: str) -> tuple[Evaluation, ...]:
    """Return the accuracies of one model's downstream file."""
    tasks = json_object(content, NAME, name)["eval_metrics"]["icl"]
    return tuple(Evaluation(task, "accuracy", float(tasks[task])) for task in sorted(tasks))


def arguments(line: list[str]) -> dict[str, str]:
    """Return the command line's options that take one plain value.

    Paths and addresses of the authors' machines are left out.
    """
    found: dict[str, str] = {}
    for key, value in zip(line, [*line[1:], "--"], strict=True):
        is_option = key.startswith("--") and not value.startswith("--")
        if is_option and not value.startswith(("/", "s3:", "pipe:")):
            found[key.removeprefix("--")] = value
    return found


def run_of(
    document: Mapping[str, Any], name: str, digest: str, evals: tuple[Evaluation, ...]
) -> Run:
    """Return the run of one model file."""
    settings = document["hyperparameters"]
    options = arguments(document["open_lm_args"])
    tokens, total = settings["tokens"], settings["params"]
    planned = int(options["train-num-samples"]) * int(options["epochs"])
    # The three 7B files carry the command line of another run: it asks for 106M of their 138B
    # tokens. Their batch is 1 in the settings, which no run of 5,000 warm-up steps had.
    is_own_line = planned * 100 > tokens
    flags = []
    if not is_own_line:
        flags.append("command_line_of_another_run")
    elif planned != tokens:
        flags.append("tokens_contradict_command_line")
    embedding = total - settings["params_no_embed"]
    shape = SHAPE.fullmatch(settings["model"])
    origins: dict[str, Any] = dict.fromkeys(DECLARED, "declared") | dict.fromkeys(LOGGED, "logged")
    by_name = {"kind": "derived", "rule": "model file d=..._l=..._h=..."}
    by_size = {"kind": "derived", "rule": "(params - params_no_embed) / vocabulary"}
    origins["params_non_embedding"] = {
        "kind": "derived",
        "rule": "params - 2 (params - params_no_embed): params_no_embed still counts the output "
        "layer",
    }
    origins["d_model"] = by_name if shape else by_size
    values: dict[str, Any] = {}
    if shape:
        values |= {"n_layers": int(shape["l"]), "n_heads": int(shape["h"])}
        origins |= dict.fromkeys(values, by_name)
    if is_own_line:
        batch = settings["global_bs"]
        steps = tokens // (batch * SEQUENCE_LENGTH)
        own = {
            "batch_size_sequences": batch,
            "seed": int(options["seed"]),
            "adam_beta2": float(options["beta2"]),
            "grad_clip_norm": float(options["grad-clip-norm"]),
            "norm": options["model-norm"],
            "precision": options["precision"],
        }
        derived = {"train_steps": steps, "train_tokens": steps * batch * SEQUENCE_LENGTH}
        values |= own | derived
        origins |= dict.fromkeys(own, "logged")
        origins["train_steps"] = {"kind": "derived", "rule": "floor(tokens / (batch x sequence))"}
        origins["train_tokens"] = {"kind": "derived", "rule": "batch x sequence x steps"}
    origins["status"] = {"kind": "derived", "rule": "evaluated after its whole token budget"}
    metrics = tuple(metric_of(result) for result in document["results"])
    return Run(
        run_id=f"{NAME}/{document['name']}",
        source=NAME,
        source_run=document["name"],
        model_family="open_lm",
        d_model=int(shape["d"]) if shape else embedding // VOCABULARY,
        params_total=total,
        params_non_embedding=total - 2 * embedding,
        learning_rate=settings["lr"],
        weight_decay=settings["wd"],
        warmup_steps=settings["warmup"],
        min_learning_rate=settings["cd"],
        optimizer_extra={"z_loss": settings["z_loss"], "has_qk_norm": settings["qk_norm"]},
        nominal_train_tokens=tokens,
        dataset=DATASETS[document["dataset_name"]],
        status="finished",
        final_loss=next(m["value"] for m in metrics if m["name"] == PRIMARY),
        final_loss_metric=PRIMARY,
        final_loss_unit="nats_per_token",
        metrics=metrics,
        citation=CITATION,
        url=URL,
        file=name,
        file_sha256=digest,
        record=document["uuid"],
        is_copy=False,
        flags=tuple(flags) or None,
        origins=origins,
        raw_config={"hyperparameters": settings, "open_lm_args": options},
        evals=evals,
        **values,
        **DECLARED,
    )


def metric_of(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return one evaluation loss; its set is named by the folder of its shards."""
    (path,) = result["val_data"]
    dataset = path.removeprefix("training/eval_data/").removeprefix("val_tok_mult/").split("/")[0]
    return {
        "name": f"validation/{dataset}",
        "split": "validation",
        "dataset": dataset,
        "unit": "nats_per_token",
        "smoothing": "none",
        "value": result["loss"],
    }


SOURCE = packed_source(
    read,
    name=NAME,
    title="Over-training testbed: 104 open_lm models on C4, RedPajama and RefinedWeb",
    owner="mlfoundations (Gadre et al.)",
    licence="MIT",
    citation=CITATION,
    url=URL,
    revision=REVISION,
    n_runs=104,
    files_title="104 model files with eight losses each",
    sha256="831ffc2e59f9aa779142821afdbb1f62e017d6bea9bfeda58cb82d5f6c25236f",
    n_bytes=81_324,
    pins=PINS,
    folder="/exp_data",
    also="evals/evaluation_*_heavy.json",
    traps=(
        "three 7B files carry the command line of another run (106M tokens): learning rate, decay "
        "and warm-up are those of their settings, the batch (1 there) is unknown",
        "params_no_embed leaves out the input embedding only",
        "two models trained longer than their command line says",
        "final losses only, no curves; the eight evaluation sets are not comparable",
        "downstream tasks lie in exp_data/evals of the repository and do not ship: ncpl-data "
        "record overtraining --out FOLDER, then ingest with --from FOLDER (or CLONE/exp_data)",
    ),
)
