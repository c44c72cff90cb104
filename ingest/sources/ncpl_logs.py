"""The cleaned logs NCPL was trained on: Marin and Step Law runs, from the Hugging Face hub."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ncpl_data.catalog.curve import Curve
from ncpl_data.catalog.errors import RawFileError
from ncpl_data.catalog.record import Run, Skipped
from ncpl_data.ingest.base import Origin, RawFile, Source
from ncpl_data.ingest.studies import marin, steplaw

NAME = "ncpl_logs"
REPOSITORY = "zhqwqwq/NCPL-Pretraining-Logs"
URL = f"https://huggingface.co/datasets/{REPOSITORY}"
CITATION = "Configuration-to-Performance Scaling Law with Neural Ansatz, arXiv:2602.10300"
MARIN_FILE, STEPLAW_FILE = "marin_processed_data.json", "steplaw_processed_data.json"

# The keys of an entry are those that src/generate_dataset.py of
# zhqwqwq/Configuration-to-Performance-Scaling-Law (MIT) reads at 4f6e64b.
CURVES = {
    "marin": ("c4en_steps", "c4en_losses", marin.METRIC, "validation"),
    "steplaw": ("smoothed_loss_steps", "smoothed_loss", steplaw.TARGET, "train"),
}
COLUMNS = {
    "num layers": "n_layers",
    "num heads": "n_heads",
    "hidden dim": "d_model",
    "learning rate": "learning_rate",
    "weight decay": "weight_decay",
    "warmup": "warmup_steps",
    "batch size": "batch_size_sequences",
    "max_grad_norm": "grad_clip_norm",
    "min_lr": "min_learning_rate",
}
COUNTS = {"n_layers", "n_heads", "d_model", "warmup_steps", "batch_size_sequences"}
ANY = {"stage": "pretrain", "modality": "text"}
"""What is known of a run whose name is not understood."""
BY_LENGTH = {
    "kind": "derived",
    "rule": "budget / (batch x sequence), and the last logged step; truncated if more than 6% of "
    "the run follow it",
}
BY_NAME = {"kind": "derived", "rule": "the run's name"}


def read(files: Mapping[str, Path]) -> Iterator[Run | Skipped]:
    """Yield one run an entry, of both files."""
    for name, path in files.items():
        try:
            entries = json.loads(path.read_bytes())
        except ValueError as error:
            raise bad_file(name, f"not JSON ({error})") from error
        if not isinstance(entries, list):
            raise bad_file(name, "not a list of runs")
        for number, entry in enumerate(entries):
            yield read_entry(entry, name, number)


def bad_file(name: str, what: str) -> RawFileError:
    """Return the error of a file that is not the data set's."""
    return RawFileError(
        f"{NAME} {name}: {what}; record it again: ncpl-data record {NAME} --out FOLDER",
        source=NAME,
        file=name,
    )


def read_entry(entry: Any, file: str, number: int) -> Run | Skipped:
    """Return the run of one entry.

    Raises RawFileError if it lacks a key of the format.
    """
    try:
        study, config = entry["source"], dict(entry["conf"])
        name = str(entry["name"]).rsplit("/", 1)[-1]
        steps, losses, metric, split = CURVES[study]
        points = list(zip(entry[steps], entry[losses], strict=True))
        max_step, loss = int(entry["max_step"]), float(entry["final_loss"])
    except (KeyError, TypeError, ValueError) as error:
        what = f"entry {number} is no run ({type(error).__name__}: {error})"
        raise bad_file(file, what) from error
    if not math.isfinite(loss):
        return Skipped(f"{study}/{name}", reason="loss_not_finite", payload={"conf": config})
    twin, fields, origins = facts_of(study, name)
    values: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for key, value in config.items():
        column = COLUMNS.get(key)
        if column is None:
            extra[key] = value
        elif column not in fields:
            values[column] = int(value) if column in COUNTS else float(value)
    curve = sorted({int(s): float(v) for s, v in points if math.isfinite(v)}.items())
    step = np.array([s for s, _ in curve], dtype=np.int64)
    value = np.array([v for _, v in curve], dtype=np.float64)
    length = lengths({**values, **fields}, int(step[-1]) + 1 if curve else max_step)
    per_step = length["train_tokens"] // length["train_steps"] if length else None
    outcome: dict[str, Any] = {
        "final_loss": loss,
        "final_loss_metric": metric,
        "final_loss_unit": "nats_per_token",
        "metrics": ({"name": metric, "split": split, "unit": "nats_per_token", "value": loss},),
        "extra": {"ncpl.conf": extra, "ncpl.max_step": max_step},
        "source_run": name,
    }
    return Run(
        run_id=f"{NAME}/{study}_{name}",
        source=NAME,
        same_as=None if twin is None else (twin,),
        **values,
        **{**fields, **length},
        **outcome,
        citation=CITATION,
        url=URL,
        file=file,
        record=f"entry {number}",
        is_copy=True,
        flags=None if twin else ("name_not_understood",),
        origins={
            **dict.fromkeys((*values, *outcome), "logged"),
            **dict.fromkeys(length, BY_LENGTH),
            **origins,
        },
        raw_config=config,
        curves=(Curve(metric, step, value, step * per_step if per_step else None),)
        if curve
        else (),
    )


