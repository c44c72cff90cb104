"""ScaleBench's eight tables: their columns, and what a row of each says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ncpl_data.ingest.tables import open_fields

NAME = "scalebench"
DOMAINS = range(1, 6)


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


CHARACTERS_PER_TOKEN = {
    4096: 3.0137, 6144: 3.2064, 8192: 3.3444, 10240: 3.4513, 16384: 3.6720, 24576: 3.8524,
    32768: 3.9714, 48128: 4.1141, 64512: 4.2075, 96256: 4.3088,
}  # fmt: skip
"""By vocabulary: num_characters over FLOPs / (6 (non-vocabulary + vocabulary x width)), the same
in all 120 rows of each in exp_data.csv of sail-sg/scaling-with-vocab at 6701cc2."""


def vocabulary(row: Row) -> Values:
    """Return the fields of a vocabulary row; its data is counted in characters."""
    vocabulary = int(row["vocab_size"])
    return {
        "params_non_embedding": int(row["non_vocab_parameters"]),
        "vocab_size": vocabulary,
        "nominal_train_tokens": round(row["num_characters"] / CHARACTERS_PER_TOKEN[vocabulary]),
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


def data_constrained_id(row: Row) -> str:
    """Return the id of a data-constrained run in its owner's source.

    Size, unique tokens and tokens name it: no two rows share them.
    """
    return (
        f"datablations/n{row['params'] / 1e6:g}M_u{row['unique_tokens'] / 1e6:g}M"
        f"_d{row['tokens'] / 1e6:g}M"
    )
