"""ScaleBench: the law tables of eight scaling-law papers, one run a row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count, pairwise
from pathlib import Path
from typing import Any

from ncpl_data.catalog.parquet import file_sha256
from ncpl_data.catalog.record import Run, Skipped
from ncpl_data.ingest.base import Origin, RawFile, Source
from ncpl_data.ingest.packed import pinned_files
from ncpl_data.ingest.pins.scalebench import PINS
from ncpl_data.ingest.sources import datablations

# The owner's ids are needed to link rows to runs; the rule that finds them lives with that source.
from ncpl_data.ingest.sources.steplaw import NamedRuns, scalebench_run
from ncpl_data.ingest.tables import open_fields, parquet_rows

NAME = "scalebench"
CITATION = "ScaleBench, the tables of PlanarG/active-sl (CC-BY-4.0), arXiv:2604.22753"
URL = "https://github.com/PlanarG/active-sl"
REVISION = "e0a58ffde4f6fdfb20880d47d6d180fdbcb1440d"
KEYS = "steplaw_keys_model_split.json"

PARTS = ("train", "test")
DOMAINS = range(1, 6)
EARLIER_ORIGIN = {
    "kind": "derived",
    "rule": "the row before it, by characters, of the same size and vocabulary",
}

Values = dict[str, Any]
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    """One law table."""

    name: str
    paper: str
    columns: tuple[str, ...]
    fields: Callable[[Row], Values]
    """What a row says, in fields of the schema."""
    metric: str | None
    unit: str | None
    column: str | None
    """Column of the loss; None where a row has several."""
    split: str | None = None
    """Part of the data the loss is measured on, where the table says so."""
    flags: tuple[str, ...] = ()


def step_law(row: Row) -> Values:
    """Return the fields of a learning-rate and batch-size row."""
    return {
        "learning_rate": row["lr"],
        "batch_size_sequences": int(row["bsz"]),
        "nominal_train_tokens": int(row["data_size"]),
        "params_non_embedding": int(row["non_embedding_param_size"]),
    }


def farseer(row: Row) -> Values:
    """Return the fields of a Farseer row."""
    return {"nominal_train_tokens": int(row["D"]), "extra": open_fields(NAME, row, ("N",))}


def data_constrained(row: Row) -> Values:
    """Return the fields of a data-constrained row."""
    return {
        "params_total": int(row["params"]),
        "nominal_train_tokens": int(row["tokens"]),
        "unique_tokens": int(row["unique_tokens"]),
    }


def experts(row: Row) -> Values:
    """Return the fields of a mixture-of-experts row; one expert is a dense model."""
    return {
        "n_experts": int(row["num_experts"]),
        "extra": open_fields(NAME, row, ("dense_parameter_count",)),
    }


def parallel(row: Row) -> Values:
    """Return the fields of a ParScale row; the group is the training data."""
    return {
        "params_total": row["num_params"],
        "n_parallel_streams": row["parallel_size"],
        "dataset": row["group"],
    }


def sparsity(row: Row) -> Values:
    """Return the fields of a sparse row; sizes and tokens stand in billions."""
    return {"extra": open_fields(NAME, row, ("P", "N_active", "N_dense", "D1", "D2"))}


def vocabulary(row: Row) -> Values:
    """Return the fields of a vocabulary row."""
    return {
        "params_non_embedding": int(row["non_vocab_parameters"]),
        "vocab_size": int(row["vocab_size"]),
        "extra": open_fields(NAME, row, ("num_characters",)),
    }


def mixture(row: Row) -> Values:
    """Return the fields of a mixture row: five shares, five losses and no loss of the whole."""
    return {
        "extra": {f"{NAME}.size": row["group"]},
        "mixture": tuple(
            {"domain": f"domain_{i}", "share_frac": row[f"proportion_domain_{i}"]} for i in DOMAINS
        ),
        "metrics": tuple(
            {
                "name": f"loss/domain_{i}",
                "dataset": f"domain_{i}",
                "unit": "nats_per_token",
                "value": row[f"loss_domain_{i}"],
            }
            for i in DOMAINS
        ),
    }


NATS = "nats_per_token"
TABLES = (
    Table(
        "lr_bsz",
        "arXiv:2503.04715",
        ("group", "lr", "bsz", "data_size", "non_embedding_param_size", "lm_loss"),
        step_law,
        "train/loss_smoothed",  # equals the Step Law table's smoothed loss on 1,652 shared runs
        NATS,
        "lm_loss",
        split="train",
    ),
    Table(
        "farseer",
        "arXiv:2506.10972",
        ("group", "N", "D", "loss"),
        farseer,
        "farseer/loss",
        "other",
        "loss",
    ),
    Table(
        "data_constrained",
        "arXiv:2305.16264",
        ("group", "unique_tokens", "params", "tokens", "loss"),
        data_constrained,
        "data_constrained/loss",
        NATS,
        "loss",
    ),
    Table(
        "domain_mixture",
        "ScaleBench, table domain_mixture_scaling_law",
        (
            "group",
            *(f"proportion_domain_{i}" for i in DOMAINS),
            *(f"loss_domain_{i}" for i in DOMAINS),
        ),
        mixture,
        None,
        None,
        None,
    ),
    Table(
        "moe",
        "ScaleBench, table moe_scaling_law",
        ("group", "num_experts", "dense_parameter_count", "loss_validation"),
        experts,
        "moe/validation_loss",
        NATS,
        "loss_validation",
        split="validation",
    ),
    Table(
        "parallel",
        "ScaleBench, table parallel_scaling_law (ParScale)",
        ("num_params", "parallel_size", "group", "loss"),
        parallel,
        "parallel/loss",
        NATS,
        "loss",
    ),
    Table(
        "sparsity",
        "ScaleBench, table sparsity_scaling_law",
        ("group", "P", "N_active", "N_dense", "D1", "D2", "loss"),
        sparsity,
        "sparsity/loss",
        NATS,
        "loss",
    ),
    Table(
        "vocab",
        "ScaleBench, table vocab_scaling_law",
        (
            "group",
            "non_vocab_parameters",
            "vocab_size",
            "num_characters",
            "unigram_normalized_loss",
        ),
        vocabulary,
        "vocab/loss_unigram_normalized",
        "normalized",
        "unigram_normalized_loss",
        split="train",
        flags=("checkpoint_of_a_longer_run",),
    ),
)


def read(files: Mapping[str, Path]) -> Iterator[Run | Skipped]:
    """Yield one run a row, table by table."""
    named = NamedRuns(files[KEYS])
    for table in TABLES:
        names = {part: f"{table.name}_scaling_law/{part}-00000-of-00001.parquet" for part in PARTS}
        parts = {p: parquet_rows(files[n], NAME, table.columns) for p, n in names.items()}
        earlier = earlier_checkpoints(parts) if table.name == "vocab" else {}
        for part, rows in parts.items():
            name = names[part]
            digest = file_sha256(files[name])
            for number, row in enumerate(rows):
                run = run_of(table, part, number, row)
                before = earlier.get(run["run_id"])
                if before is not None:
                    run["parent_run_id"] = before
                    run["origins"]["parent_run_id"] = EARLIER_ORIGIN
                yield Run(
                    **run,
                    same_as=same_as(table, row, named, name, number),
                    file=name,
                    file_sha256=digest,
                )


def earlier_checkpoints(parts: Mapping[str, Sequence[Row]]) -> dict[str, str]:
    """Return for each vocabulary row the row it continues, by id.

    The 20 rows of one size and vocabulary are checkpoints of one run, over both parts.
    """
    rows = [
        (row["non_vocab_parameters"], row["vocab_size"], row["num_characters"], row_id)
        for part, members in parts.items()
        for row, row_id in zip(members, row_ids("vocab", part), strict=False)
    ]
    ordered = sorted(rows)
    return {row[3]: before[3] for before, row in pairwise(ordered) if before[:2] == row[:2]}


def row_ids(table: str, part: str) -> Iterator[str]:
    """Yield the ids of a table's rows, in their order."""
    return (f"{NAME}/{table}_{part}_{number:04d}" for number in count())


