"""Runs recorded from a W&B project by `ncpl-data record`: JSON lines, one run a line.

A line holds name, displayName, state, tags, config and summary as W&B gives them (each value of
the configuration unwrapped), history (rows of _step and the recorded metric) and how many points
the service says there are.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ncpl_data.catalog.curve import Curve
from ncpl_data.catalog.errors import RawFileError
from ncpl_data.catalog.record import Run, Skipped
from ncpl_data.ingest.base import Origin, RawFile
from ncpl_data.ingest.secrets import scrubbed
from ncpl_data.ingest.studies import marin, marin_run, steplaw

FILE = "wandb_runs.jsonl"
WANDB_URL = "https://wandb.ai"
LAST_STEPS = 10
"""A run counts as finished when its last evaluation is at most so many steps before the end."""

STATES_WITHOUT_END = ("running", "pending", "preempting")

Record = Mapping[str, Any]
Read = Callable[[Mapping[str, Path]], Iterator[Run | Skipped]]


def origin(*, project: str, licence: str | None, citation: str, read: Read) -> Origin:
    """Return the origin of a project's recorded runs; nothing is pinned, a project grows."""
    return Origin(
        name="wandb",
        title=f"runs recorded from the W&B project {project}",
        licence=licence,
        citation=citation,
        url=f"{WANDB_URL}/{project}",
        revision="live",
        files=(RawFile(FILE, sha256="", n_bytes=0),),
        n_runs=0,
        read=read,
    )


def records(path: Path, source: str) -> Iterator[tuple[int, Record]]:
    """Yield (line number, record) of a recording.

    Raises RawFileError for a line that is no recorded run.
    """
    for line, text in enumerate(path.read_bytes().splitlines(), 1):
        try:
            row = json.loads(text)
            missing = [key for key in ("name", "config", "summary", "history") if key not in row]
        except (ValueError, TypeError) as error:
            missing = [str(error)]
        if missing:
            raise RawFileError(
                f"{source} {path.name} line {line}: no recorded run ({missing[0]}); record the "
                f"project again: ncpl-data record {source} --out FOLDER",
                source=source,
                file=path.name,
                line=line,
            )
        yield line, row


def points(row: Record, metric: str) -> dict[int, float]:
    """Return the finite points of one metric by step; a step logged again keeps its last value."""
    return {
        int(point["_step"]): float(point[metric])
        for point in row["history"]
        if isinstance(point.get(metric), (int, float)) and math.isfinite(point[metric])
    }


def history_flags(row: Record) -> list[str]:
    """Return a flag if the service gave a sample of the points only."""
    n_logged = row.get("points_logged")
    return ["curve_sampled"] if n_logged and len(row["history"]) < n_logged else []


def read_marin(files: Mapping[str, Path]) -> Iterator[Run | Skipped]:
    """Yield the runs of a recording of the Marin optimizer study."""
    seen: set[str] = set()
    for line, row in records(files[FILE], "marin"):
        name = str(row.get("displayName") or row["name"])
        if name in seen:
            yield Skipped(f"line {line}", reason="recorded_twice", detail=name)
            continue
        seen.add(name)
        yield marin_record(name, row)


def marin_record(name: str, row: Record) -> Run | Skipped:
    """Return one Marin run, or why it is none."""
    config, named = row["config"], marin.parse_name(name)
    if named is None:
        return Skipped(name, reason="name_of_another_study")
    if "optimizer" not in config or "trainer" not in config:
        return Skipped(name, reason="no_configuration", detail="young or crashed")
    if row.get("state") in STATES_WITHOUT_END:
        return Skipped(name, reason="still_running")
    trainer, hyper = config["trainer"], config["optimizer"]
    steps, keys = int(trainer["num_train_steps"]), marin.spelling_keys(named.optimizer)
    wanted = {*keys, "nesterov", "lr_schedule", "decay"} - {"steps"}
    flat = {key: hyper[key] for key in sorted(wanted) if hyper.get(key) is not None}
    flat["train_batch_size"] = int(trainer["train_batch_size"])
    curve = points(row, marin.METRIC)
    loss: Any = row["summary"].get(marin.METRIC)
    flags, extra = history_flags(row), {"marin.state": str(row.get("state"))}
    digest = marin.verify_digest(name, named.optimizer, flat, steps)
    extra["marin.digest"] = digest or "unchecked"
    if digest == "wrong":
        flags.append("digest_contradicts_config")
    if not isinstance(loss, (int, float)) or not math.isfinite(loss) or loss > marin_run.MAX_LOSS:
        extra["marin.logged_loss"] = str(loss)
        loss = None if loss is None else math.nan
    last = max(curve, default=-1)
    tags = [tag for tag in marin.OPTIMIZERS if marin.OPTIMIZERS[tag] == named.optimizer]
    tag = max((t for t in tags if named.group.startswith(t)), key=len, default=tags[0])
    return marin_run.build(
        {
            "optimizer": tag,
            "size": named.size,
            "tokens": named.nominal_tokens,
            "config": flat,
            "changed": None,
        },
        run_id=f"marin/{name}",
        name=name,
        steps=steps,
        loss=None if loss is None else float(loss),
        curve=marin_curve(row, curve),
        record=f"{row['name']}:",
        extra=extra,
        flags=flags,
        notes=None,
        named_by=marin_run.LOGGED,
        url=f"{WANDB_URL}/{row.get('project', '')}/runs/{row['name']}",
        is_whole=last >= steps - LAST_STEPS,
    )


