"""Routed language models of Clark et al.: dense, Hash, S-Base and RL-R runs over experts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from ncpl_data.catalog.errors import RawFileError
from ncpl_data.catalog.parquet import file_sha256
from ncpl_data.catalog.record import Run, Skipped
from ncpl_data.ingest.base import Origin, RawFile, Source, metric_of
from ncpl_data.ingest.packed import curve_of
from ncpl_data.ingest.tables import parquet_rows

NAME = "routed_lms"
CITATION = "Clark et al. 2022, Unified Scaling Laws for Routed Language Models, arXiv:2202.01169"
URL = "https://github.com/google-deepmind/scaling_laws_for_routing"
REVISION = "42da0c392b127df2c01fa7b705f72396050d05e5"
FILE = "curves.csv.gz"

SETS = ("validation", "c4", "curation_corpus", "lambada", "pile", "wikitext103")
PRIMARY = "validation/loss"
LINKED_COLUMNS = ("num_experts", "dense_parameter_count", "loss_validation")
LINKED = {part: f"moe_scaling_law/{part}-00000-of-00001.parquet" for part in ("train", "test")}
"""ScaleBench's table of the same runs, for the links."""

SCALEBENCH = "https://raw.githubusercontent.com/PlanarG/active-sl"
SCALEBENCH_REVISION = "e0a58ffde4f6fdfb20880d47d6d180fdbcb1440d"

BATCH, SEQUENCE_LENGTH, STEPS = 256, 2048, 250_000
LAST_LOGGED = 248_000
"""221 logs end at step 249,000, one at 248,000 and one at 250,000."""

DECLARED: Mapping[str, Any] = {
    "stage": "pretrain",
    "modality": "text",
    "architecture": "decoder",
    "optimizer": "adamw",
    "schedule": "cosine",
    "train_steps": STEPS,
    "batch_size_sequences": BATCH,
    "sequence_length": SEQUENCE_LENGTH,
    "dataset": "massivetext",
    "tokenizer": "sentencepiece-32k",
    "final_loss_metric": PRIMARY,
    "final_loss_unit": "nats_per_token",
}
COUNTS = {
    "d_model": "d_model",
    "num_blocks": "n_layers",
    "num_heads": "n_heads",
    "kqv_size": "head_dim",
    "num_experts": "n_experts",
    "k": "experts_per_token",
    "seed": "seed",
    "total_parameter_count": "params_non_embedding",
}
BLOCKS_ONLY = (
    "the dense models' counts are n_layers x (5 d_model x n_heads x head_dim + 8 d_model^2 + "
    "4 d_model) to the last parameter: embeddings are not counted"
)
ASIDE = (
    "router_type",
    "flop_increase",
    "routing_frequency",
    "dense_parameter_count",
    "model_size_label",
)
COLUMNS = ("hyper_id", "step", "flops_per_step", *(f"loss_{s}" for s in SETS), *COUNTS, *ASIDE)


def read(files: Mapping[str, Path]) -> Iterator[Run | Skipped]:
    """Yield one run a hyper_id, with six loss curves."""
    path = files[FILE]
    digest = file_sha256(path)
    rows = table_of(path)
    links = links_of(files)
    for part in rows.sort("hyper_id", "step").partition_by("hyper_id", maintain_order=True):
        yield run_of(part, digest, links)


def table_of(path: Path) -> pl.DataFrame:
    """Return the table.

    Raises RawFileError if it is no compressed CSV file with its columns.
    """
    try:
        with pa.input_stream(path, compression="gzip") as file:
            rows = pl.read_csv(file.read(), infer_schema_length=None)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise RawFileError(
            f"{NAME} {path.name}: not a compressed CSV file ({error}). Take it again from {URL}",
            source=NAME,
            file=path.name,
        ) from error
    missing = sorted(set(COLUMNS) - set(rows.columns))
    if missing:
        raise RawFileError(
            f"{NAME} {path.name}: no column {', '.join(missing)}. Take it again from {URL}",
            source=NAME,
            file=path.name,
        )
    return rows


def links_of(files: Mapping[str, Path]) -> dict[tuple[int, int, float], str]:
    """Return ScaleBench's ids by experts, dense size and loss, which no two runs share."""
    return {
        key_of(row): f"scalebench/moe_{part}_{number:04d}"
        for part, name in LINKED.items()
        for number, row in enumerate(parquet_rows(files[name], NAME, LINKED_COLUMNS))
    }


def key_of(row: Mapping[str, Any]) -> tuple[int, int, float]:
    """Return what identifies a run's end; the two tables differ in the last printed digit."""
    return (
        int(row["num_experts"]),
        int(row["dense_parameter_count"]),
        round(row["loss_validation"], 10),
    )


