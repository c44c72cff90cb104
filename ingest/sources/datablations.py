"""Data-constrained runs of Muennighoff et al., from ScaleBench's table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ncpl_data.catalog.parquet import file_sha256
from ncpl_data.catalog.record import Run, Skipped
from ncpl_data.ingest.base import Origin, RawFile, Source
from ncpl_data.ingest.studies.scalebench_tables import data_constrained_id
from ncpl_data.ingest.tables import parquet_rows

NAME = "datablations"
CITATION = (
    "Muennighoff et al. 2023, Scaling Data-Constrained Language Models, arXiv:2305.16264; "
    "table: ScaleBench (CC-BY-4.0)"
)
URL = "https://github.com/PlanarG/active-sl"
REVISION = "e0a58ffde4f6fdfb20880d47d6d180fdbcb1440d"

FOLDER = "data_constrained_scaling_law"
COLUMNS = ("group", "unique_tokens", "params", "tokens", "loss")
PARTS = ("train", "test")
LOSS = "loss"  # the table does not say train or validation


def read(files: Mapping[str, Path]) -> Iterator[Run | Skipped]:
    """Yield one run a row, train part first."""
    for part in PARTS:
        path = files[f"{FOLDER}/{part}-00000-of-00001.parquet"]
        digest = file_sha256(path)
        for number, row in enumerate(parquet_rows(path, NAME, COLUMNS)):
            yield run_of(row, part, digest, number)


def run_of(row: Mapping[str, Any], part: str, digest: str, number: int) -> Run:
    """Return the run of one row."""
    tokens, unique = int(row["tokens"]), int(row["unique_tokens"])
    logged = "params_total nominal_train_tokens unique_tokens final_loss final_loss_metric metrics"
    return Run(
        run_id=data_constrained_id(row),
        source=NAME,
        stage="pretrain",
        modality="text",
        architecture="decoder",
        params_total=int(row["params"]),
        nominal_train_tokens=tokens,
        unique_tokens=unique,
        epochs=tokens / unique,
        final_loss=row["loss"],
        final_loss_metric=LOSS,
        final_loss_unit="nats_per_token",
        metrics=({"name": LOSS, "unit": "nats_per_token", "value": row["loss"]},),
        citation=CITATION,
        url=URL,
        file=f"{FOLDER}/{part}-00000-of-00001.parquet",
        file_sha256=digest,
        record=f"row {number}",
        is_copy=True,
        origins=dict.fromkeys(logged.split(), "logged")
        | dict.fromkeys(["stage", "modality", "architecture", "final_loss_unit"], "declared")
        | {"epochs": {"kind": "derived", "rule": "tokens / unique_tokens"}},
        raw_config=dict(row),
    )


def table_file(part: str, sha256: str, n_bytes: int) -> RawFile:
    """Return one pinned file of the shipped table."""
    name = f"{FOLDER}/{part}-00000-of-00001.parquet"
    return RawFile(
        name,
        sha256,
        n_bytes,
        url=f"https://raw.githubusercontent.com/PlanarG/active-sl/{REVISION}"
        f"/benchmark/dataset/{name}",
        bundled=f"ncpl_data.ingest:data/scalebench/{name}",
    )


FILES = (
    table_file("train", "d0e6f059e657c7476f8f2636110e391d086c78bd826a50c4cc62f06e73c7b020", 4_589),
    table_file("test", "acdc55ff3bffb3020b365007d2b18bc0bf0ec3e359b2ceb3e09abe2bbb94cc2e", 2_736),
)
SOURCE = Source(
    name=NAME,
    title="Data-constrained scaling: 182 runs over size, unique tokens and repetition",
    owner="Muennighoff et al.; table by the ScaleBench authors",
    licence="CC-BY-4.0",
    citation=CITATION,
    url=URL,
    origins=(
        Origin(
            name="scalebench",
            title="ScaleBench's table data_constrained_scaling_law",
            licence="CC-BY-4.0",
            citation=CITATION,
            url=URL,
            revision=REVISION,
            files=FILES,
            n_runs=182,
            read=read,
            is_copy=True,
        ),
    ),
    traps=(
        "tokens count repetition, unique_tokens do not: epochs = tokens / unique_tokens",
        "ScaleBench's train and test parts are its own, not a split of ours",
        "curves of 48 of these models lie in colpret, without a key that joins them",
    ),
)
