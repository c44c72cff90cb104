"""Marin's isoFLOP runs on three data sets, as Open Athena's table gives them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ncpl_data.catalog.parquet import file_sha256
from ncpl_data.catalog.record import Run, Skipped
from ncpl_data.ingest.base import CsvRow, RawFile, csv_rows
from ncpl_data.ingest.single import run_with, single_source, validation

NAME = "marin_isoflops"
CITATION = "Open Athena 2026, scaling-law-analysis; runs: Marin community, isoFLOP experiments"
URL = "https://github.com/Open-Athena/scaling-law-analysis"
REVISION = "3e0656ee3dce1a2c89aa67691920f5eb9d30f0fc"
DATASETS = {"comma": "comma", "dclm": "dclm", "nemotron": "nemotron"}
FILES = {name: f"isoflop-{name}.csv" for name in DATASETS}
RATES = ("optimizer.learning_rate", "learning_rate")
COLUMNS = (
    "Name", "parameter_count", "throughput/total_tokens", "eval/paloma/macro_loss",
    "trainer.train_batch_size", "trainer.num_train_steps", "model.hidden_dim", "model.num_layers",
)  # fmt: skip
METRIC = "eval/paloma/macro_loss"
VOCABULARY = 128_256
WIDTHS = 16
"""Matrices of one block in squares of its width: 4 of attention, 12 of a gated layer 4 wide."""
SHAPE_TOLERANCE = 0.005
DECLARED: Mapping[str, Any] = {
    "stage": "pretrain",
    "modality": "text",
    "architecture": "decoder",
    "model_family": "llama",
    "framework": "levanter",
}
RATE, WARMUP, DECAY = 0.33, 0.1, 0.2
RECIPE = (
    "marin-community/marin experiments/isoflop_sweep.py at 06a406e: rate .33 sqrt(batch) / width, "
    "beta2 the larger of .95 and .98^(batch / 128), warm-up .1 and linear decay .2 of the steps; "
    "its rate is that of each of the 177 rows that state one"
)


def read(files: Mapping[str, Path]) -> Iterator[Run | Skipped]:
    """Yield one run a row, one data set after the other."""
    for dataset, file in FILES.items():
        digest = file_sha256(files[file])
        for line, values in csv_rows(files[file], NAME, COLUMNS):
            row = CsvRow(NAME, file, line, values)
            ref = f"{NAME}/{row.text('Name')}"
            if not row.text(METRIC):
                yield Skipped(ref, reason="no loss", payload=dict(values))
            else:
                yield run_of(row, dataset, digest)


def run_of(row: CsvRow, dataset: str, digest: str) -> Run:
    """Return the run of one row."""
    width, layers = row.count("model.hidden_dim"), row.count("model.num_layers")
    batch, steps = row.count("trainer.train_batch_size"), row.count("trainer.num_train_steps")
    tokens, total = row.count("throughput/total_tokens"), row.count("parameter_count")
    loss = row.number(METRIC)
    rate = next((row.values[c] for c in RATES if row.values.get(c)), None)
    blocks = total - 2 * VOCABULARY * width
    is_known = abs(blocks / (layers * WIDTHS * width**2) - 1) <= SHAPE_TOLERANCE
    rule = "a gated layer 4 wide and two tables of 128,256 give parameter_count"
    recipe: dict[str, Any] = {
        "learning_rate": RATE * math.sqrt(batch) / width if rate is None else None,
        "adam_beta2": max(0.95, 0.98 ** (batch / 128)),
        "warmup_steps": int(WARMUP * steps),
        "decay_steps": int(DECAY * steps),
    }
    shape: dict[str, Any] = {
        "params_non_embedding": blocks,
        "vocab_size": VOCABULARY,
        "is_embedding_tied": False,
        "is_ffn_gated": True,
        "d_ff": 4 * width,
    }
    return run_with(
        {
            "n_layers": layers,
            "d_model": width,
            "params_total": total,
            "learning_rate": None if rate is None else float(rate),
            "batch_size_sequences": batch,
            "train_steps": steps,
            "train_tokens": tokens,
            **validation(METRIC, loss, dataset="paloma"),
        },
        {**DECLARED, "dataset": DATASETS[dataset]},
        {column: (value, rule) for column, value in shape.items() if is_known}
        | {column: (value, RECIPE) for column, value in recipe.items() if value is not None}
        | {
            "sequence_length": (
                tokens // (batch * steps) if tokens % (batch * steps) == 0 else None,
                "total_tokens / (batch x steps)",
            ),
            "tokenizer": ("meta-llama/Meta-Llama-3.1-8B" if is_known else None, rule),
        },
        run_id=f"{NAME}/{dataset}_{row.text('Name')}",
        source=NAME,
        source_run=row.text("Name"),
        citation=CITATION,
        url=URL,
        file=f"data/isoflops/extract/marin_202603/raw/{row.file}",
        file_sha256=digest,
        record=f"line {row.line}",
        is_copy=True,
        raw_config=dict(row.values),
    )


PINS = {
    "comma": ("0b352c08b3c96d97ef3d7534becbc0a2918493e6e37961943b022056277e4406", 14_293),
    "dclm": ("8a75a0fbc7b34250501de17ab336fdf99d6bee67e44f62b8bed4b81fb9f033af", 13_355),
    "nemotron": ("5e615183ba71083721a5bc169adf7c9c997c4820fd69f383f108e0a4ca3ea375", 14_398),
}
SOURCE = single_source(
    read,
    name=NAME,
    title="Marin isoFLOP runs on Comma, DCLM and Nemotron",
    owner="Open Athena; runs: the Marin community",
    licence=None,
    citation=CITATION,
    url=URL,
    revision=REVISION,
    files=tuple(RawFile(FILES[name], *pin) for name, pin in PINS.items()),
    files_title="three W&B tables",
    n_runs=273,
    traps=(
        "the repository states no licence (a copy on Hugging Face says Apache-2.0): not shipped",
        "the loss is the mean over Paloma's sets, not one set's",
        "optimizer, schedule and warm-up are not in the tables",
    ),
)