def lengths(known: Mapping[str, Any], last: int) -> dict[str, Any]:
    """Return steps, tokens and status of a run whose last logged step is `last`, counted from 1.

    Nothing where they do not follow: the batch has to divide the budget the name tells.
    """
    per_step = known.get("batch_size_sequences", 0) * known.get("sequence_length", 0)
    budget = known.get("nominal_train_tokens", 0)
    steps = known.get("train_steps") or (
        budget // per_step if per_step and budget % per_step == 0 else 0
    )
    if not steps or not per_step:
        return {}
    is_whole = last >= (1 - marin.MISSING_END_FRAC) * steps
    found = {"train_steps": steps, "train_tokens": steps * per_step, "final_step": last}
    return found | {"status": "finished" if is_whole else "truncated"}


def facts_of(study: str, name: str) -> tuple[str | None, dict[str, Any], dict[str, Any]]:
    """Return the owner's run, and the columns and origins its name decides."""
    if study == "marin":
        named = marin.parse_name(name)
        if named is None:
            return None, ANY, dict.fromkeys(ANY, "declared")
        fields = {
            **marin.model_fields(named.size),
            "optimizer": named.optimizer,
            "nominal_train_tokens": named.nominal_tokens,
        }
        origins = dict.fromkeys(fields, BY_NAME) | dict.fromkeys(marin.DECLARED, "declared")
        return f"marin/{name}", {**marin.DECLARED, **fields}, origins
    run = steplaw.parse_name(name)
    if run is None:
        return None, ANY, dict.fromkeys(ANY, "declared")
    fields = {
        "d_model": run.shape[0],
        "d_ff": run.shape[1],
        "n_heads": run.shape[2],
        "n_layers": run.shape[3],
        "params_non_embedding": steplaw.dense_size(run.shape),
        "learning_rate": run.learning_rate,
        "min_learning_rate": run.min_learning_rate,
        "batch_size_sequences": run.batch_size_sequences,
        "train_steps": run.train_steps,
    }
    declared = {**steplaw.DECLARED, "sequence_length": steplaw.SEQUENCE_LENGTH}
    origins = dict.fromkeys(fields, BY_NAME) | dict.fromkeys(declared, "declared")
    return run.run_id, {**declared, **fields}, origins


SOURCE = Source(
    name=NAME,
    title="NCPL pretraining logs: the cleaned Marin and Step Law runs of the published split",
    owner="Zhang et al.",
    licence="MIT",
    citation=CITATION,
    url=URL,
    origins=(
        Origin(
            name="hub",
            title=f"files recorded from the data set {REPOSITORY}",
            licence="MIT",
            citation=CITATION,
            url=URL,
            revision="live",
            files=(
                RawFile(MARIN_FILE, sha256="", n_bytes=0),
                RawFile(STEPLAW_FILE, sha256="", n_bytes=0),
            ),
            n_runs=0,
            read=read,
            is_copy=True,
        ),
    ),
    traps=(
        "a live data set: record it first, then ingest the recording",
        "unstable, diverged and cut-off runs were filtered out by its authors",
        "model size is in millions, data size in billions; both follow from the run's name",
        "every run is also one of marin or steplaw (same_as)",
    ),
)
