"""Gemstones: 22 shapes of one decoder at a constant rate, cooled branches, a lower rate."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from ncpl_data.catalog.errors import RawFileError
from ncpl_data.catalog.record import Run, Skipped
from ncpl_data.ingest.packed import curve_of, packed_source, sha256
from ncpl_data.ingest.pins.gemstones import COMPRESSED, PINS

NAME = "gemstones"
CITATION = "McLeish et al. 2025, Gemstones: A Model Suite for Multi-Faceted Scaling Laws"
URL = "https://github.com/mcleish7/gemstone-scaling-laws"
REVISION = "5f420478f6057b0cbb4d13405fb10ca64675bccb"

HOT = "wandb_df_for_fitting_hot_100b+_477.jsonl"
COOLER = "wandb_df_for_fitting_lr_ablation_hot_477.jsonl"
BEGIN = "wandb_df_for_fitting_cool_begin.jsonl"
END = "wandb_df_for_fitting_cool_end.jsonl"
BENCHMARKS = {
    "validation/fineweb_edu": "fineweb_edu_losses_combined.jsonl",
    "validation/fineweb_dclm": "fineweb_dclm_losses_combined.jsonl",
}
LOSS = "validation/loss"
DATASETS = {LOSS: None, "validation/fineweb_edu": "fineweb_edu", "validation/fineweb_dclm": "dclm"}
RUN_NAME = re.compile(r"(?P<cooler>cooler_)?(PyGemma|Gemstone)-(?P<shape>\d+x\d+)(_pretrain)?")

COLUMNS = {
    "run_name": pl.String,
    "step": pl.Int64,
    "tokens": pl.Int64,
    "final_loss": pl.Float64,
    "width": pl.Int64,
    "depth": pl.Int64,
    "params_active_precise": pl.Int64,
    "seconds_per_step": pl.Float64,
}
DECLARED: Mapping[str, Any] = {
    "stage": "pretrain",
    "modality": "text",
    "architecture": "decoder",
    "optimizer": "adamw",
    "dataset": "dolma-1.7",
}


def read(contents: Mapping[str, bytes]) -> Iterator[Run | Skipped]:
    """Yield the 22 constant-rate runs, the 20 at a lower rate, the 199 cooled branches."""
    files = {name.rsplit("/", 1)[-1]: content for name, content in contents.items()}
    digests = {name: sha256(content) for name, content in files.items()}
    tables = {name: rows_of(files[name], name) for name in files}
    extra = {metric: shapes_of(tables[file], file) for metric, file in BENCHMARKS.items()}
    for file in (HOT, COOLER):
        for shape, rows in sorted(shapes_of(tables[file], file).items()):
            curves = {LOSS: rows}
            if file == HOT:
                curves |= {metric: found[shape] for metric, found in extra.items()}
            yield constant_run(shape, file, digests[file], curves)
    yield from cooled_runs(tables, digests)


def rows_of(content: bytes, name: str) -> pl.DataFrame:
    """Return the rows of one file.

    Raises RawFileError if it is not JSON lines with the columns of the project.
    """
    try:
        return pl.read_ndjson(content, schema=COLUMNS)
    except (pl.exceptions.PolarsError, RuntimeError) as error:
        raise RawFileError(
            f"{NAME} {name}: expected JSON lines with {', '.join(COLUMNS)} ({error}); the file is "
            "cut off or altered. Take it again from the source",
            source=NAME,
            file=name,
        ) from error


def shapes_of(rows: pl.DataFrame, file: str) -> dict[str, pl.DataFrame]:
    """Return the rows by shape ("1024x28"), sorted by step."""
    found = {}
    for (name,), part in rows.sort("run_name", "step").group_by(["run_name"], maintain_order=True):
        match = RUN_NAME.fullmatch(str(name))
        if match is None:
            raise RawFileError(
                f'{NAME} {file}: run_name is "{name}"; expected a name like '
                "PyGemma-1024x28_pretrain",
                source=NAME,
                file=file,
            )
        found[match["shape"]] = part
    return found


def run_of(rows: pl.DataFrame, file: str, digest: str, **values: Any) -> Run:
    """Return a run with what every row of it says."""
    first = rows.row(0, named=True)
    last = rows.row(-1, named=True)
    logged = {
        "source_run": first["run_name"],
        "d_model": first["width"],
        "n_layers": first["depth"],
        "params_active": first["params_active_precise"],
        "step_time_seconds": first["seconds_per_step"],
        "train_tokens": last["tokens"],
        "final_step": last["step"],
        "final_loss": last["final_loss"],
    }
    declared = {**DECLARED, "final_loss_metric": LOSS, "final_loss_unit": "nats_per_token"}
    origins = dict.fromkeys(declared, "declared") | dict.fromkeys(logged, "logged")
    origins["metrics"] = "logged"
    return Run(
        source=NAME,
        citation=CITATION,
        url=URL,
        file=f"wandb_dfs/{file}",
        file_sha256=digest,
        record=first["run_name"],
        is_copy=False,
        origins=dict((origins | values.pop("origins")).items()),
        **logged,
        **declared,
        **values,
    )


def constant_run(shape: str, file: str, digest: str, tables: Mapping[str, pl.DataFrame]) -> Run:
    """Return a run at a constant rate after warm-up."""
    is_cooler = file == COOLER
    metrics = tuple(
        {
            "name": metric,
            "split": "validation",
            "dataset": DATASETS[metric],
            "unit": "nats_per_token",
            "step": rows["step"][-1],
            "value": rows["final_loss"][-1],
        }
        for metric, rows in tables.items()
    )
    return run_of(
        tables[LOSS],
        file,
        digest,
        run_id=f"{NAME}/{shape}{'_cooler' if is_cooler else ''}",
        schedule="constant",
        extra={f"{NAME}.variant": "cooler" if is_cooler else "hot"},
        metrics=metrics,
        curves=tuple(
            curve_of(
                NAME,
                file,
                metric,
                rows["step"].to_numpy(),
                rows["final_loss"].to_numpy(),
                rows["tokens"].to_numpy(),
            )
            for metric, rows in tables.items()
        ),
        origins={"schedule": "declared", "extra": "logged"},
    )


def cooled_runs(tables: Mapping[str, pl.DataFrame], digests: Mapping[str, str]) -> Iterator[Run]:
    """Yield one run a cooled branch: row i of the two files is its begin and its end."""
    begin, end = tables[BEGIN], tables[END]
    if begin["run_name"].to_list() != end["run_name"].to_list():
        raise RawFileError(
            f"{NAME} {END}: its rows are not those of {BEGIN}, in order",
            source=NAME,
            file=END,
        )
    for i in range(begin.height):
        rows = pl.concat([begin[i], end[i]])
        match = RUN_NAME.fullmatch(rows["run_name"][0])
        assert match is not None, rows["run_name"][0]
        first, last = rows["step"].to_list()
        by_rows = {"kind": "derived", "rule": "row of cool_begin and row of cool_end"}
        yield run_of(
            rows,
            END,
            digests[END],
            run_id=f"{NAME}/{match['shape']}_cooled_{first}",
            parent_run_id=f"{NAME}/{match['shape']}",
            branch_step=first,
            schedule="wsd",
            decay_steps=last - first,
            extra={f"{NAME}.variant": "cooled"},
            metrics=(
                {
                    "name": LOSS,
                    "split": "validation",
                    "unit": "nats_per_token",
                    "step": last,
                    "value": rows["final_loss"][1],
                },
            ),
            curves=(
                curve_of(
                    NAME,
                    END,
                    LOSS,
                    rows["step"].to_numpy(),
                    rows["final_loss"].to_numpy(),
                    rows["tokens"].to_numpy(),
                ),
            ),
            origins=dict.fromkeys(("parent_run_id", "branch_step", "decay_steps"), by_rows)
            | {"schedule": "declared", "extra": "logged"},
        )


SOURCE = packed_source(
    read,
    name=NAME,
    title="Gemstones: 22 shapes hot, 20 at a lower rate, 199 cooled branches",
    owner="University of Maryland (McLeish et al.)",
    licence="MIT",
    citation=CITATION,
    url=URL,
    revision=REVISION,
    n_runs=241,
    files_title="six JSONL tables: validation loss every 477 steps, and on two FineWeb sets",
    sha256="a8a9f92e78b72f4da501f4d6e2373f220807c5687e0844421fcb6a3465d8470a",
    n_bytes=59_172,
    pins=PINS,
    compressed=COMPRESSED,
    traps=(
        "final_loss is the loss at that row's step, not at the end of the run",
        "hot_477 and hot_120b+_only repeat rows of hot_100b+: one file is read",
        "a cooled branch is two rows: begin (the hot checkpoint) and end",
        "4,194,304 tokens a step; batch and sequence length are not stated apart",
    ),
)
