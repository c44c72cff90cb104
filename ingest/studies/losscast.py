"""LossCast-Bench's records: 5,416 runs as its repository lists them, and their curves.

Its configurations hold guesses beside logged values; what is which is told by the sources that
read this.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ncpl_data.catalog.curve import Curve, FloatArray, IntArray
from ncpl_data.catalog.errors import RawFileError
from ncpl_data.ingest.base import RawFile
from ncpl_data.ingest.packed import read_packed
from ncpl_data.ingest.studies import marin
from ncpl_data.schema.text import quick_loads

NAME = "losscast"
REVISION = "7ab8291c"
URL = "https://github.com/dangxingyu/losscast-bench"
CITATION = "LossCast-Bench (dangxingyu/losscast-bench), MIT"
RUNS_FILE = "runs.jsonl"
RECORDED_FILE = "losscast_runs.jsonl"
"""What `ncpl-data record losscast` writes, in the form of the runs file."""

SHIPPED = RawFile(
    "losscast.parquet",
    "56a4eb735095c6fd6e20f527a1632c4dbd48b1e1a7e68ec85926080f3fafa2a1",
    1_375_045,
    bundled="ncpl_data.ingest:data/losscast/losscast.parquet",
)

SHIPPED_OOD = RawFile(
    "runs_marin_ood.jsonl.gz",
    "c046151ba3f24a820924b881d0e02b02a24f8920c4fa4315c1131a226eb166fa",
    39_565,
    bundled="ncpl_data.ingest:data/losscast/runs_marin_ood.jsonl.gz",
)
"""The Marin runs of the published split's largest models that the first file lacks. They are held
out: scored, never trained on."""

PREFIXES = {"ncpl_marin_": "marin", "ncpl_steplaw_": "steplaw", "nanochat_": "nanochat"}

# LossCast's name of a hyperparameter, and the Marin study's.
MARIN_KEYS = {
    "lr": "learning_rate",
    "weight_decay": "weight_decay",
    "beta1": "beta1",
    "beta2": "beta2",
    "eps": "epsilon",
    "grad_clip": "max_grad_norm",
    "preconditioner_lr": "preconditioner_lr",
}


@dataclass(frozen=True)
class Record:
    """One run of the benchmark."""

    line: int
    run_id: str
    study: str
    """marin, steplaw or nanochat."""
    native: str
    """The run's name in the study it comes from."""
    split: str
    """The benchmark's own split, which is not the published one."""
    config: Mapping[str, Any]
    step: IntArray
    value: FloatArray

    def curve(self, metric: str, tokens_per_step: int) -> Curve:
        """Return the run's curve.

        Raises RawFileError where the points break the laws of a curve.
        """
        try:
            return Curve(metric, self.step, self.value, self.step * tokens_per_step)
        except ValueError as error:
            raise bad_line(self.line, str(error)) from error


def read_shipped(path: Path) -> Iterator[Record]:
    """Yield the records of the shipped file."""
    yield from read_records(read_packed(path, NAME)[RUNS_FILE])


def read_gzip(path: Path) -> Iterator[Record]:
    """Yield the records of the file as it was gathered, JSON lines in gzip.

    Raises RawFileError if it is not that.
    """
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise RawFileError(
            f"{NAME} {path.name}: not a whole gzip file ({error}). Take it again, or use the "
            "shipped copy",
            source=NAME,
            file=path.name,
        ) from error
    yield from read_records(content)


def read_records(content: bytes) -> Iterator[Record]:
    """Yield the records of a file of JSON lines.

    Raises RawFileError that names the line for anything unexpected.
    """
    loads = quick_loads()
    for line, text in enumerate(content.splitlines(), 1):
        try:
            row = loads(text)
            run_id, losses = row["run_id"], row["losses"]
            step = np.fromiter(map(int, losses), np.int64, len(losses))
            value = np.fromiter(losses.values(), np.float64, len(losses))
            config, split = row["config"], row["split"]
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise bad_line(line, f"{type(error).__name__}: {error}") from error
        prefix = next((p for p in PREFIXES if run_id.startswith(p)), None)
        if prefix is None:
            raise bad_line(line, f'"{run_id[:60]}" is of no known study')
        native = run_id if prefix == "nanochat_" else run_id.removeprefix(prefix)
        yield Record(line, run_id, PREFIXES[prefix], native, split, config, step, value)


def bad_line(line: int, what: str) -> RawFileError:
    """Return the error that names a line."""
    return RawFileError(
        f"{NAME} {RUNS_FILE} line {line}: {what}; expected an object with run_id, split, config "
        "and losses. Take the file again, or use the shipped copy",
        source=NAME,
        file=RUNS_FILE,
        line=line,
    )


def steplaw_curves(path: Path) -> dict[str, Record]:
    """Return the StepLaw records by run name."""
    return {r.native: r for r in read_shipped(path) if r.study == "steplaw"}


def marin_batch(config: Mapping[str, Any]) -> int:
    """Return the batch of a Marin run, in sequences.

    The benchmark multiplied the true batch by a guessed sequence length, which it also gives (for
    Soap it is the preconditioner's block size): their ratio is the batch `marin` logs, on all
    1,359 shared runs.
    """
    data = config["data"]
    return int(data["batch_tokens"]) // int(data["seq_len"])


def marin_config(optimizer: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the hyperparameters a Marin record truly lists, by the study's keys.

    `eps` of optimizers that have none (lion, kron, scion) is a filled-in default and left out.
    """
    keys = study_keys(optimizer)
    listed = {
        MARIN_KEYS[key]: value
        for key, value in config["optimizer"].items()
        if MARIN_KEYS.get(key) in keys and value is not None
    }
    schedule = config["schedule"]
    return listed | {
        "warmup": schedule["warmup_steps"],
        "min_lr_ratio": schedule["final_lr_ratio"],
        "train_batch_size": marin_batch(config),
    }


def study_keys(optimizer: str) -> frozenset[str]:
    """Return the hyperparameters an optimizer of the Marin study has."""
    return frozenset(marin.spelling_keys(optimizer))
