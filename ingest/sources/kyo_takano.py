"""Chinchilla in small: sizes, tokens and losses of one language-model example."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from ncpl_data.catalog.errors import RawFileError
from ncpl_data.catalog.parquet import file_sha256
from ncpl_data.catalog.record import Run, Skipped
from ncpl_data.ingest.base import RawFile
from ncpl_data.ingest.single import run_with, single_source, validation

NAME = "kyo_takano"
CITATION = "Takano 2024, chinchilla: a toolkit for scaling-law research, examples/llm"
URL = "https://github.com/kyo-takano/chinchilla"
REVISION = "75e5858"
FILE = "df.csv.gz"
COLUMNS = ("C", "N", "D", "loss")
DECLARED: Mapping[str, Any] = {"stage": "pretrain", "modality": "text", "architecture": "decoder"}


def read(files: Mapping[str, Path]) -> Iterator[Run | Skipped]:
    """Yield one run a row, in file order."""
    path = files[FILE]
    digest = file_sha256(path)
    try:
        with pa.input_stream(path, compression="gzip") as file:
            rows = list(csv.DictReader(io.StringIO(file.read().decode())))
        for line, row in enumerate(rows, 2):
            flops, size, tokens, loss = (float(row[column]) for column in COLUMNS)
            about = {"params_total": int(size), "nominal_train_tokens": int(tokens)}
            yield run_with(
                about | {"train_flops": flops} | validation("loss", loss, split=None),
                DECLARED,
                run_id=f"{NAME}/row_{line - 2:03d}",
                source=NAME,
                citation=CITATION,
                url=URL,
                file="examples/llm/df.csv",
                file_sha256=digest,
                record=f"line {line}",
                is_copy=False,
                raw_config=dict(row),
            )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RawFileError(
            f"{NAME} {FILE}: {type(error).__name__} {error}; expected a compressed CSV file with "
            f"columns {', '.join(COLUMNS)}. Take it again from {URL}",
            source=NAME,
            file=FILE,
        ) from error


SOURCE = single_source(
    read,
    name=NAME,
    title="Takano's language-model example: 234 sizes, budgets and losses",
    owner="Kyo Takano",
    licence="Apache-2.0",
    citation=CITATION,
    url=URL,
    revision=REVISION,
    files=(
        RawFile(
            FILE,
            "72e14facd42766b3e0f2f8382e2b81c96844b4f3b85c1915213ca482a61e9b2e",
            5_372,
            bundled=f"ncpl_data.ingest:data/{NAME}/{FILE}",
        ),
    ),
    files_title="the example's table, compressed",
    n_runs=234,
    traps=(
        "rows of one size may be points of one run: the table does not say",
        "N is called the number of parameters; whether embeddings are in it is not said here",
        "data, tokenizer and which loss it is are not in the table",
    ),
)
