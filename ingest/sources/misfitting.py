"""(Mis)fitting scaling laws: open_lm runs over size, tokens and peak learning rate."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ncpl_data.catalog.parquet import file_sha256
from ncpl_data.catalog.record import Run, Skipped
from ncpl_data.ingest.base import CsvRow, RawFile, csv_rows
from ncpl_data.ingest.single import run_with, single_source, validation

NAME = "misfitting"
CITATION = (
    "Li, Kudugunta, Zettlemoyer 2025, (Mis)Fitting: A Survey of Scaling Laws (ICLR 2025), "
    "arXiv:2502.18969"
)
URL = "https://github.com/hadasah/scaling_laws"
REVISION = "1f3708c0a12df0effb0ee906b1da5f9f0ff4f4f1"
FILE = "scaling_results_last_ckpt_only.csv"
COLUMNS = (
    "loss", "N", "N_no_emb", "train_tokens", "total_steps", "current_steps", "model", "peak_lr",
    "sweep",
)  # fmt: skip
SEQUENCE_LENGTH = 2048
VOCABULARY = 50_432
SHAPES: Mapping[str, tuple[int, int, int]] = {
    "misfitting_100m": (768, 14, 12),
    "misfitting_12m": (448, 5, 7),
    "misfitting_130m": (832, 16, 13),
    "misfitting_160m": (896, 17, 14),
    "misfitting_17m": (448, 7, 7),
    "misfitting_1b": (1792, 26, 28),
    "misfitting_200m": (960, 18, 15),
    "misfitting_25m": (512, 8, 8),
    "misfitting_2b": (2176, 35, 34),
    "misfitting_300m": (1152, 19, 18),
    "misfitting_35m": (576, 9, 9),
    "misfitting_400m": (1280, 20, 20),
    "misfitting_50m": (640, 10, 10),
    "misfitting_70m": (704, 12, 11),
}
"""Width, layers and heads: open_lm/model_configs/misfitting_*.json at the revision."""
DECLARED: Mapping[str, Any] = {
    "stage": "pretrain",
    "modality": "text",
    "architecture": "decoder",
    "model_family": "open_lm",
    "attention": "multi_head",
    "is_embedding_tied": False,
    "vocab_size": VOCABULARY,
    "sequence_length": SEQUENCE_LENGTH,
    "dataset": "fineweb",
    "tokenizer": "gpt-neox",
}


def read(files: Mapping[str, Path]) -> Iterator[Run | Skipped]:
    """Yield one run a row: the last checkpoint of each."""
    digest = file_sha256(files[FILE])
    for line, values in csv_rows(files[FILE], NAME, COLUMNS):
        row = CsvRow(NAME, FILE, line, values)
        if not math.isfinite(float(row.text("loss") or "nan")):
            yield Skipped(f"{NAME}/line_{line}", reason="no finite loss", payload=dict(values))
        else:
            yield run_of(row, digest)


def run_of(row: CsvRow, digest: str) -> Run:
    """Return the run of one row."""
    steps, tokens = row.count("total_steps"), row.count("train_tokens")
    per_step = tokens / steps / SEQUENCE_LENGTH
    shape = SHAPES.get(row.text("model"))
    is_whole = row.count("current_steps") >= steps
    declared = {**DECLARED}
    if shape is not None:
        declared |= dict(zip(("d_model", "n_layers", "n_heads"), shape, strict=True))
    return run_with(
        {
            "params_total": row.count("N"),
            "params_non_embedding": row.count("N_no_emb"),
            "learning_rate": row.number("peak_lr"),
            "train_steps": steps,
            "train_tokens": tokens,
            "final_step": row.count("current_steps"),
            **validation("validation/c4", row.number("loss"), dataset="c4"),
        },
        declared,
        {
            "batch_size_sequences": (
                round(per_step) if per_step == round(per_step) else None,
                "train_tokens / total_steps / sequence length",
            ),
            "status": ("finished" if is_whole else "truncated", "the last step is the planned one"),
        },
        run_id=f"{NAME}/{row.text('model').removeprefix('misfitting_')}_{steps}_lr"
        f"{row.text('peak_lr')}_{row.line}",
        source=NAME,
        source_run=row.text("sweep"),
        citation=CITATION,
        url=URL,
        file=f"data/{FILE}",
        file_sha256=digest,
        record=f"line {row.line}",
        is_copy=False,
        raw_config=dict(row.values),
    )


SOURCE = single_source(
    read,
    name=NAME,
    title="(Mis)fitting: 261 open_lm runs on FineWeb, 12M to 1B",
    owner="Li, Kudugunta and Zettlemoyer",
    licence=None,
    citation=CITATION,
    url=URL,
    revision=REVISION,
    files=(
        RawFile(
            FILE,
            "cd96b9eb8e5b2adc80e6739a642dd8554590edc96234d36859ab6ed0f5c30562",
            58_697,
            url=f"https://raw.githubusercontent.com/hadasah/scaling_laws/{REVISION}/data/{FILE}",
        ),
    ),
    files_title="the last checkpoint of each run",
    n_runs=261,
    traps=(
        "no licence is stated: downloaded or read with --from, not shipped",
        "N counts both tables of 50,432 x width, N_no_emb neither",
        "schedule, warm-up and weight decay are not in the table",
    ),
)
