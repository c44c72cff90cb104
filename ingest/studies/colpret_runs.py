"""Runs of the language models ColPret gathered, one reader a table."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl

from ncpl_data.catalog.curve import Curve
from ncpl_data.catalog.errors import RawFileError
from ncpl_data.catalog.record import Run
from ncpl_data.ingest.packed import curve_of

NAME = "colpret"


CITATION = (
    "Choshen, Zhang, Andreas 2024, A Hitchhiker's Guide to Scaling Law Estimation, "
    "arXiv:2410.11840; each run names its own publisher"
)


URL = "https://github.com/IBM/ColPret"


DATABLATIONS = "aggregated_eval/datablations_losses.csv"


OLMO = "aggregated_eval/olmo.csv"


K2 = "aggregated_eval/K2.csv"


MAMBA = "aggregated_eval/llm360Mamba3B.csv"


OPT = "aggregated_eval/opt_trajectories.csv"


NATS = "nats_per_token"


TENSORBOARD = re.compile(r"\{'tensorboard': '(?P<id>[\w-]+)'\}")


OLMO_LOSS = re.compile(r"(?P<set>[\w-]+)-validation/CrossEntropyLoss")


OLMO_PRIMARY = ("validation/c4_en", "validation/v3-small-c4_en", "validation/mc4_en")
"""The first of them a run has; the three runs share no set."""


CONFLICT = "same_losses_under_two_settings"


def run_of(
    name: str,
    file: str,
    digest: str,
    primary: Curve,
    unit: str,
    curves: Sequence[Curve],
    **values: Any,
) -> Run:
    """Return a run whose values are logged unless `origins` says otherwise."""
    declared: dict[str, Any] = {"stage": "pretrain", "modality": "text", "architecture": "decoder"}
    how = values.pop("origins", {})
    units = values.pop("units", {})
    logged = {key for key, value in values.items() if value is not None} - {"same_as", "flags"}
    origins = (
        dict.fromkeys(declared, "declared")
        | dict.fromkeys(sorted(logged), "logged")
        | dict.fromkeys(("final_loss", "metrics"), "logged")
        | dict.fromkeys(("final_loss_metric", "final_loss_unit"), "declared")
    )
    return Run(
        run_id=f"{NAME}/{name}",
        source=NAME,
        final_loss=float(primary.value[-1]),
        final_loss_metric=primary.metric,
        final_loss_unit=unit,
        metrics=tuple(
            {
                "name": curve.metric,
                "split": curve.metric.split("/")[0],
                "unit": units.get(curve.metric, unit),
                "value": float(curve.value[-1]),
            }
            for curve in curves
        ),
        citation=CITATION,
        url=URL,
        file=file,
        file_sha256=digest,
        is_copy=True,
        curves=tuple(curves),
        licence=None if file == OPT else "Apache-2.0",  # as each publisher states
        origins=origins | how,
        **declared,
        **values,
    )


def billions(text: str) -> int:
    """Return the count a text like "2.8B" or "125m" names."""
    scale = {"b": 1e9, "m": 1e6}[text[-1].lower()]
    return round(float(text[:-1]) * scale)


def datablations_runs(rows: pl.DataFrame, digest: str) -> Iterator[Run]:
    """Yield the 48 repeated-data runs: train loss against tokens, on C4 and OSCAR.

    The files give tokens and no steps, so the step axis of these curves counts tokens.
    """
    seen: dict[bytes, str] = {}
    for part in rows.partition_by("model_args", maintain_order=True):
        first = part.row(0, named=True)
        match = TENSORBOARD.fullmatch(first["model_args"])
        if match is None:
            raise RawFileError(
                f'{NAME} {DATABLATIONS}: model_args is "{first["model_args"][:60]}"; expected '
                "{'tensorboard': '...'}",
                source=NAME,
                file=DATABLATIONS,
            )
        tokens = part["token_num"].to_numpy()
        loss = part["loss"].to_numpy()
        curve = curve_of(NAME, DATABLATIONS, "train/loss", tokens, loss, tokens)
        name = f"datablations_{first['num_params']}_{first['data']}_{first['epochs']}epochs"
        twin = seen.setdefault(loss.tobytes(), f"{NAME}/{name}")
        is_twin = twin != f"{NAME}/{name}"
        yield run_of(
            name,
            DATABLATIONS,
            digest,
            curve,
            NATS,
            (curve,),
            source_run=match["id"],
            same_as=(twin,) if is_twin else None,
            flags=("step_counts_tokens", *([CONFLICT] if is_twin else [])),
            dataset=first["data"],
            epochs=float(first["epochs"]),
            unique_tokens=round(first["tokens_per_epoch"]),
            train_tokens=int(tokens[-1]),
            extra={f"{NAME}.nominal_params": billions(first["num_params"])},
            origins={"train_tokens": {"kind": "derived", "rule": "tokens of the last point"}},
        )


def olmo_runs(rows: pl.DataFrame, digest: str) -> Iterator[Run]:
    """Yield OLMo 1B, 7B and 7B-Twin: validation losses on many sets."""
    for part in rows.sort("Step").partition_by("model_name", maintain_order=True):
        curves = {}
        for column in part.columns:
            match = OLMO_LOSS.fullmatch(column)
            points = part.select("Step", column).drop_nulls() if match else None
            if match and points is not None and points.height:
                metric = f"validation/{match['set']}"
                step, value = points["Step"].to_numpy(), points[column].to_numpy()
                curves[metric] = curve_of(NAME, OLMO, metric, step, value)
        name = part["model_name"][0].strip()  # "OLMo-1B " ends in a space
        primary = next(curves[metric] for metric in OLMO_PRIMARY if metric in curves)
        yield run_of(
            name,
            OLMO,
            digest,
            primary,
            NATS,
            tuple(curves.values()),
            source_run=name,
            model_family="olmo",
            final_step=int(part["Step"][-1]),
            extra={f"{NAME}.nominal_params": billions(part["num_params"][0])},
        )


def k2_run(rows: pl.DataFrame, digest: str) -> Iterator[Run]:
    """Yield LLM360 K2: train loss; its last rows go back to an earlier step and are left out."""
    step = rows["Step"].to_numpy()
    backwards = np.flatnonzero(np.diff(step) <= 0)
    n = int(backwards[0]) + 1 if len(backwards) else len(step)
    loss = rows["k2 training - lm loss"].to_numpy()
    curve = curve_of(NAME, K2, "train/lm_loss", step[:n], loss[:n])
    yield run_of(
        "K2-65B",
        K2,
        digest,
        curve,
        NATS,
        (curve,),
        source_run="LLM360/K2",
        flags=("restart_left_out", "step_unit_not_stated"),
    )


def mamba_run(rows: pl.DataFrame, digest: str) -> Iterator[Run]:
    """Yield the 3B Mamba of LLM360: train loss, learning rate and gradient norm."""
    step = rows["step"].to_numpy()
    curves = [
        curve_of(NAME, MAMBA, metric, step, rows[column].to_numpy())
        for metric, column in (
            ("train/loss", "loss"),
            ("train/learning_rate", "lr"),
            ("train/grad_norm", "grad_norm"),
        )
    ]
    yield run_of(
        "Mamba-3B",
        MAMBA,
        digest,
        curves[0],
        NATS,
        curves,
        units={"train/learning_rate": "other", "train/grad_norm": "other"},
        model_family="mamba",
        learning_rate=float(curves[1].value.max()),
        final_step=int(step[-1]),
        origins={"learning_rate": {"kind": "derived", "rule": "the largest logged rate"}},
    )


def opt_runs(rows: pl.DataFrame, digest: str) -> Iterator[Run]:
    """Yield OPT's six sizes: perplexity against steps; tokens stand as log10."""
    for part in rows.sort("model_size", "steps").partition_by("model_size", maintain_order=True):
        step = part["steps"].to_numpy()
        tokens = np.rint(10.0 ** part["num_token"].to_numpy()).astype(np.int64)
        curve = curve_of(NAME, OPT, "validation/perplexity", step, part["ppl"].to_numpy(), tokens)
        yield run_of(
            f"OPT-{part['model_size'][0]}",
            OPT,
            digest,
            curve,
            "perplexity",
            (curve,),
            model_family="opt",
            final_step=int(step[-1]),
            train_tokens=int(tokens[-1]),
            extra={f"{NAME}.nominal_params": billions(part["model_size"][0])},
            origins={"train_tokens": {"kind": "derived", "rule": "10 ^ num_token, last point"}},
        )
