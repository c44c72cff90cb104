"""Step Law: dense and mixture-of-experts runs over learning rate, batch size, size and tokens."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from ncpl_data.catalog.parquet import file_sha256
from ncpl_data.catalog.record import Run, Skipped
from ncpl_data.ingest.base import CsvRow, Origin, RawFile, Source, csv_rows
from ncpl_data.ingest.studies import losscast, wandb_runs
from ncpl_data.ingest.studies.steplaw import DECLARED, RUN_NAME, SEQUENCE_LENGTH, dense_id
from ncpl_data.ingest.studies.steplaw_run import (
    CITATION,
    dense_flags,
    origins,
    outcome,
    read_curves,
    with_curve,
)
from ncpl_data.ingest.studies.steplaw_scalebench import (
    SCALEBENCH_REVISION,
    SCALEBENCH_URL,
    read_scalebench,
)

NAME = "steplaw"
UPSTREAM_URL = "https://github.com/step-law/steplaw"
UPSTREAM_REVISION = "32a8f4cc50247695fb56cc6c9117abdf67c97763"


MOE_NAME = re.compile(r"step2v2_0801_(?P<id>.+)_mlr(?P<mlr>[\d.]+[eE][+-]?\d+)(_gg)?")

DENSE_COLUMNS = "h,ffnh,numh,numl,lr,bs,ti,loss,smooth loss,exp_name,D,N"
MOE_COLUMNS = (
    "seq_len,topk,nume,moeh,sed,h,ffnh,numh,numl,lr,bs,ti,loss,smooth loss,average_iter_time,"
    "final_iter,exp_name,numld,N,Na,D,total_time"
)


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