def run_of(part: pl.DataFrame, digest: str, links: Mapping[tuple[int, int, float], str]) -> Run:
    """Return the run of the rows of one hyper_id."""
    last = part.row(-1, named=True)
    step = part["step"].to_numpy()
    curves = []
    for name in SETS:
        metric = PRIMARY if name == "validation" else f"validation/{name}"
        points = part.select("step", f"loss_{name}").drop_nulls()
        steps = points["step"].to_numpy()
        values = points[f"loss_{name}"].to_numpy()
        if len(steps):
            curves.append(
                curve_of(NAME, FILE, metric, steps, values, steps * BATCH * SEQUENCE_LENGTH)
            )
    primary = curves[0]
    counts: dict[str, Any] = {field: int(last[column]) for column, field in COUNTS.items()}
    linked = links.get(key_of(last))
    logged = [*counts, "extra", "final_step", "final_loss", "metrics"]
    return Run(
        run_id=f"{NAME}/{last['hyper_id']:03d}",
        source=NAME,
        source_run=str(last["hyper_id"]),
        same_as=None if linked is None else (linked,),
        **counts,
        **DECLARED,
        params_active_non_embedding=int(last["dense_parameter_count"]),
        extra={f"{NAME}.{column}": last[column] for column in ASIDE},
        train_tokens=BATCH * SEQUENCE_LENGTH * STEPS,
        train_flops=last["flops_per_step"] * STEPS,
        status="finished" if int(step[-1]) >= LAST_LOGGED else "truncated",
        final_loss=float(primary.value[-1]),
        final_step=int(step[-1]),
        metrics=tuple(
            metric_of(
                curve,
                split="validation",
                dataset=None if curve is primary else curve.metric.removeprefix("validation/"),
                unit="nats_per_token",
            )
            for curve in curves
        ),
        citation=CITATION,
        url=URL,
        file=f"data/{FILE}",
        file_sha256=digest,
        record=f"hyper_id {last['hyper_id']}",
        is_copy=False,
        origins=dict.fromkeys(DECLARED, "declared")
        | dict.fromkeys(logged, "logged")
        | {
            "train_tokens": {"kind": "derived", "rule": "batch x sequence x steps"},
            "train_flops": {"kind": "derived", "rule": "flops_per_step x steps"},
            "params_non_embedding": {"kind": "logged", "evidence": BLOCKS_ONLY},
            "params_active_non_embedding": {"kind": "logged", "evidence": BLOCKS_ONLY},
            "status": {"kind": "derived", "rule": "the log reaches step 248,000 of 250,000"},
        },
        raw_config={column: last[column] for column in ("flops_per_step", *COUNTS, *ASIDE)},
        curves=tuple(curves),
    )


def linked_file(part: str, sha256: str, n_bytes: int) -> RawFile:
    """Return one pinned file of the table the links come from."""
    return RawFile(
        LINKED[part],
        sha256,
        n_bytes,
        url=f"{SCALEBENCH}/{SCALEBENCH_REVISION}/benchmark/dataset/{LINKED[part]}",
        bundled=f"ncpl_data.ingest:data/scalebench/{LINKED[part]}",
    )


SOURCE = Source(
    name=NAME,
    title="Routed language models: 223 dense and mixture-of-experts runs with six loss curves",
    owner="DeepMind (Clark et al.)",
    licence="CC-BY-4.0",
    citation=CITATION,
    url=URL,
    origins=(
        Origin(
            name="upstream",
            title="the table of curves, every 10,000 steps",
            licence="CC-BY-4.0",
            citation=CITATION,
            url=URL,
            revision=REVISION,
            files=(
                RawFile(
                    FILE,
                    "c03e7531add85e594f368d33bac4a0220280be858a7ed12d147cf73af6a3819f",
                    336_608,
                    url="https://raw.githubusercontent.com/google-deepmind/"
                    f"scaling_laws_for_routing/{REVISION}/data/{FILE}",
                    bundled=f"ncpl_data.ingest:data/routed_lms/{FILE}",
                ),
                linked_file(
                    "train",
                    "fad8831bc25efb889e0581d5746697b979712ca86f3b4e8002760bde554ec7b6",
                    4_088,
                ),
                linked_file(
                    "test",
                    "7bee730d20bf12888a1ecb2c72977a1049728b98668cad45b4f63e4098c5f1c0",
                    2_375,
                ),
            ),
            n_runs=223,
            read=read,
        ),
    ),
    traps=(
        "one expert means dense, not a mixture",
        "total_parameter_count leaves the embeddings out",
        "221 of the runs are ScaleBench's mixture-of-experts table: linked by same_as",
        "most logs end at step 249,000 of 250,000",
        "five evaluation sets beside the validation set, never one target",
    ),
)
