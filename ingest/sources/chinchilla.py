"""Chinchilla: the points of Hoffmann et al., figure 4, as read off by Besiroglu et al."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ncpl_data.catalog.parquet import file_sha256
from ncpl_data.catalog.record import Run, Skipped
from ncpl_data.ingest.base import CsvRow, Origin, RawFile, Source, csv_rows
from ncpl_data.ingest.studies.chinchilla_shapes import RULE, shape_of

NAME = "chinchilla"
CITATION = (
    "Besiroglu et al. 2024, Chinchilla Scaling: A Replication Attempt, arXiv:2404.10102; runs: "
    "Hoffmann et al. 2022, arXiv:2203.15556"
)
URL = "https://github.com/epoch-research/analyzing-chinchilla"
REVISION = "92258837425e1b5f2851d624287f0120583a3d0e"
FILE = "svg_extracted_data.csv"
COLUMNS = ("x", "y", "color", "Model Size", "Training FLOP", "hex_color", "loss")
LOSS = "train/loss_smoothed"
SIZE_TOLERANCE = 0.003


def read(files: Mapping[str, Path]) -> Iterator[Run | Skipped]:
    """Yield one run a point of the figure, in file order."""
    digest = file_sha256(files[FILE])
    for line, values in csv_rows(files[FILE], NAME, COLUMNS):
        row = CsvRow(NAME, FILE, line, values)
        size, flops, loss = (row.number(c) for c in ("Model Size", "Training FLOP", "loss"))
        shape = shape_of(size, SIZE_TOLERANCE)
        by_shape = {"kind": "derived", "rule": f"{RULE} {SIZE_TOLERANCE:.1%}"}
        sizes: dict[str, Any] = (
            {}
            if shape is None
            else {
                "d_model": shape.d_model,
                "n_layers": shape.n_layers,
                "params_non_embedding": shape.params_non_embedding,
            }
        )
        yield Run(
            run_id=f"{NAME}/point_{line - 2:03d}",
            source=NAME,
            stage="pretrain",
            modality="text",
            architecture="decoder",
            params_total=round(size),
            **sizes,
            nominal_train_tokens=round(flops / (6 * size)),
            train_flops=flops,
            final_loss=loss,
            final_loss_metric=LOSS,
            final_loss_unit="nats_per_token",
            metrics=({"name": LOSS, "split": "train", "unit": "nats_per_token", "value": loss},),
            citation=CITATION,
            url=URL,
            file=f"data/{FILE}",
            file_sha256=digest,
            record=f"line {line}",
            is_copy=True,
            flags=("digitised",),
            origins={
                "stage": "declared",
                "modality": "declared",
                "architecture": "declared",
                "params_total": {"kind": "logged", "evidence": "read off a figure, then rounded"},
                "train_flops": {"kind": "logged", "evidence": "read off a figure"},
                "nominal_train_tokens": {"kind": "derived", "rule": "FLOP / (6 x parameters)"},
                "final_loss": {
                    "kind": "logged",
                    "evidence": "read off a colour scale, error about .01",
                },
                "final_loss_metric": "declared",
                "final_loss_unit": "declared",
                "metrics": "logged",
            }
            | dict.fromkeys(sizes, by_shape),
            raw_config=dict(values),
        )


SOURCE = Source(
    name=NAME,
    title="Chinchilla's runs as points read off figure 4: 245 sizes, budgets and losses",
    owner="Epoch (Besiroglu et al.); runs: DeepMind",
    licence=None,
    citation=CITATION,
    url=URL,
    origins=(
        Origin(
            name="upstream",
            title="the 245 extracted points",
            licence=None,
            citation=CITATION,
            url=URL,
            revision=REVISION,
            files=(
                RawFile(
                    FILE,
                    "193478df4e90f040016431996c45682659306840ecdadf83cfb9cd5ca0aa1b30",
                    23_224,
                    url="https://raw.githubusercontent.com/epoch-research/analyzing-chinchilla/"
                    f"{REVISION}/data/{FILE}",
                ),
            ),
            n_runs=245,
            read=read,
        ),
    ),
    traps=(
        "every number was read off a figure: losses from colours, error about .01",
        "tokens are FLOP / (6 x parameters), not logged",
        "the authors leave out five outliers when fitting; which ones the file does not say",
        "no licence is stated: downloaded, not shipped",
    ),
)
