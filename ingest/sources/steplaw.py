"""Step Law: dense and mixture-of-experts runs over learning rate, batch size, size and tokens."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ncpl_data.catalog.errors import RawFileError
from ncpl_data.catalog.parquet import file_sha256
from ncpl_data.catalog.record import Curve, Run, Skipped
from ncpl_data.ingest.base import CsvRow, Origin, RawFile, Source, csv_rows
from ncpl_data.ingest.studies import losscast, wandb_runs
from ncpl_data.ingest.studies.steplaw import (
    DECLARED,
    LAST_BATCH,
    RUN_NAME,
    SEQUENCE_LENGTH,
    TARGET,
    Shape,
    dense_id,
    dense_size,
    parse_name,
    status_of,
)

NAME = "steplaw"
CITATION = "Li et al. 2025, Predictable Scale: Part I, Step Law, arXiv:2503.04715"
UPSTREAM_URL = "https://github.com/step-law/steplaw"
UPSTREAM_REVISION = "32a8f4cc50247695fb56cc6c9117abdf67c97763"
SCALEBENCH_URL = "https://github.com/PlanarG/active-sl"
SCALEBENCH_REVISION = "e0a58ffde4f6fdfb20880d47d6d180fdbcb1440d"

MAX_ROUNDING = 0.003
"""The token budget D is rounded; the largest deviation of a named run is .22%."""

MOE_NAME = re.compile(r"step2v2_0801_(?P<id>.+)_mlr(?P<mlr>[\d.]+[eE][+-]?\d+)(_gg)?")

DENSE_COLUMNS = "h,ffnh,numh,numl,lr,bs,ti,loss,smooth loss,exp_name,D,N"
MOE_COLUMNS = (
    "seq_len,topk,nume,moeh,sed,h,ffnh,numh,numl,lr,bs,ti,loss,smooth loss,average_iter_time,"
    "final_iter,exp_name,numld,N,Na,D,total_time"
)


def dense_flags(train_steps: int) -> tuple[str, ...] | None:
    """Return what a reader of a dense run should know."""
    longer = train_steps < DECLARED["warmup_steps"]
    return ("warmup_longer_than_run",) if longer else None


def outcome(smoothed: float, last: float | None, train_steps: int) -> dict[str, Any]:
    """Return the outcome fields: the target is the smoothed loss.

    The last batch's own loss carries a noise all runs of one batch size and length share
    (standard deviation .034), so it is kept as another metric only.
    """
    metrics: list[dict[str, Any]] = [
        {
            "name": TARGET,
            "split": "train",
            "unit": "nats_per_token",
            "smoothing": "gaussian",
            "value": smoothed,
        }
    ]
    if last is not None:
        metrics.append(
            {
                "name": LAST_BATCH,
                "split": "train",
                "unit": "nats_per_token",
                "smoothing": "none",
                "step": train_steps - 1,  # upstream counts steps from 0
                "value": last,
            }
        )
    return {
        "status": status_of(smoothed),
        "final_loss": smoothed,
        "final_loss_metric": TARGET,
        "final_loss_unit": "nats_per_token",
        "final_step": train_steps,
        "metrics": tuple(metrics),
    }


STATUS_ORIGIN = {"kind": "derived", "rule": "diverged if the smoothed loss is above 4 nats"}
TOKENS_ORIGIN = {"kind": "derived", "rule": "batch x sequence x steps"}


def origins(logged: str, **others: Any) -> dict[str, Any]:
    """Return the origin of each value: those logged, those declared of all runs, the others."""
    found: dict[str, Any] = dict.fromkeys(DECLARED, "declared")
    found |= dict.fromkeys(logged.split(), "logged")
    outcome_fields = ("final_loss", "final_loss_metric", "final_loss_unit", "metrics")
    found |= dict.fromkeys(outcome_fields, "logged")
    return found | {"status": STATUS_ORIGIN, "train_tokens": TOKENS_ORIGIN} | others


CURVE_ORIGIN = {
    "kind": "logged",
    "evidence": f"{losscast.CITATION} at {losscast.REVISION}: smoothed train loss by run name",
}
"""The project's repository has no curves; LossCast-Bench copied 2,277 from its W&B project."""


