"""Chinchilla's points as an example of another toolkit repeats them, under an open licence."""

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
from ncpl_data.ingest.studies.chinchilla_shapes import RULE, shape_of

NAME = "kyo_takano"
CITATION = "Takano 2024, chinchilla: a toolkit for scaling-law research, examples/llm"
URL = "https://github.com/kyo-takano/chinchilla"
REVISION = "75e5858"
FILE = "df.csv.gz"
SHA256 = "72e14facd42766b3e0f2f8382e2b81c96844b4f3b85c1915213ca482a61e9b2e"
COLUMNS = ("C", "N", "D", "loss")
METRIC = "train/loss_smoothed"
SIZE_TOLERANCE = 0.003
POINTS = (
    47, 49, 48, 52, 94, 51, 95, 50, 44, 39, 55, 136, 41, 53, 43, 96, 30, 40, 31, 42, 45, 46, 54,
    137, 97, 98, 56, 138, 82, 79, 77, 81, 78, 21, 18, 58, 20, 80, 19, 22, 16, 17, 99, 57, 139,
    196, 100, 140, 101, 83, 102, 141, 84, 103, 85, 143, 142, 86, 197, 162, 163, 166, 68, 161, 87,
    65, 88, 63, 164, 62, 64, 33, 60, 61, 32, 34, 35, 146, 198, 90, 145, 148, 89, 144, 200, 149,
    147, 93, 199, 92, 150, 201, 91, 165, 71, 67, 151, 69, 72, 154, 66, 70, 37, 38, 36, 186, 152,
    203, 202, 187, 153, 74, 204, 188, 155, 28, 189, 26, 29, 27, 23, 73, 25, 24, 6, 8, 14, 15, 9,
    7, 157, 76, 191, 156, 75, 192, 190, 234, 119, 131, 132, 120, 118, 115, 133, 193, 235, 130,
    122, 113, 194, 121, 135, 236, 114, 195, 134, 123, 116, 226, 176, 205, 224, 225, 227, 206, 180,
    177, 175, 238, 107, 106, 167, 117, 181, 184, 172, 237, 183, 168, 182, 173, 223, 221, 222, 217,
    170, 109, 213, 174, 212, 171, 169, 108, 214, 218, 219, 215, 125, 230, 220, 232, 207, 209, 233,
    208, 231, 210, 211, 127, 126, 124, 104, 105, 216, 240, 239, 128, 241, 178, 242, 129, 243, 158,
    159, 110, 228, 229, 111, 160, 112, 179, 185, 244,
)  # fmt: skip
"""Row by row, the point of `chinchilla` with the same size, tokens and loss, each rounded: every
row has exactly one."""
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
                about | {"train_flops": flops} | validation(METRIC, loss, split="train"),
                DECLARED,
                sizes_of(size),
                run_id=f"{NAME}/row_{line - 2:03d}",
                source=NAME,
                same_as=twin_of(line - 2) if digest == SHA256 else None,
                flags=("digitised",),
                citation=CITATION,
                url=URL,
                file="examples/llm/df.csv",
                file_sha256=digest,
                record=f"line {line}",
                is_copy=True,
                raw_config=dict(row),
            )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RawFileError(
            f"{NAME} {FILE}: {type(error).__name__} {error}; expected a compressed CSV file with "
            f"columns {', '.join(COLUMNS)}. Take it again from {URL}",
            source=NAME,
            file=FILE,
        ) from error


def twin_of(row: int) -> tuple[str, ...]:
    """Return the id of the same point in `chinchilla`, for a row of the pinned file."""
    return (f"chinchilla/point_{POINTS[row]:03d}",)


def sizes_of(size: float) -> dict[str, tuple[Any, str]]:
    """Return the shape of a size, and its count without the table, where one shape is meant."""
    shape = shape_of(size, SIZE_TOLERANCE)
    if shape is None:
        return {}
    rule = f"{RULE} {SIZE_TOLERANCE:.1%}"
    return {
        "d_model": (shape.d_model, rule),
        "n_layers": (shape.n_layers, rule),
        "params_non_embedding": (shape.params_non_embedding, rule),
    }


SOURCE = single_source(
    read,
    name=NAME,
    title="Chinchilla's points in Takano's toolkit: 234 sizes, budgets and losses",
    owner="Kyo Takano; points: Epoch, read off DeepMind's figure",
    licence="Apache-2.0",
    citation=CITATION,
    url=URL,
    revision=REVISION,
    files=(
        RawFile(
            FILE,
            SHA256,
            5_372,
            bundled=f"ncpl_data.ingest:data/{NAME}/{FILE}",
        ),
    ),
    files_title="the example's table, compressed",
    n_runs=234,
    traps=(
        "each row is a point of `chinchilla` (same_as), rounded; 11 outliers are left out",
        "N counts the table of 32,000 entries: the sizes are Chinchilla's, to .3% (230 of 234)",
        "losses were read off a figure, error about .01",
    ),
)