def same_as(
    table: Table, row: Row, named: NamedRuns, file: str, number: int
) -> tuple[str, ...] | None:
    """Return the ids under which other sources hold the same physical run."""
    if table.name == "lr_bsz":
        return (scalebench_run(row, named, file, "", number).run_id,)
    if table.name == "data_constrained":
        return (datablations.run_id(row),)
    return None


def run_of(table: Table, part: str, number: int, row: Row) -> Values:
    """Return the fields of one row's run."""
    values = table.fields(row)
    if table.column is not None:
        values |= {
            "final_loss": row[table.column],
            "final_loss_metric": table.metric,
            "final_loss_unit": table.unit,
            "metrics": (
                {
                    "name": table.metric,
                    "split": table.split,
                    "unit": table.unit,
                    "value": row[table.column],
                },
            ),
        }
    declared = {"stage": "pretrain", "modality": "text", "architecture": "decoder"}
    return {
        "run_id": f"{NAME}/{table.name}_{part}_{number:04d}",
        "source": NAME,
        **declared,
        **values,
        "citation": f"{CITATION}; {table.paper}",
        "url": URL,
        "record": f"row {number}",
        "is_copy": True,
        "flags": table.flags or None,
        "origins": dict.fromkeys(values, "logged")
        | dict.fromkeys(declared, "declared")
        | (
            {"final_loss_unit": "declared", "final_loss_metric": "declared"} if table.column else {}
        ),
        "raw_config": dict(row),
    }


