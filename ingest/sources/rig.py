"""rig: a 60M GPT at 8,192 tokens of context, five peak learning rates, three seeds."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ncpl_data.catalog.errors import RawFileError
from ncpl_data.catalog.parquet import file_sha256
from ncpl_data.catalog.record import Run, Skipped
from ncpl_data.ingest.base import RawFile, metric_of
from ncpl_data.ingest.packed import curve_of
from ncpl_data.ingest.single import run_with, single_source

NAME = "rig"
CITATION = "Fan 2026, rig: GPT pretraining studies in JAX"
URL = "https://github.com/honglu2875/rig"
REVISION = "753e7be75434c346ff5f0018e61fac81031b33be"
FILE = "8k-lr-sweep-60M.report-data.json.zst"
PAGE = "docs/reports/8k-lr-sweep-60M.html"
RUN_NAME = re.compile(r"60m-5tpp-bs(?P<batch>\d+)-lr2e-(?P<power>\d+)-s(?P<seed>\d+)")
LOSSES = {"validation_fineweb": "validation/loss", "train_loss": "train/loss"}
RATES = "learning_rate"
RATE_TOLERANCE = 1e-3
DECLARED: Mapping[str, Any] = {  # recipes/reference/dev.yaml, tier 60m, context 8k
    "stage": "pretrain",
    "modality": "text",
    "architecture": "decoder",
    "n_layers": 12,
    "d_model": 384,
    "d_ff": 1536,
    "n_heads": 6,
    "attention": "multi_head",
    "activation": "gelu",
    "norm": "rmsnorm",
    "position_encoding": "rope",
    "vocab_size": 50304,
    "is_embedding_tied": False,
    "parametrization": "completep",
    "init_std": 0.02,
    "sequence_length": 8192,
    "dataset": "fineweb",  # the held-out set is validation_fineweb
    "optimizer": "adamw",
    "weight_decay": 0.1,
    "adam_beta1": 0.9,
    "adam_beta2": 0.95,
    "adam_epsilon": 1e-8,
    "precision": "bfloat16",
}


def read(files: Mapping[str, Path]) -> Iterator[Run | Skipped]:
    """Yield one run of the report, in its order."""
    path = files[FILE]
    digest = file_sha256(path)
    try:
        with pa.input_stream(path, compression="zstd") as file:
            report = json.loads(file.read())
        series = {
            (chart["key"], line["run"]): line["points"]
            for chart in report["timeCharts"]
            for line in chart["series"]
        }
        for row in report["runs"]:
            yield run_of(row, series, digest)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RawFileError(
            f"{NAME} {FILE}: {type(error).__name__} {error}; expected the data of a report with "
            f"runs and timeCharts. Take it again from {URL}",
            source=NAME,
            file=FILE,
        ) from error


def run_of(
    row: Mapping[str, Any], series: Mapping[tuple[str, str], list[Any]], digest: str
) -> Run | Skipped:
    """Return one run; a name of another study is skipped."""
    name = row["id"]
    match = RUN_NAME.fullmatch(name)
    if match is None:
        return Skipped(f"{NAME}/{name}", reason="a name of another study", payload=dict(row))
    batch = int(match["batch"])
    per_step = batch * int(DECLARED["sequence_length"])
    curves = []
    for key, metric in LOSSES.items():
        points = series.get((key, name), [])
        if points:
            steps = np.array([point[0] for point in points], dtype=np.int64)
            values = np.array([point[2] for point in points], dtype=np.float64)
            curves.append(curve_of(NAME, FILE, metric, steps, values, steps * per_step))
    metrics = tuple(
        metric_of(c, split=c.metric.split("/")[0], unit="nats_per_token") for c in curves
    )
    primary = metrics[0]
    rates = [(int(point[0]), point[2]) for point in series[RATES, name]]
    peak_step, peak = max(rates, key=lambda point: point[1])
    by_name = "named in the run: 2 to the power"
    by_rates = "read off the logged learning rates"
    return run_with(
        {
            "seed": row["seed"],
            "final_step": row["finalStep"],
            "train_tokens": row["tokens"],
            "accelerator": row.get("chip"),
            "n_devices": row.get("devices"),
            "metrics": metrics,
            "final_loss": primary["value"],
            "final_loss_metric": primary["name"],
            "final_loss_unit": "nats_per_token",
        },
        DECLARED,
        {
            "learning_rate": (2.0 ** -int(match["power"]), by_name),
            "batch_size_sequences": (batch, "named in the run"),
            "train_steps": (row["finalStep"], "the last logged step, with the final rate"),
            "warmup_steps": (peak_step, f"{by_rates}: the step of the peak"),
            "schedule": (
                "cosine" if is_cosine(rates, peak_step, peak) else None,
                f"{by_rates}: a half cosine from the peak to the last",
            ),
            "min_learning_rate": (rates[-1][1], by_rates),
            "status": ("finished", "the report's own final step and token budget"),
        },
        run_id=f"{NAME}/{name}",
        source=NAME,
        source_run=name,
        citation=CITATION,
        url=URL,
        file=PAGE,
        file_sha256=digest,
        record=name,
        is_copy=False,
        curves=tuple(curves),
    )


def is_cosine(rates: list[tuple[int, float]], peak_step: int, peak: float) -> bool:
    """Return whether the logged rates fall along half a cosine after their peak."""
    last_step, last = rates[-1]
    for step, rate in rates:
        if step > peak_step:
            share = (step - peak_step) / (last_step - peak_step)
            due = last + (peak - last) * (1 + math.cos(math.pi * share)) / 2
            if abs(rate - due) > RATE_TOLERANCE * peak:
                return False
    return True


SOURCE = single_source(
    read,
    name=NAME,
    title="rig: 15 runs of a 60M GPT at five peak rates and three seeds, with curves",
    owner="Honglu Fan",
    licence="Apache-2.0",
    citation=CITATION,
    url=URL,
    revision=REVISION,
    files=(
        RawFile(
            FILE,
            "f66cac6cd39db2ec45e825b6f19938db7470cd1edcd5283dd5e535ed18c3e6e2",
            315_388,
            bundled=f"ncpl_data.ingest:data/rig/{FILE}",
        ),
    ),
    files_title="the data of one report page, decoded and compressed",
    n_runs=15,
    traps=(
        "lr2e-10 in a name is 2 to the power -10, not 2e-10",
        "points are step, cumulative FLOP, value; train losses are thinned",
        "the other reports and the full logs (quintic/rig-logs on Hugging Face) are not here",
    ),
)