def marin_curve(row: Record, curve: Mapping[int, float]) -> Record | None:
    """Return a curve and the downstream accuracies in the form of the curves file."""
    if not curve:
        return None
    prefix, suffix = "lm_eval/", "/acc"
    accuracies = {
        key.removeprefix(prefix).removesuffix(suffix): value
        for key, value in row["summary"].items()
        if key.startswith(prefix) and key.endswith(suffix) and isinstance(value, (int, float))
        if "averages" not in key
    }
    steps = sorted(curve)
    return {
        "optimizer": None,
        "size": None,
        "data_tag": None,
        "step": steps,
        "eval_paloma_c4_en_loss": [curve[step] for step in steps],
        "lm_eval_acc": accuracies,
    }


def read_steplaw(files: Mapping[str, Path]) -> Iterator[Run | Skipped]:
    """Yield the dense runs of a recording of the Step Law project.

    Their configuration is read from the name, as in the project's tables.
    """
    seen: set[str] = set()
    for line, row in records(files[FILE], steplaw.SOURCE_NAME):
        name = str(row.get("displayName") or row["name"])
        named = steplaw.parse_name(name)
        if named is None:
            yield Skipped(name, reason="name_of_another_study")
        elif row.get("state") in STATES_WITHOUT_END:
            yield Skipped(name, reason="still_running")
        elif named.run_id in seen:
            yield Skipped(f"line {line}", reason="recorded_twice", detail=name)
        else:
            seen.add(named.run_id)
            yield steplaw_record(name, named, row)


def steplaw_record(name: str, named: steplaw.StepLawName, row: Record) -> Run:
    """Return one Step Law run: the last smoothed loss is its target."""
    steps, batch = named.train_steps, named.batch_size_sequences
    found = points(row, str(row.get("metric")))
    at = np.array(sorted(found), dtype=np.int64)
    value = np.array([found[step] for step in at.tolist()], dtype=np.float64)
    tokens_per_step = batch * steplaw.SEQUENCE_LENGTH
    is_whole = len(at) > 0 and int(at[-1]) >= steps - LAST_STEPS
    loss = float(value[-1]) if len(at) else None
    metric: dict[str, Any] = {
        "name": steplaw.TARGET,
        "split": "train",
        "unit": "nats_per_token",
        "smoothing": "gaussian",
    }
    if loss is not None:
        metric |= {"step": int(at[-1]), "value": loss}
    by_name = {"kind": "derived", "rule": "the run's name"}
    width, ffn, heads, layers = named.shape
    values = {
        "source_run": name,
        "learning_rate": named.learning_rate,
        "min_learning_rate": named.min_learning_rate,
        "d_model": width,
        "d_ff": ffn,
        "n_heads": heads,
        "n_layers": layers,
        "params_non_embedding": steplaw.dense_size(named.shape),
        "batch_size_sequences": batch,
        "train_steps": steps,
        "train_tokens": tokens_per_step * steps,
    }
    outcome: dict[str, Any] = {
        "status": None if loss is None else steplaw.status_of(loss, is_whole=is_whole),
        "final_loss": loss,
        "final_loss_metric": steplaw.TARGET,
        "final_loss_unit": "nats_per_token",
        "metrics": (metric,),
    }
    return Run(
        run_id=named.run_id,
        source=steplaw.SOURCE_NAME,
        **values,  # type: ignore[arg-type]
        **outcome,
        **steplaw.DECLARED,
        sequence_length=steplaw.SEQUENCE_LENGTH,
        url=f"{WANDB_URL}/{row.get('project', '')}/runs/{row['name']}",
        file=FILE,
        record=str(row["name"]),
        is_copy=False,
        origins={
            **dict.fromkeys(values, by_name),
            **dict.fromkeys(outcome, "logged"),
            **dict.fromkeys((*steplaw.DECLARED, "sequence_length"), "declared"),
        },
        flags=tuple(history_flags(row)) or None,
        raw_config=scrubbed(row["config"]),
        curves=(Curve(steplaw.TARGET, at, value, at * tokens_per_step),) if len(at) else (),
    )
