"""OLMo ladder: five sizes at five token budgets, and the runs they predict."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from ncpl_data.catalog.curve import Curve
from ncpl_data.catalog.errors import RawFileError
from ncpl_data.catalog.record import Evaluation, Run, Skipped
from ncpl_data.ingest.base import metric_of
from ncpl_data.ingest.packed import curve_of, packed_source, sha256
from ncpl_data.ingest.pins.olmo_ladder import COMPRESSED, PINS

NAME = "olmo_ladder"
CITATION = (
    "Bhagia et al. 2024, Establishing Task Scaling Laws via Compute-Efficient Model Ladders, "
    "arXiv:2412.04403"
)
URL = "https://github.com/allenai/OLMo-ladder"
REVISION = "67a3f440f787d020da35e3ca8eeae475fae754f5"

FILE_NAME = re.compile(
    r"ladder-runs/(?P<name>(?P<size>\d+[MB])-(?P<multiple>[\d.]+)xC(?P<rerun>-rerun)?|peteish\w+?)"
    r"(_eval_full)?\.csv"
)
VALIDATION = re.compile(r"eval/(?P<set>[\w-]+)-validation/CrossEntropyLoss")
TASK = re.compile(r"eval/(?P<group>downstream\w*)/(?P<task>\w+?_\d+shot)_(?P<kind>\w+)")
PRIMARY = "validation/c4_en"
RATE = "optim/learning_rate_group0"
TOKENS = "throughput/total_tokens"

# Constants of the training code (src/ladder/ladder.py and src/scaling/utils.py): width, layers,
# heads and the parameter count that sets warm-up. The logged rates confirm the warm-up.
SHAPES: Mapping[str, tuple[int, int, int, int]] = {
    "190M": (768, 12, 12, 190_354_176),
    "370M": (1024, 16, 16, 371_262_464),
    "760M": (1536, 16, 16, 758_220_288),
    "1B": (2048, 16, 16, 1_279_395_840),
    "3B": (3328, 16, 16, 3_169_537_280),
}
# The runs that the ladder predicts: counts of src/scripts/paper/configs/final.json, shapes of the
# OLMo 2 report (arXiv 2501.00656, table of architectures).
TARGETS: Mapping[str, tuple[int, int, int, int]] = {
    "peteish7": (4096, 32, 32, 6_887_575_552),
    "peteish7_medlr": (4096, 32, 32, 6_887_575_552),
    "peteish13": (5120, 40, 40, 13_202_396_160),
}
VOCABULARY = 100_278
EMBEDDING_ROWS = 100_352
"""Rows of the embedding, padded; input and output have one each (src/ladder/ladder.py)."""
DECLARED: Mapping[str, Any] = {
    "stage": "pretrain",
    "modality": "text",
    "architecture": "decoder",
    "model_family": "olmo",
    "vocab_size": VOCABULARY,
    "is_embedding_tied": False,
}
LADDER: Mapping[str, Any] = {
    "optimizer": "adamw",
    "adam_beta1": 0.9,
    "adam_beta2": 0.95,
    "weight_decay": 0.1,
    "schedule": "cosine",
}


def read(contents: Mapping[str, bytes]) -> Iterator[Run | Skipped]:
    """Yield one run a CSV file."""
    for name in sorted(contents):
        yield run_of(name, contents[name])


def table_of(name: str, content: bytes) -> pl.DataFrame:
    """Return the export as a table of numbers, sorted as it stands.

    Raises RawFileError if it is no such export.
    """
    try:
        rows = pl.read_csv(content, infer_schema_length=None)
        words = [column for column, kind in rows.schema.items() if kind == pl.String]
        if words or "_step" not in rows.columns:
            raise ValueError(f"columns {words or '_step'} hold no numbers")
    except (pl.exceptions.PolarsError, ValueError) as error:
        raise RawFileError(
            f"{NAME} {name}: expected a CSV export with _step and numbers ({error}); the file is "
            "cut off or altered. Take it again from the source",
            source=NAME,
            file=name,
        ) from error
    return rows


def run_of(name: str, content: bytes) -> Run:
    """Return the run of one export."""
    match = FILE_NAME.fullmatch(name)
    if match is None or match["size"] not in {*SHAPES, None}:
        raise RawFileError(
            f"{NAME} {name}: expected a name like ladder-runs/190M-5xC.csv",
            source=NAME,
            file=name,
        )
    rows = table_of(name, content)
    per_step = one_value(rows, "batch_size_in_tokens")
    if per_step is None:
        raise RawFileError(
            f"{NAME} {name}: batch_size_in_tokens is missing or holds several values; expected one",
            source=NAME,
            file=name,
        )
    curves = curves_of(name, rows, per_step)
    if PRIMARY not in curves:
        raise RawFileError(f"{NAME} {name}: no column for {PRIMARY}", source=NAME, file=name)
    final = curves[PRIMARY]
    peak = one_value(rows, "learning_rate_peak")
    values: dict[str, Any] = dict(DECLARED)
    origins: dict[str, Any] = dict.fromkeys(DECLARED, "declared")
    if peak is not None:
        values["learning_rate"] = float(peak)
        origins["learning_rate"] = "logged"
    if match["size"]:
        ladder, how = ladder_fields(match, per_step, rows)
        values |= ladder
        origins |= how
    elif match["name"] in TARGETS:
        width, layers, heads, count = TARGETS[match["name"]]
        values |= {"d_model": width, "n_layers": layers, "n_heads": heads}
        origins |= dict.fromkeys(("d_model", "n_layers", "n_heads"), "declared")
        values["train_tokens"] = int(final.step[-1]) * per_step
        origins["train_tokens"] = {"kind": "derived", "rule": "last step x tokens per step"}
        values |= (sizes := sizes_of(width, count))
        origins |= dict.fromkeys(sizes, SIZE_ORIGIN)
    flags = [] if peak is not None else ["two_peak_rates"]
    if match["multiple"] == "1" and not match["rerun"]:
        flags.append("superseded_by_rerun")
    origins |= dict.fromkeys(("final_loss", "final_step", "metrics", "extra"), "logged")
    origins |= dict.fromkeys(("final_loss_metric", "final_loss_unit"), "declared")
    extra = values.pop("extra", {})
    return Run(
        run_id=f"{NAME}/{match['name']}",
        source=NAME,
        source_run=match["name"],
        extra=extra | {f"{NAME}.batch_tokens": per_step},
        final_loss=float(final.value[-1]),
        final_loss_metric=PRIMARY,
        final_loss_unit="nats_per_token",
        final_step=int(final.step[-1]),
        metrics=tuple(entry_of(curve) for curve in curves.values()),
        citation=CITATION,
        url=URL,
        file=f"src/scripts/paper/data/{name}",
        file_sha256=sha256(content),
        is_copy=False,
        flags=tuple(flags) or None,
        origins=origins,
        curves=tuple(curves.values()),
        evals=evals_of(rows),
        **values,
    )


SIZE_ORIGIN = {
    "kind": "derived",
    "rule": "the code's count leaves out the input embedding of 100,352 x width",
}


def sizes_of(width: int, count: int) -> dict[str, int]:
    """Return total and non-embedding parameters from the count that the ladder's code uses."""
    embedding = width * EMBEDDING_ROWS
    return {"params_total": count + embedding, "params_non_embedding": count - embedding}


