"""Loss-to-loss prediction: 535 OLMo runs over six data sets, final losses on eight sets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ncpl_data.catalog.record import Evaluation, Run, Skipped
from ncpl_data.ingest.base import CsvRow, Origin, RawFile, Source
from ncpl_data.ingest.packed import csv_dicts, from_compressed, from_originals, sha256

NAME = "loss_to_loss"
CITATION = (
    "Brandfonbrener et al. 2025, Loss-to-Loss Prediction: Scaling Laws for All Datasets, "
    "arXiv:2411.12925"
)
URL = "https://github.com/KempnerInstitute/loss-to-loss-notebooks"
REVISION = "457ce81a019019bc3981937c20a70c52f5fad436"

FILES = ("sweep.csv", "extrapolation.csv")
PRIMARY = "validation/c4"
LOSS = re.compile(r"eval/(?P<set>[\w-]+?)_val/CrossEntropyLoss")
TASK = re.compile(r"eval/downstream\w*/(?P<task>\w+?)_(?P<kind>acc|len_norm|ctx_ce_loss|ce_loss)")
TRAIN = {
    "train/CrossEntropyLoss": ("train/loss", "none"),
    "train_loss_5": ("train/loss_mean_5", "mean of the last 5 logged values"),
    "train_loss_10": ("train/loss_mean_10", "mean of the last 10 logged values"),
    "train_loss_20": ("train/loss_mean_20", "mean of the last 20 logged values"),
    "train_loss_100": ("train/loss_mean_100", "mean of the last 100 logged values"),
}
COLUMNS = (
    *("id", "name", "state", "n_layers", "d_model", "params", "data", "iso_flop", "tokens"),
    *("steps", "eval/c4_val/CrossEntropyLoss", *TRAIN),
)
LOGGED = (
    *("source_run", "n_layers", "d_model", "params_total", "dataset", "train_steps"),
    *("nominal_train_tokens", "train_flops", "final_loss", "metrics"),
)
DECLARED: Mapping[str, Any] = {
    "stage": "pretrain",
    "modality": "text",
    "architecture": "decoder",
    "model_family": "olmo",
    "final_loss_metric": PRIMARY,
    "final_loss_unit": "nats_per_token",
}
STATES = {"finished": "finished", "crashed": "failed", "failed": "failed"}


def read(contents: Mapping[str, bytes]) -> Iterator[Run | Skipped]:
    """Yield one run a row of the sweep, then of the six larger runs."""
    for name in FILES:
        digest = sha256(contents[name])
        for line, row in csv_dicts(contents[name], NAME, name, COLUMNS):
            yield run_of(row, line, digest)


def run_of(row: CsvRow, line: int, digest: str) -> Run:
    """Return the run of one row."""
    metrics = tuple(metrics_of(row))
    return Run(
        run_id=f"{NAME}/{row.text('id')}",
        source=NAME,
        source_run=row.text("name"),
        n_layers=row.count("n_layers"),
        d_model=row.count("d_model"),
        params_total=row.count("params"),
        dataset=row.text("data"),
        train_steps=row.count("steps"),
        warmup_steps=row.count("steps") // 5,
        nominal_train_tokens=round(row.number("tokens")),
        train_flops=row.number("iso_flop"),
        status=STATES.get(row.text("state")),
        final_loss=next(m["value"] for m in metrics if m["name"] == PRIMARY),
        metrics=metrics,
        citation=CITATION,
        url=URL,
        file=f"data/{row.file}",
        file_sha256=digest,
        record=f"line {line}",
        is_copy=False,
        origins=dict.fromkeys(DECLARED, "declared")
        | dict.fromkeys(LOGGED, "logged")
        | {
            "status": {"kind": "derived", "rule": "the state of the W&B run"},
            "warmup_steps": {
                "kind": "derived",
                "rule": "steps // 5: t_warmup of every run of configs/sweeps/scale.yaml of "
                "KempnerInstitute/loss-to-loss-olmo at fd21e3b",
            },
        },
        evals=tuple(
            Evaluation(match["task"], match["kind"], row.number(column))
            for column in row.values
            if (match := TASK.fullmatch(column)) and row.text(column)
        ),
        **DECLARED,
    )


def metrics_of(row: CsvRow) -> Iterator[dict[str, Any]]:
    """Yield the eight validation losses, the last train loss and means of the last ones."""
    for column in row.values:
        match = LOSS.fullmatch(column)
        if match and row.text(column):
            yield {
                "name": f"validation/{match['set']}",
                "split": "validation",
                "dataset": match["set"],
                "unit": "nats_per_token",
                "value": row.number(column),
            }
    for column, (name, smoothing) in TRAIN.items():
        yield {
            "name": name,
            "split": "train",
            "unit": "nats_per_token",
            "smoothing": smoothing,
            "value": row.number(column),
        }


SHEET: Mapping[str, Any] = {
    "title": "the sweep of 529 runs and six runs of 3.3B",
    "licence": None,
    "citation": CITATION,
    "url": URL,
    "revision": REVISION,
    "n_runs": 535,
}
RAW = f"https://raw.githubusercontent.com/KempnerInstitute/loss-to-loss-notebooks/{REVISION}/data"
EXTRAPOLATION = RawFile(
    "extrapolation.csv",
    "2c7cecc44aa016464e2d4e42b339798eb899ec9d0d313f618dae8bd3ce0757b3",
    11_863,
    url=f"{RAW}/extrapolation.csv",
)
SOURCE = Source(
    name=NAME,
    title="Loss-to-loss prediction: 535 runs over six data sets and nine compute budgets",
    owner="Kempner Institute (Brandfonbrener et al.)",
    licence=None,
    citation=CITATION,
    url=URL,
    origins=(
        Origin(
            name="upstream",
            files=(
                RawFile(
                    "sweep.csv",
                    "1a9fd71e3bd6ecf35bdd32b660a9b42dbb3b8635630b1a358633fa18d61fb13c",
                    791_700,
                    url=f"{RAW}/sweep.csv",
                ),
                EXTRAPOLATION,
            ),
            read=from_originals(read),
            **SHEET,
        ),
        Origin(
            name="compressed",
            files=(
                RawFile(
                    "sweep.csv.zst",
                    "5095420da70746d67f1d808a974ba4f485fb38cb3fcbf1facf2cf434b98fc06a",
                    258_843,
                ),
                EXTRAPOLATION,
            ),
            read=from_compressed(read),
            **SHEET,
        ),
    ),
    traps=(
        "tokens is the compute budget over FLOPs per token, a fraction: a nominal budget",
        "the column flops is per token, iso_flop is the run's budget",
        "train losses are one batch, or means of the last 5 to 100 logged values",
        "perplexities repeat the losses: left out",
        "no licence is stated: downloaded, not shipped",
    ),
)
