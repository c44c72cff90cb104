"""Learning-rate schedules of Schaipp et al.: cosine and warmup-stable-decay runs with curves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ncpl_data.catalog.errors import RawFileError
from ncpl_data.catalog.record import Run, Skipped
from ncpl_data.ingest.base import Origin, RawFile, Source, packed_lines
from ncpl_data.ingest.studies import lr_scheduling_logs as logs
from ncpl_data.ingest.studies.lr_scheduling_logs import NAME
from ncpl_data.ingest.studies.lr_scheduling_run import CITATION, URL, run_of

REVISION = "8ace3a327a396fbd4998ff7615d54012eba71573"


def read_jsonl(files: Mapping[str, Path]) -> Iterator[Run | Skipped]:
    """Yield one run a line of the packed log."""
    yield from runs_of(packed_lines(files["runs.jsonl.zst"], NAME))


def read_shipped(files: Mapping[str, Path]) -> Iterator[Run | Skipped]:
    """Yield one run a row of the shipped table."""
    yield from runs_of(logs.read_table(files["lr_scheduling.parquet"]))


def runs_of(records: Iterable[Mapping[str, Any]]) -> Iterator[Run]:
    """Yield one run a record."""
    for record in records:
        try:
            yield run_of(record)
        except (KeyError, TypeError, ValueError) as error:
            raise RawFileError(
                f"{NAME} {record.get('path')}: {type(error).__name__} {error}; expected the keys "
                "path, blob, name, config, summary, history of the project's logs",
                source=NAME,
                file=str(record.get("path")),
            ) from error


SOURCE = Source(
    name=NAME,
    title="Learning-rate schedules: 235 cosine and warmup-stable-decay runs with curves",
    owner="Schaipp, Haegele, Taylor, Simsekli, Bach",
    licence="MIT",
    citation=CITATION,
    url=URL,
    origins=(
        Origin(
            name="shipped",
            title="the 235 logs as one table: configuration, summary, losses, rates",
            licence="MIT",
            citation=CITATION,
            url=URL,
            revision=REVISION,
            files=(
                RawFile(
                    "lr_scheduling.parquet",
                    "d134d4ff7f2b1da46fc7b64275849004541879b58206070c8ca64e013d235519",
                    962_757,
                    bundled="ncpl_data.ingest:data/lr_scheduling/lr_scheduling.parquet",
                ),
            ),
            n_runs=235,
            read=read_shipped,
        ),
        Origin(
            name="packed",
            title="the 235 JSON files packed as JSON lines, with path and git blob id (--from)",
            licence="MIT",
            citation=CITATION,
            url=URL,
            revision=REVISION,
            files=(
                RawFile(
                    "runs.jsonl.zst",
                    "cc3cbcebc45de3d2c541fc115be2cb6f8346c3bebcb35c1453d94bcaed047b0f",
                    5_697_478,
                ),
            ),
            n_runs=235,
            read=read_jsonl,
        ),
    ),
    traps=(
        "145 runs continue another run from a checkpoint; the tail alone is logged by 133 of them",
        "restarted runs log overlapping segments, in either order: 134,685 train points hold "
        "repeats, the segment that reaches the end wins",
        "tokens per step = batch_size x acc_steps x world_size x sequence_length",
        "the rate logged at the last step is 0 even in constant runs",
        "cos_final_lr -1 or absent means a tenth of the peak",
        "three validation losses: 32 batches (val), the same on averaged weights (wa), and the "
        "long last evaluation (final-val), which is the run's loss",
        "train loss is one batch, not smoothed",
        "one run, at rate .005, diverged: it ends at 7.59 nats",
    ),
)