def bundled(file: RawFile) -> RawFile:
    """Return a pinned table with its place in this package."""
    folder, _, inside = file.name.partition("/")
    path = (
        f"scalebench_lr_bsz/{inside}" if folder.startswith("lr_bsz") else f"scalebench/{file.name}"
    )
    return replace(file, bundled=f"ncpl_data.ingest:data/{path}")


RAW = f"https://raw.githubusercontent.com/PlanarG/active-sl/{REVISION}/benchmark/dataset"
FILES = (
    *(bundled(file) for file in pinned_files(PINS, RAW)),
    RawFile(
        KEYS,
        "9499a30f22935253f9539a81669d598808f140570d7c36652d67e88345386310",
        227_562,
        url="https://raw.githubusercontent.com/zhqwqwq/Configuration-to-Performance-Scaling-Law/"
        f"4f6e64b0144ec0fa8070a4398e3aebe33a8b11b1/processed_data/keys/{KEYS}",
        bundled=f"ncpl_data.catalog:data/{KEYS}",
    ),
)
SOURCE = Source(
    name=NAME,
    title="ScaleBench: eight scaling-law tables",
    owner="PlanarG/active-sl",
    licence="CC-BY-4.0",
    citation=CITATION,
    url=URL,
    origins=(
        Origin(
            name="upstream",
            title="eight tables in sixteen Parquet files, byte for byte",
            licence="CC-BY-4.0",
            citation=CITATION,
            url=URL,
            revision=REVISION,
            files=FILES,
            n_runs=5_073,
            read=read,
        ),
    ),
    traps=(
        "the 2,819 rows of lr_bsz are Step Law's runs, the 182 of data_constrained datablations': "
        "linked by same_as",
        "Farseer's loss is not in nats; its column N is kept as it stands",
        "the vocabulary losses are normalized by a unigram model and may be negative; 20 rows are "
        "checkpoints of one run",
        "a mixture row has five losses and none of the whole",
        "the sparsity table counts parameters and tokens in billions",
        "its train and test parts are its own, not a split of ours",
    ),
)
