"""OpenAI Parameter Golf: small decoders trained for ten minutes, read from their logs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ncpl_data.catalog.curve import Curve
from ncpl_data.catalog.errors import RawFileError
from ncpl_data.catalog.record import Run, Skipped
from ncpl_data.ingest.base import Origin, RawFile, Source, metric_of, packed_lines
from ncpl_data.ingest.segments import joined

NAME = "parameter_golf"
CITATION = "OpenAI Parameter Golf (openai/parameter-golf), records/ of 2026-05-02"
URL = "https://github.com/openai/parameter-golf"
REVISION = "4908dc46f21ed3fdd08d2fdca285deb2194b9599"
FILE = "records_logs.jsonl.zst"

PRIMARY = "validation/bpb"
METRICS = {
    # name: (key in a step line, part of the data, unit)
    PRIMARY: ("val_bpb", "validation", "bits_per_byte"),
    "validation/loss": ("val_loss", "validation", "nats_per_token"),
    "train/loss": ("train_loss", "train", "nats_per_token"),  # one batch
    "loss": ("loss", "train", "other"),  # three logs of other scripts; may hold other terms
}
STEP = re.compile(r"(?:[\d.]+s? )?(?:step:)?(?P<step>\d+)/\d+ (?P<rest>.*)")
PAIR = re.compile(r"(?<![\w.])([A-Za-z_]\w*):(?= ?(\S*))")

# Key in a log, and the column it is where it means the same.
COLUMNS: Mapping[str, tuple[str, type]] = {
    "num_layers": ("n_layers", int),
    "model_dim": ("d_model", int),
    "num_heads": ("n_heads", int),
    "num_kv_heads": ("n_kv_heads", int),
    "vocab_size": ("vocab_size", int),
    "model_params": ("params_total", int),
    "matrix_lr": ("learning_rate", float),
    "train_seq_len": ("sequence_length", int),
    "grad_clip_norm": ("grad_clip_norm", float),
    "muon_wd": ("weight_decay", float),
    "muon_momentum": ("momentum", float),
    "beta1": ("adam_beta1", float),
    "beta2": ("adam_beta2", float),
    "adam_eps": ("adam_epsilon", float),
    "seed": ("seed", int),
    "world_size": ("n_devices", int),
    "dataset": ("dataset", str),
}
RATES = {
    "matrix_lr": "matrix",
    "embed_lr": "embedding",
    "head_lr": "unembedding",
    "scalar_lr": "scalar",
}


def read(files: Mapping[str, Path]) -> Iterator[Run | Skipped]:
    """Yield one run a log, in file order; a log without a step line is skipped."""
    for number, record in enumerate(packed_lines(files[FILE], NAME), 1):
        try:
            yield run_of(record)
        except (KeyError, TypeError, ValueError) as error:
            raise bad_file(f"line {number}: {type(error).__name__} {error}") from error


def bad_file(what: str) -> RawFileError:
    """Return the error that says what is wrong with the file."""
    return RawFileError(
        f"{NAME} {FILE}: {what}; expected one log a line with path, blob, config_lines, "
        "step_lines and closing_lines. Take it again, or use the shipped copy",
        source=NAME,
        file=FILE,
    )


def run_of(record: Mapping[str, Any]) -> Run | Skipped:
    """Return the run of one log."""
    path = record["path"]
    curves, seconds, n_dropped = curves_of(record["step_lines"])
    if not curves:
        return Skipped(path, reason="no_step_line")
    config = settings(record["config_lines"])
    values = {
        column: kind(config[key]) for key, (column, kind) in COLUMNS.items() if config.get(key)
    }
    if config.get("tie_embeddings") in ("True", "False"):
        values["is_embedding_tied"] = config["tie_embeddings"] == "True"
    rates = [
        {"group": group, "learning_rate": float(config[key])}
        for key, group in RATES.items()
        if float(config.get(key) or 0) > 0  # 0 where the group does not exist
    ]
    if rates:
        values["learning_rate_groups"] = tuple(rates)
    last = max(int(curve.step[-1]) for curve in curves)
    derived: dict[str, tuple[Any, str]] = {
        "final_step": (last, "the last logged step; the run stops on a time limit"),
        "status": ("finished", "the log closes with the size of the saved model"),
    }
    batch_tokens = int(config.get("train_batch_tokens") or 0)
    length = values.get("sequence_length")
    if batch_tokens and length and batch_tokens % length == 0:
        derived["batch_size_sequences"] = (batch_tokens // length, "batch tokens / sequence length")
        derived["train_tokens"] = (batch_tokens * last, "batch tokens x last step")
    if not any("Serialized model" in line for line in record["closing_lines"]):
        del derived["status"]
    if seconds is not None:
        derived["wall_time_seconds"] = (seconds, "the last step line's train_time")
    if batch_tokens:  # the curves get their tokens once the batch is known
        curves = [Curve(c.metric, c.step, c.value, c.step * batch_tokens) for c in curves]
    metrics = tuple(
        metric_of(
            curve, split=METRICS[curve.metric][1], unit=METRICS[curve.metric][2], smoothing="none"
        )
        for curve in curves
    )
    primary = next((m for m in metrics if m["name"] == PRIMARY), None)
    if primary is not None:
        values |= {
            "final_loss": primary["value"],
            "final_loss_metric": PRIMARY,
            "final_loss_unit": primary["unit"],
        }
    declared: dict[str, Any] = {"stage": "pretrain", "modality": "text", "architecture": "decoder"}
    name = path.removeprefix("records/").rsplit(".", 1)[0]
    identity = re.sub(r"[^A-Za-z0-9._@:+=,~/-]+", "_", name)  # one folder's name has spaces
    return Run(
        run_id=f"{NAME}/{identity}",
        source=NAME,
        source_run=name,
        **values,
        **{column: value for column, (value, _) in derived.items()},
        **declared,
        metrics=metrics,
        citation=CITATION,
        url=f"{URL}/blob/{REVISION}/{path}",
        file=path,
        record=f"blob {record['blob']}",
        is_copy=False,
        flags=("segments_joined",) if n_dropped else None,
        origins={
            **dict.fromkeys(values, "logged"),
            **{c: {"kind": "derived", "rule": rule} for c, (_, rule) in derived.items()},
            **dict.fromkeys(declared, "declared"),
            "metrics": "logged",
        },
        raw_config=config,
        curves=tuple(curves),
    )


def settings(lines: Iterable[str]) -> dict[str, str]:
    """Return the key:value pairs a log prints; a path of the author's machine is cut already."""
    return {key: value for line in lines for key, value in PAIR.findall(line)}