def one_value(rows: pl.DataFrame, column: str) -> Any:
    """Return the value of a column that holds one; None if it holds several."""
    found = rows[column].drop_nulls().unique().to_list() if column in rows.columns else []
    return found[0] if len(found) == 1 else None


def ladder_fields(
    match: re.Match[str], per_step: int, rows: pl.DataFrame
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what the training code says of a ladder run, and how each value is known."""
    width, layers, heads, count = SHAPES[match["size"]]
    steps = int(rows["_step"].max())  # type: ignore[arg-type]
    rates = rows[RATE].drop_nulls()
    peak = float(rows["learning_rate_peak"].drop_nulls()[0])
    sizes = sizes_of(width, count)
    declared = {**LADDER, "d_model": width, "n_layers": layers, "n_heads": heads}
    derived = {
        "warmup_steps": count // per_step,
        "min_learning_rate": float(rates[-1]),
        "train_steps": steps,
        "status": "finished",
        "nominal_train_tokens": round(20 * float(match["multiple"]) * count),
    }
    logged = {"train_tokens": int(rows[TOKENS].max())}  # type: ignore[arg-type]
    rules = {
        "warmup_steps": "parameters / tokens per step; the first logged rates lie on that ramp",
        "min_learning_rate": "the rate logged at the last step",
        "train_steps": "the last logged step, where the rate stands at a tenth of its peak",
        "status": "the logged rate has come down to a tenth of its peak",
        "nominal_train_tokens": "20 x parameters x the multiple in the name",
    }
    if abs(rates[-1] / peak - 0.1) > 1e-6:
        for key in ("train_steps", "status", "min_learning_rate"):
            del derived[key], rules[key]
    origins: dict[str, Any] = dict.fromkeys(declared, "declared") | dict.fromkeys(logged, "logged")
    origins |= {key: {"kind": "derived", "rule": rule} for key, rule in rules.items()}
    origins |= dict.fromkeys(sizes, SIZE_ORIGIN)
    return {
        **declared,
        **derived,
        **logged,
        **sizes,
        "extra": {f"{NAME}.model_params": count},
    }, origins


def curves_of(name: str, rows: pl.DataFrame, per_step: int) -> dict[str, Curve]:
    """Return the validation losses and the learning rate by metric."""
    found = {}
    for column in rows.columns:
        match = VALIDATION.fullmatch(column)
        if match is None and column != RATE:
            continue
        metric = f"validation/{match['set']}" if match else "train/learning_rate"
        part = rows.select("_step", column).drop_nulls()
        if part.height == 0:
            continue
        step = part["_step"].to_numpy()
        value = part[column].cast(pl.Float64).to_numpy()
        found[metric] = curve_of(NAME, name, metric, step, value, step * per_step)
    return found


def entry_of(curve: Curve) -> dict[str, Any]:
    """Return a curve's metric with its last value."""
    is_rate = curve.metric == "train/learning_rate"
    return metric_of(
        curve,
        split="train" if is_rate else "validation",
        dataset=None if is_rate else curve.metric.removeprefix("validation/"),
        unit="other" if is_rate else "nats_per_token",
    )


def evals_of(rows: pl.DataFrame) -> tuple[Evaluation, ...]:
    """Return the last value of every downstream task: bits per byte, accuracies, soft scores."""
    found = []
    for column in rows.columns:
        match = TASK.fullmatch(column)
        if match is None:
            continue
        part = rows.select("_step", column).drop_nulls()
        if part.height:
            step, value = part.row(-1)
            shots = int(match["task"].rsplit("_", 1)[1].removesuffix("shot"))
            task = match["task"].rsplit("_", 1)[0]
            found.append(Evaluation(task, match["kind"], float(value), int(step), shots))
    return tuple(found)


SOURCE = packed_source(
    read,
    name=NAME,
    title="OLMo ladder: 30 exports of 25 settings, and three runs of 7B and 13B",
    owner="Allen Institute for AI",
    licence="Apache-2.0",
    citation=CITATION,
    url=URL,
    revision=REVISION,
    n_runs=33,
    files_title="33 W&B exports: eleven validation sets, tasks, rates",
    sha256="56500df391018afe012674c4b7218cfc10ab74c0ca7b838f86d0b7b57b015c7a",
    n_bytes=2_227_557,
    pins=PINS,
    folder="/src/scripts/paper/data",
    compressed=COMPRESSED,
    traps=(
        "1xC and 1xC-rerun are two runs of one setting; the paper uses the rerun",
        "task losses are bits per byte, validation losses nats per token",
        "the 13B export holds two peak rates: its rate is left out",
        "architecture and optimizer are constants of the code; its parameter count leaves out the "
        "input embedding only, so the usual counts are derived from it",
        "the batch is logged in tokens; the sequence length is not",
    ),
)
