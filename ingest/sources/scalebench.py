"""ScaleBench: the law tables of eight scaling-law papers, one run a row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count, pairwise
from pathlib import Path

from ncpl_data.catalog.parquet import file_sha256
from ncpl_data.catalog.record import Run, Skipped
from ncpl_data.ingest.base import Origin, RawFile, Source
from ncpl_data.ingest.packed import pinned_files
from ncpl_data.ingest.pins.scalebench import PINS
from ncpl_data.ingest.studies.scalebench_tables import (
    NAME,
    TABLES,
    Row,
    Table,
    Values,
    data_constrained_id,
)
from ncpl_data.ingest.studies.steplaw_scalebench import NamedRuns, scalebench_run
from ncpl_data.ingest.tables import parquet_rows

CITATION = "ScaleBench, the tables of PlanarG/active-sl (CC-BY-4.0), arXiv:2604.22753"
URL = "https://github.com/PlanarG/active-sl"
REVISION = "e0a58ffde4f6fdfb20880d47d6d180fdbcb1440d"
KEYS = "steplaw_keys_model_split.json"

PARTS = ("train", "test")
EARLIER_ORIGIN = {
    "kind": "derived",
    "rule": "the row before it, by characters, of the same size and vocabulary",
}


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
        return (data_constrained_id(row),)
    return None


BY_CHARACTERS = {
    "kind": "derived",
    "rule": "num_characters / characters per token of the vocabulary, from exp_data.csv of "
    "sail-sg/scaling-with-vocab at 6701cc2",
}


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
        | ({"final_loss_unit": "declared", "final_loss_metric": "declared"} if table.column else {})
        | ({"nominal_train_tokens": BY_CHARACTERS} if "num_characters" in row else {}),
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