def curves_of(lines: Iterable[str]) -> tuple[list[Curve], float | None, int]:
    """Return a log's curves without tokens, the seconds its last line tells, and points dropped."""
    points: dict[str, tuple[list[int], list[float]]] = {}
    seconds = None
    for line in lines:
        match = STEP.match(line)
        if match is None:
            raise ValueError(f'"{line[:60]}" is no step line')
        pairs = dict(PAIR.findall(match["rest"]))
        for metric, (key, _, _) in METRICS.items():
            if key in pairs and np.isfinite(float(pairs[key])):
                steps, values = points.setdefault(metric, ([], []))
                steps.append(int(match["step"]))
                values.append(float(pairs[key]))
        seconds = seconds_of(pairs.get("train_time", "")) or seconds
    curves, n_dropped = [], 0
    for metric, (steps, values) in points.items():
        step = np.array(steps, dtype=np.int64)
        kept = joined(step)
        n_dropped += len(step) - len(kept)
        curves.append(Curve(metric, step[kept], np.array(values)[kept]))
    return curves, seconds, n_dropped


def seconds_of(text: str) -> float | None:
    """Return a time as a log prints it, 600061ms or 4.3m, in seconds."""
    if text.endswith("ms"):
        return float(text.removesuffix("ms")) / 1000
    return float(text.removesuffix("m")) * 60 if text.endswith("m") else None


SOURCE = Source(
    name=NAME,
    title="Parameter Golf: 161 merged records of 16 MB models trained in ten minutes",
    owner="OpenAI and the authors of the records",
    licence="MIT",
    citation=CITATION,
    url=URL,
    origins=(
        Origin(
            name="shipped",
            title="the configuration, step and closing lines of 161 logs",
            licence="MIT",
            citation=CITATION,
            url=URL,
            revision=REVISION,
            files=(
                RawFile(
                    FILE,
                    "2c5b47d364f112173fdf14f339af4d9123de11ac083cf09ee799729c23e4d92f",
                    113_036,
                    bundled=f"ncpl_data.ingest:data/{NAME}/{FILE}",
                ),
            ),
            n_runs=161,
            read=read,
        ),
    ),
    traps=(
        "a run stops on a time limit: iterations is an upper bound, so no planned length is given",
        "warmup_steps:20 warms the compiler up, not the learning rate",
        "val_loss is not comparable between vocabularies, val_bpb is: it is the run's loss",
        "scores in the closing lines are after quantisation or test-time training",
        "a rate of 0 stands for a group that does not exist",
        "five logs repeat steps, one of them holds the end of another run: the segment that "
        "reaches furthest is kept",
    ),
)