def read_curves(path: Path) -> dict[str, Curve]:
    """Return the smoothed loss curves by run; upstream spells one name in several ways.

    Steps count from 0 and there is no point at step 0.
    """
    found = {}
    for name, record in losscast.steplaw_curves(path).items():
        named = parse_name(name)
        if named is not None:
            tokens_per_step = named.batch_size_sequences * SEQUENCE_LENGTH
            found[named.run_id] = record.curve(TARGET, tokens_per_step)
    return found


def with_curve(run: Run, curves: Mapping[str, Curve]) -> Run:
    """Return a run with its curve, if there is one."""
    curve = curves.get(run.run_id)
    if curve is None:
        return run
    return replace(run, curves=(curve,), origins={**(run.origins or {}), "curves": CURVE_ORIGIN})


def read_upstream(files: Mapping[str, Path]) -> Iterator[Run | Skipped]:
    """Yield one run a row of the project's two CSV files, in file order."""
    curves = read_curves(files[losscast.SHIPPED.name])
    for run in read_dense(files["dense_lr_bs_loss.csv"]):
        yield with_curve(run, curves)
    yield from read_moe(files["moe_lr_bs_loss.csv"])


def read_dense(path: Path) -> Iterator[Run]:
    """Yield the 1,911 dense runs."""
    digest = file_sha256(path)
    for line, values in csv_rows(path, NAME, DENSE_COLUMNS.split(",")):
        row = CsvRow(NAME, path.name, line, values)
        name = row.text("exp_name")
        match = RUN_NAME.fullmatch(name)
        if match is None:
            raise row.error("exp_name", f'a name like "{RUN_NAME.pattern[:20]}..."')
        shape = (row.count("h"), row.count("ffnh"), row.count("numh"), row.count("numl"))
        batch, steps = row.count("bs"), row.count("ti")
        yield Run(
            run_id=dense_id(shape, row.number("lr"), batch, steps),
            source=NAME,
            source_run=name,
            d_model=shape[0],
            d_ff=shape[1],
            n_heads=shape[2],
            n_layers=shape[3],
            params_non_embedding=row.count("N"),
            learning_rate=row.number("lr"),
            min_learning_rate=float(match["mlr"]),  # stands in the run's name only
            batch_size_sequences=batch,
            train_steps=steps,
            sequence_length=SEQUENCE_LENGTH,
            train_tokens=batch * SEQUENCE_LENGTH * steps,
            nominal_train_tokens=row.count("D"),
            **DECLARED,
            **outcome(row.number("smooth loss"), row.number("loss"), steps),
            citation=CITATION,
            url=UPSTREAM_URL,
            file=path.name,
            file_sha256=digest,
            record=f"line {line}",
            is_copy=False,
            flags=dense_flags(steps),
            origins=origins(
                "d_model d_ff n_heads n_layers params_non_embedding learning_rate "
                "min_learning_rate batch_size_sequences train_steps nominal_train_tokens "
                "final_step",
                sequence_length="declared",
            ),
            raw_config=dict(values),
        )


