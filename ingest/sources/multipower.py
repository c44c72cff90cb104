"""Multi-power law: loss curves of three sizes under nine learning-rate schedules."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from ncpl_data.catalog.errors import RawFileError
from ncpl_data.catalog.record import Run, Skipped
from ncpl_data.ingest.packed import (
    csv_columns,
    curve_of,
    packed_source,
    sha256,
)
from ncpl_data.ingest.pins.multipower import PINS

NAME = "multipower"
CITATION = (
    "Luo et al. 2025, A Multi-Power Law for Loss Curve Prediction Across Learning Rate "
    "Schedules (ICLR 2025), arXiv:2503.12811"
)
URL = "https://github.com/thu-yao-01-luo/MultiPowerLaw"
REVISION = "8da9f1902602f3391b971a811e3cc51604541769"

FILE_NAME = re.compile(
    r"loss_curve_repo/csv_(?P<size>\d+)/(?P<shape>[a-z]+)_(?P<first>\d+)(?:_(?P<second>\d+))?\.csv"
)
SHAPES = {
    "constant": "constant",
    "cosine": "cosine",
    "wsd": "wsd",  # exponential decay
    "wsdld": "wsd",  # linear decay
    "wsdcon": "piecewise",  # a drop to a lower constant rate
}
LOG_EVERY_STEPS = 128
LOSS = "loss"  # the repository does not say train or validation

Columns = dict[str, Any]


def read(contents: Mapping[str, bytes]) -> Iterator[Run | Skipped]:
    """Yield one run a CSV file: step, learning rate and loss after warm-up."""
    kinds = {"step": pa.int64(), "lr": pa.float64(), "loss": pa.float64()}
    columns = {name: csv_columns(contents[name], NAME, name, kinds) for name in contents}
    for name in sorted(contents):
        yield run_of(name, columns, sha256(contents[name]))


def run_of(name: str, columns: Mapping[str, Columns], digest: str) -> Run:
    """Return the run of one file."""
    match = FILE_NAME.fullmatch(name)
    if match is None or match["shape"] not in SHAPES:
        raise RawFileError(
            f"{NAME} {name}: expected a name like loss_curve_repo/csv_25/cosine_24000.csv",
            source=NAME,
            file=name,
        )
    step, rate, loss = (columns[name][key] for key in ("step", "lr", "loss"))
    shape = match["shape"]
    peak = float(rate.max())
    # constant_24000 and wsd_20000_24000 name their length, wsdcon_9 its last rate (9e-5)
    planned = None if shape == "wsdcon" else int(match["second"] or match["first"])
    change = change_step(step, rate, shape, match["first"])
    parent = None if change is None else parent_of(name, columns, change)
    values: dict[str, Any] = {}
    if shape in ("wsd", "wsdld"):
        values["decay_steps"] = int(match["second"]) - int(match["first"])
    if shape == "constant":
        values["min_learning_rate"] = peak
    if shape == "wsdcon" and change is not None:
        values["min_learning_rate"] = float(rate[-1])
        values["learning_rate_knots"] = (
            {"step": change - 1, "learning_rate": peak},
            {"step": change, "learning_rate": float(rate[-1])},
        )
    by_name = {"kind": "derived", "rule": "named in the file's name"}
    by_rates = {"kind": "derived", "rule": "read off the logged learning rates"}
    same_prefix = {
        "kind": "derived",
        "rule": "the constant run of the same size with equal losses up to there",
    }
    last = int(step[-1])
    is_whole = planned is not None and last >= planned - LOG_EVERY_STEPS
    found = {
        "source_run": "logged",
        "optimizer": "declared",
        "model_family": "declared",
        "stage": "declared",
        "modality": "declared",
        "architecture": "declared",
        "learning_rate": by_rates,
        "schedule": by_name,
        "final_step": "logged",
        "final_loss": "logged",
        "final_loss_metric": "declared",
        "final_loss_unit": "declared",
        "metrics": "logged",
        "extra": by_name,
    }
    if planned is not None:
        found["train_steps"] = by_name
    if is_whole:
        found["status"] = {"kind": "derived", "rule": "the log reaches the named last step"}
    if parent is not None:
        found |= {"parent_run_id": same_prefix, "branch_step": same_prefix}
    found |= dict.fromkeys(values, by_rates if shape in ("wsdcon", "constant") else by_name)
    return Run(
        run_id=f"{NAME}/{match['size']}M_{name.rsplit('/', 1)[1].removesuffix('.csv')}",
        source=NAME,
        source_run=name,
        parent_run_id=parent[0] if parent else None,
        branch_step=parent[1] if parent else None,
        stage="pretrain",
        modality="text",
        architecture="decoder",
        model_family="llama",
        optimizer="adamw",
        learning_rate=peak,
        schedule=SHAPES[shape],
        train_steps=planned,
        status="finished" if is_whole else None,
        final_loss=float(loss[-1]),
        final_loss_metric=LOSS,
        final_loss_unit="nats_per_token",
        final_step=last,
        metrics=(
            {
                "name": LOSS,
                "unit": "nats_per_token",
                "step": last,
                "value": float(loss[-1]),
            },
            {"name": "learning_rate", "unit": "other", "step": last, "value": float(rate[-1])},
        ),
        citation=CITATION,
        url=URL,
        file=name,
        file_sha256=digest,
        is_copy=False,
        extra={"multipower.nominal_params": int(match["size"]) * 1_000_000},
        origins=found,
        curves=(
            curve_of(NAME, name, LOSS, step, loss),
            curve_of(NAME, name, "learning_rate", step, rate),
        ),
        **values,
    )


def change_step(step: Any, rate: Any, shape: str, first: str) -> int | None:
    """Return the step at which a run leaves the constant rate; None if it never had one."""
    if shape in ("wsd", "wsdld"):
        return int(first)
    if shape == "wsdcon":
        return int(step[int(np.argmax(rate < rate[0]))])
    return None


def parent_of(name: str, columns: Mapping[str, Columns], change: int) -> tuple[str, int] | None:
    """Return the constant run a run starts from, and the step of its checkpoint.

    A run repeats its parent's losses digit for digit. Most do up to the change of rate; two 400M
    runs only to step 16,000, and differ by .0003 from there on although the rate is the same.
    """
    folder = name.rsplit("/", 1)[0]
    size = folder.rsplit("_", 1)[1]
    own = columns[name]
    n = int((own["step"] < change).sum())
    for other in sorted(key for key in columns if key.startswith(f"{folder}/constant_")):
        theirs = columns[other]
        m = min(n, len(theirs["step"]))
        same = (own["step"][:m] == theirs["step"][:m]) & (own["loss"][:m] == theirs["loss"][:m])
        equal = m if bool(same.all()) else int(np.argmin(same))
        if equal > 0:
            run_id = f"{NAME}/{size}M_{other.rsplit('/', 1)[1].removesuffix('.csv')}"
            return run_id, change if equal == n else int(own["step"][equal - 1])
    return None


SOURCE = packed_source(
    read,
    name=NAME,
    title="Multi-power law: loss curves under nine learning-rate schedules",
    owner="Tsinghua University (Luo et al.)",
    licence="MIT",
    citation=CITATION,
    url=URL,
    revision=REVISION,
    n_runs=27,
    files_title="27 CSV files: three sizes x nine schedules, every 128 steps",
    sha256="8d3018ceefd1627fc8aebea99cbe8b27e84ed42de93af8061d2cb306f9a2537c",
    n_bytes=28_948,
    pins=PINS,
    traps=(
        "the logs start after warm-up (step 2,160 or 2,176), so there is no early part",
        "whether the loss is train or validation is not said: the metric is just loss",
        "WSD runs repeat the constant run's losses before their decay: one physical run up to "
        "there, linked as parent; two 400M runs do so to step 16,000 only",
        "the number of wsdcon_9 is the last rate (9e-5), the last number of the others the length",
        "of the 25M wsdcon runs the log ends at step 14,144, of the larger ones at 15,936; the "
        "planned length is not stated",
    ),
)
