"""ColPret: loss trajectories of published language models, gathered by IBM."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from ncpl_data.catalog.errors import RawFileError
from ncpl_data.catalog.record import Run, Skipped
from ncpl_data.ingest.base import Origin, RawFile, Source
from ncpl_data.ingest.packed import (
    from_compressed,
    from_originals,
    from_packed,
    pinned_files,
    sha256,
)
from ncpl_data.ingest.pins.colpret import COMPRESSED, PINS
from ncpl_data.ingest.studies.colpret_runs import (
    CITATION,
    DATABLATIONS,
    K2,
    MAMBA,
    NAME,
    OLMO,
    OPT,
    URL,
    datablations_runs,
    k2_run,
    mamba_run,
    olmo_runs,
    opt_runs,
)

REVISION = "16f23bbe054277ddc4afd07a972dd7cfbe3f48c3"


def read(contents: Mapping[str, bytes]) -> Iterator[Run | Skipped]:
    """Yield the runs of the files that are there."""
    readers: Mapping[str, Callable[[pl.DataFrame, str], Iterator[Run]]] = {
        DATABLATIONS: datablations_runs,
        OLMO: olmo_runs,
        K2: k2_run,
        MAMBA: mamba_run,
        OPT: opt_runs,
    }
    for name, reader in readers.items():
        if name in contents:
            rows = table_of(contents[name], name, COLUMNS[name])
            yield from reader(rows, sha256(contents[name]))


COLUMNS: Mapping[str, Sequence[str]] = {
    DATABLATIONS: (
        "data",
        "epochs",
        "token_num",
        "loss",
        "num_params",
        "model_args",
        "tokens_per_epoch",
    ),
    OLMO: ("Step", "model_name", "num_params", "pile-validation/CrossEntropyLoss"),
    K2: ("Step", "k2 training - lm loss"),
    MAMBA: ("step", "loss", "lr", "grad_norm"),
    OPT: ("model_name", "model_size", "steps", "num_token", "flops", "ppl"),
}


def table_of(content: bytes, name: str, columns: Sequence[str]) -> pl.DataFrame:
    """Return one CSV file.

    Raises RawFileError if it is none or lacks a column.
    """
    try:
        rows = pl.read_csv(content, infer_schema_length=None)
    except pl.exceptions.PolarsError as error:
        raise RawFileError(
            f"{NAME} {name}: not a CSV file ({error})", source=NAME, file=name
        ) from error
    missing = [column for column in columns if column not in rows.columns]
    if missing:
        raise RawFileError(
            f"{NAME} {name}: no column {', '.join(missing)}; found {', '.join(rows.columns[:8])}. "
            "Take the file again from the source",
            source=NAME,
            file=name,
        )
    return rows


RAW = f"https://raw.githubusercontent.com/IBM/ColPret/{REVISION}"
PACKED = RawFile(
    "colpret.parquet",
    "65bb4545cd42beed866471cd46221f2b6b695ef7980a3a5f86ca6243e134e2ad",
    666_019,
    bundled="ncpl_data.ingest:data/colpret/colpret.parquet",
)


def origin(name: str, title: str, files: tuple[RawFile, ...], n_runs: int, **values: Any) -> Origin:
    """Return one of the places these files are read from."""
    return Origin(
        name=name,
        title=title,
        citation=CITATION,
        url=URL,
        revision=REVISION,
        files=files,
        n_runs=n_runs,
        is_copy=True,
        **values,
    )


SOURCE = Source(
    name=NAME,
    title="ColPret: trajectories of datablations, OLMo, K2, Mamba 3B and OPT",
    owner="IBM (Choshen, Zhang, Andreas); runs: their publishers",
    licence="MIT",
    citation=CITATION,
    url=URL,
    origins=(
        origin(
            "upstream",
            "five tables of language models",
            pinned_files(PINS, RAW),
            59,
            licence="MIT",
            read=from_originals(read),
        ),
        origin(
            "shipped",
            "the tables whose runs are Apache-2.0: datablations, OLMo, K2",
            (PACKED,),
            52,
            licence="Apache-2.0",
            read=from_packed(read, NAME),
        ),
        origin(
            "compressed",
            "the five tables, large ones compressed (--from)",
            pinned_files(COMPRESSED, None),
            59,
            licence="MIT",
            read=from_compressed(read),
        ),
    ),
    traps=(
        "losses are train losses (datablations, K2, Mamba), validation losses (OLMo) or "
        "perplexities (OPT): never one metric",
        "datablations has tokens and no steps: the step axis of its curves counts tokens",
        "OSCAR at 2.8B: 3 and 4 epochs have the same 326 losses, so one is not what it says",
        "K2's tokens_seen is a straight line drawn over a restart: left out, with the restart",
        "OPT's tokens and FLOPs are log10; the three OLMo runs share no validation set",
        "left out: T5 (its losses are negative), GPT-3 (read off a figure, axis not stated), the "
        "contour and code grids (tokens_per_epoch is one constant), OLMo's perplexities",
    ),
)