def read_moe(path: Path) -> Iterator[Run]:
    """Yield the 708 mixture-of-experts runs."""
    digest = file_sha256(path)
    for line, values in csv_rows(path, NAME, MOE_COLUMNS.split(",")):
        row = CsvRow(NAME, path.name, line, values)
        name = row.text("exp_name")
        match = MOE_NAME.fullmatch(name)
        if match is None:
            raise row.error("exp_name", f'a name like "{MOE_NAME.pattern[:20]}..."')
        batch, steps, length = row.count("bs"), row.count("ti"), row.count("seq_len")
        yield Run(
            run_id=f"{NAME}/moe_{match['id']}",
            source=NAME,
            source_run=name,
            d_model=row.count("h"),
            d_ff=row.count("ffnh"),
            n_heads=row.count("numh"),
            n_layers=row.count("numl"),
            n_experts=row.count("nume"),
            experts_per_token=row.count("topk"),
            d_ff_expert=row.count("moeh"),
            d_ff_shared_expert=row.count("sed"),
            n_dense_layers=row.count("numld"),
            params_non_embedding=row.count("N"),
            params_active_non_embedding=row.count("Na"),
            learning_rate=row.number("lr"),
            min_learning_rate=float(match["mlr"]),
            batch_size_sequences=batch,
            train_steps=steps,
            sequence_length=length,
            train_tokens=batch * length * steps,
            nominal_train_tokens=row.count("D"),
            step_time_seconds=row.number("average_iter_time"),
            wall_time_seconds=row.number("total_time"),
            **DECLARED,
            **outcome(row.number("smooth loss"), row.number("loss"), row.count("final_iter") + 1),
            citation=CITATION,
            url=UPSTREAM_URL,
            file=path.name,
            file_sha256=digest,
            record=f"line {line}",
            is_copy=False,
            flags=dense_flags(steps),
            origins=origins(
                "d_model d_ff n_heads n_layers n_experts experts_per_token d_ff_expert "
                "d_ff_shared_expert n_dense_layers params_non_embedding learning_rate "
                "params_active_non_embedding min_learning_rate batch_size_sequences train_steps "
                "sequence_length nominal_train_tokens final_step step_time_seconds "
                "wall_time_seconds",
            ),
            raw_config=dict(values),
        )


def read_scalebench(files: Mapping[str, Path]) -> Iterator[Run | Skipped]:
    """Yield the 2,819 dense runs of ScaleBench's learning-rate and batch-size table.

    The table has no run names. 2,581 rows are named by the NCPL split (same size, batch and
    learning rate, tokens within .3%); their names give the step counts. The other 238 rows take
    the shape of their size and the step count of named runs with the same tokens and batch, or
    floor(tokens / (batch x 2048)), which holds for all 2,178 named runs of a round token budget.
    """
    named = NamedRuns(files["steplaw_keys_model_split.json"])
    curves = read_curves(files[losscast.SHIPPED.name])
    for part in ("train", "test"):
        path = files[f"{part}-00000-of-00001.parquet"]
        digest = file_sha256(path)
        for number, row in enumerate(parquet_rows(path)):
            yield with_curve(scalebench_run(row, named, path.name, digest, number), curves)


def parquet_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of one ScaleBench file.

    Raises RawFileError if it is no Parquet file or lacks a column.
    """
    columns = ["lr", "bsz", "data_size", "non_embedding_param_size", "lm_loss"]
    try:
        rows: list[dict[str, Any]] = pq.read_table(path, columns=columns).to_pylist()
    except (pa.ArrowInvalid, OSError) as error:
        raise RawFileError(
            f"{NAME} {path.name}: not the ScaleBench table ({error}). Take it again from "
            f"{SCALEBENCH_URL}",
            source=NAME,
            file=path.name,
        ) from error
    return rows


class NamedRuns:
    """The dense runs the NCPL split names, looked up by what ScaleBench states."""

    def __init__(self, path: Path) -> None:
        """Read the run names of the split file."""
        self.shapes: dict[int, Shape] = {}
        """Shape by non-embedding parameters; the seven sizes have one shape each."""
        self.runs: dict[tuple[int, int, float], list[tuple[int, str, float]]] = {}
        """(steps, name, final learning rate) by size, batch and learning rate."""
        self.steps: dict[int, set[int]] = {}
        """Step counts seen, by batch."""
        parts = json.loads(path.read_text("utf-8"))
        for name in (name for names in parts.values() for name in names):
            match = RUN_NAME.fullmatch(name)
            if match is None:
                raise RawFileError(
                    f'{NAME} {path.name}: "{name[:80]}" is not a Step Law run name',
                    source=NAME,
                    file=path.name,
                )
            shape = (int(match["h"]), int(match["ffnh"]), int(match["numh"]), int(match["numl"]))
            size = dense_size(shape)
            self.shapes[size] = shape
            key = (size, int(match["bs"]), float(match["lr"]))
            found = (int(match["ti"]), name, float(match["mlr"]))
            self.runs.setdefault(key, []).append(found)
            self.steps.setdefault(key[1], set()).add(found[0])

    def find(
        self, size: int, batch: int, learning_rate: float, tokens: int
    ) -> tuple[int, str, float] | None:
        """Return (steps, name, final learning rate) of the run a table row is, if it is named."""
        for steps, name, final in self.runs.get((size, batch, learning_rate), ()):
            if abs(steps * batch * SEQUENCE_LENGTH / tokens - 1) < MAX_ROUNDING:
                return steps, name, final
        return None

    def steps_of(self, batch: int, tokens: int) -> int:
        """Return the step count of an unnamed run."""
        for steps in self.steps.get(batch, ()):
            if abs(steps * batch * SEQUENCE_LENGTH / tokens - 1) < MAX_ROUNDING:
                return steps
        return tokens // (batch * SEQUENCE_LENGTH)


def scalebench_run(
    row: Mapping[str, Any], named: NamedRuns, file: str, digest: str, number: int
) -> Run:
    """Return the run of one table row."""
    size, batch = int(row["non_embedding_param_size"]), int(row["bsz"])
    tokens, learning_rate = int(row["data_size"]), row["lr"]
    found = named.find(size, batch, learning_rate, tokens)
    steps = found[0] if found else named.steps_of(batch, tokens)
    shape = named.shapes[size]
    by_name = {"kind": "derived", "rule": "NCPL run name of the same size, batch, rate and tokens"}
    by_size = {"kind": "derived", "rule": "shape of every named run of this size"}
    by_budget = {
        "kind": "derived",
        "rule": "steps of named runs of this batch and budget, else floor(tokens/(batch x 2048))",
    }
    return Run(
        run_id=dense_id(shape, learning_rate, batch, steps),
        source=NAME,
        source_run=found[1] if found else None,
        d_model=shape[0],
        d_ff=shape[1],
        n_heads=shape[2],
        n_layers=shape[3],
        params_non_embedding=size,
        learning_rate=learning_rate,
        min_learning_rate=found[2] if found else None,
        batch_size_sequences=batch,
        train_steps=steps,
        sequence_length=SEQUENCE_LENGTH,
        train_tokens=batch * SEQUENCE_LENGTH * steps,
        nominal_train_tokens=tokens,
        **DECLARED,
        **outcome(row["lm_loss"], None, steps),
        licence="CC-BY-4.0",
        citation=f"{CITATION}; table: ScaleBench (CC-BY-4.0)",
        url=SCALEBENCH_URL,
        file=file,
        file_sha256=digest,
        record=f"row {number}",
        is_copy=True,
        flags=dense_flags(steps),
        origins=origins(
            "params_non_embedding learning_rate batch_size_sequences nominal_train_tokens",
            sequence_length="declared",
            **dict.fromkeys(("d_model", "d_ff", "n_heads", "n_layers"), by_size),
            **dict.fromkeys(("train_steps", "final_step"), by_name if found else by_budget),
            **({"min_learning_rate": by_name, "source_run": by_name} if found else {}),
        ),
        raw_config=dict(row),
    )


def upstream_file(name: str, sha256: str, n_bytes: int) -> RawFile:
    """Return one pinned CSV file of the project."""
    url = f"https://raw.githubusercontent.com/step-law/steplaw/{UPSTREAM_REVISION}/data/{name}"
    return RawFile(name, sha256, n_bytes, url=url)


def scalebench_file(part: str, sha256: str, n_bytes: int) -> RawFile:
    """Return one pinned file of the shipped table."""
    name = f"{part}-00000-of-00001.parquet"
    return RawFile(
        name,
        sha256,
        n_bytes,
        url=f"https://raw.githubusercontent.com/PlanarG/active-sl/{SCALEBENCH_REVISION}"
        f"/benchmark/dataset/lr_bsz_scaling_law/{name}",
        bundled=f"ncpl_data.ingest:data/scalebench_lr_bsz/{name}",
    )


SOURCE = Source(
    name=NAME,
    title="Step Law (Predictable Scale, part I): learning rate x batch size x size x tokens",
    owner="StepFun",
    licence=None,
    citation=CITATION,
    url=UPSTREAM_URL,
    origins=(
        Origin(
            name="upstream",
            title="the project's two CSV files: 1,911 dense and 708 mixture-of-experts runs",
            licence=None,
            citation=CITATION,
            url=UPSTREAM_URL,
            revision=UPSTREAM_REVISION,
            files=(
                upstream_file(
                    "dense_lr_bs_loss.csv",
                    "9e46181076c04d450294d75dfe6f72adc416e231e154a07b337e378f9410002c",
                    344_476,
                ),
                upstream_file(
                    "moe_lr_bs_loss.csv",
                    "653d585244a7b227423007e8b796bc16d76f6d24eb87b1919b8f048a91897b92",
                    232_920,
                ),
                losscast.SHIPPED,
            ),
            n_runs=2_619,
            read=read_upstream,
        ),
        Origin(
            name="scalebench",
            title="ScaleBench's table lr_bsz_scaling_law: 2,819 finished dense runs",
            licence="CC-BY-4.0",
            citation="ScaleBench (PlanarG/active-sl), table lr_bsz_scaling_law, CC-BY-4.0",
            url=SCALEBENCH_URL,
            revision=SCALEBENCH_REVISION,
            files=(
                scalebench_file(
                    "train",
                    "3e8bf513e7c7da2b82e3d324c19643256e3f5cc5770aa4d0dcbc0aa3c38768e5",
                    35_166,
                ),
                scalebench_file(
                    "test",
                    "ed6c33d124562015805d3715f9f01a58e5d27befcd63d30be23a94eedc9caa68",
                    3_944,
                ),
                RawFile(
                    "steplaw_keys_model_split.json",
                    "9499a30f22935253f9539a81669d598808f140570d7c36652d67e88345386310",
                    227_562,
                    url="https://raw.githubusercontent.com/zhqwqwq/Configuration-to-Performance-"
                    "Scaling-Law/4f6e64b0144ec0fa8070a4398e3aebe33a8b11b1/processed_data/keys/"
                    "steplaw_keys_model_split.json",
                    bundled="ncpl_data.catalog:data/steplaw_keys_model_split.json",
                ),
                losscast.SHIPPED,
            ),
            n_runs=2_819,
            read=read_scalebench,
            is_copy=True,
        ),
        wandb_runs.origin(
            project="billzid/predictable-scale",
            licence=None,
            citation=CITATION,
            read=wandb_runs.read_steplaw,
        ),
    ),
    traps=(
        "the column loss is one batch's loss; its noise is shared by all runs of one batch size "
        "and length, so smooth loss is the target",
        "181 dense runs diverged and still carry a loss",
        "one run name is spelled in several ways (3.453e-04, 3.45E-04; 1e-5, 1.00e-05)",
        "D is rounded: 403 named runs have up to .22% fewer or more tokens than D",
        "runs shorter than the declared warm-up of 2,000 steps exist",
        "the final learning rate stands only in the run name",
        "no curves upstream: 2,277 come from LossCast-Bench; their steps count from 0",
        "44 runs of the published split, all under 2,000 steps, have no curve anywhere",
    ),
)
