"""Modded-NanoGPT: logs of the speedrun and of its optimizer benchmark."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ncpl_data.catalog.record import Run, Skipped
from ncpl_data.ingest.base import Origin, RawFile, Source, metric_of
from ncpl_data.ingest.packed import curve_of
from ncpl_data.ingest.studies.modded_nanogpt_logs import (
    KINDS,
    NAME,
    SCALE,
    Log,
    logs_of,
    read_table,
)

CITATION = "KellerJordan/modded-nanogpt: speedrun and optimizer benchmark records"
URL = "https://github.com/KellerJordan/modded-nanogpt"
REVISION = "f411b3d346aa52d3504324ca93c230fd84c6c07f"

TRACKS = ("track_1_short", "track_2_medium", "track_3_optimization")
RESULTS = "track_3_results_table.md"
OPTIMIZER_TRACK = "track_3_optimization"
BATCH_TOKENS = 524_288  # fixed in the optimizer track
PRIMARY = "validation/loss"

DECLARED = (
    "stage",
    "modality",
    "architecture",
    "dataset",
    "tokenizer",
    "final_loss_metric",
    "final_loss_unit",
)
LOG_LINK = re.compile(r"\]\((results/[^)\s]+)\)")
LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")


def read_jsonl(files: Mapping[str, Path]) -> Iterator[Run | Skipped]:
    """Yield the runs of the packed logs: JSON lines with the step lines of each log."""
    logs = [log for track in TRACKS for log in logs_of(files[f"{track}.jsonl.zst"])]
    yield from runs_of(logs, files[RESULTS])


def read_shipped(files: Mapping[str, Path]) -> Iterator[Run | Skipped]:
    """Yield the runs of the shipped table."""
    yield from runs_of(read_table(files["modded_nanogpt.parquet"]), files[RESULTS])


def runs_of(logs: Iterable[Log], results: Path) -> Iterator[Run]:
    """Yield one run a log, or several where a log holds several one after another."""
    described = descriptions(results)
    seen: dict[str, str] = {}
    for log in logs:
        for run in runs_of_log(log, described):
            # files are copied to second folders and printed again in collected output
            digest = hashlib.sha256()
            for curve in run.curves:
                curve.update(digest)
            first = seen.setdefault(digest.hexdigest(), run.run_id)
            yield run if first == run.run_id else replace(run, same_as=(first,))


def descriptions(path: Path) -> dict[str, str]:
    """Return the benchmark's description of the logs its table links to, by path."""
    found = {}
    for line in path.read_text("utf-8").splitlines():
        cells = line.strip("|").split(" | ")
        for link in LOG_LINK.findall(line):
            found[f"records/{OPTIMIZER_TRACK}/{link}"] = LINK.sub(r"\1", cells[3]).strip()
    return found


def runs_of_log(log: Log, described: Mapping[str, str]) -> Iterator[Run]:
    """Yield the runs of one log: the step count starts again where the next one begins."""
    curves: dict[str, list[tuple[Any, Any]]] = {
        kind: list(attempts(log[f"{kind}_step"], log[f"{kind}_millionths"])) for kind in KINDS
    }
    n_runs = len(curves["val"])
    for index in range(n_runs):
        parts = {k: v[index] for k, v in curves.items() if len(v) == n_runs}
        yield run_of(log, index if n_runs > 1 else None, parts, described)


def attempts(step: Any, millionths: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the points of each run in a log.

    Where steps go back to the start, another run begins; where they go back a little, lines are
    printed twice, and the first print counts.
    """
    cuts = [0, *(np.flatnonzero(np.diff(step) <= 0) + 1).tolist(), len(step)]
    current: tuple[list[Any], list[Any]] = ([], [])
    for start, end in itertools.pairwise(cuts):
        if start == end:
            continue
        if current[0] and step[start] <= step[0]:
            yield np.concatenate(current[0]), np.concatenate(current[1])
            current = ([], [])
        last = current[0][-1][-1] if current[0] else -1
        keep = slice(start + int(np.searchsorted(step[start:end], last, side="right")), end)
        if keep.start < keep.stop:
            current[0].append(step[keep])
            current[1].append(millionths[keep])
    if current[0]:
        yield np.concatenate(current[0]), np.concatenate(current[1])


def run_of(
    log: Log,
    index: int | None,
    parts: Mapping[str, tuple[Any, Any]],
    described: Mapping[str, str],
) -> Run:
    """Return one run of a log."""
    path = log["path"]
    name = path.removeprefix("records/").rsplit(".", 1)[0]
    track = name.split("/")[0]
    in_optimizer_track = track == OPTIMIZER_TRACK
    curves = []
    for kind, (step, millionths) in parts.items():
        steps = step.astype(np.int64)
        tokens = steps * BATCH_TOKENS if in_optimizer_track else None
        metric = KINDS[kind][0]
        curves.append(curve_of(NAME, path, metric, steps, millionths / SCALE, tokens))
    last, planned = int(parts["val"][0][-1]), int(log["planned"])
    final = float(curves[0].value[-1])
    notes = described.get(path)
    values: dict[str, Any] = {"notes": notes} if notes else {}
    origins: dict[str, Any] = dict.fromkeys(
        ("train_steps", "final_step", "final_loss", "metrics", "extra"), "logged"
    )
    origins |= dict.fromkeys(DECLARED, "declared")
    origins["status"] = {"kind": "derived", "rule": "the log reaches the planned last step"}
    if in_optimizer_track:
        values["train_tokens"] = planned * BATCH_TOKENS
        origins["train_tokens"] = {"kind": "derived", "rule": "524,288 tokens a step x steps"}
    return Run(
        run_id=f"{NAME}/{name}{'' if index is None else f'@{index + 1}'}".replace(" ", "_"),
        source=NAME,
        source_run=name,
        stage="pretrain",
        modality="text",
        architecture="decoder",
        extra={f"{NAME}.track": track},
        dataset="fineweb-10B",
        tokenizer="gpt2",
        train_steps=planned,
        status="finished" if last >= planned else "truncated",
        final_loss=final,
        final_loss_metric=PRIMARY,
        final_loss_unit="nats_per_token",
        final_step=last,
        metrics=tuple(
            metric_of(
                curve, split=curve.metric.split("/")[0], unit="nats_per_token", smoothing="none"
            )
            for curve in curves
        ),
        citation=CITATION,
        url=URL,
        file=path,
        record=f"blob {log['blob']}",
        is_copy=False,
        flags=None if index is None else ("several_runs_in_one_log",),
        origins=origins,
        raw_config={"hints": json.loads(log["hints"])},
        curves=tuple(curves),
        **values,
    )


TABLE = RawFile(
    RESULTS,
    "2162cb2262d5e26d86ed2bb466f288fdf7d315dfd530c65f506174d58dd73d5c",
    18_225,
    bundled=f"ncpl_data.ingest:data/modded_nanogpt/{RESULTS}",
)
SOURCE = Source(
    name=NAME,
    title="Modded-NanoGPT: 399 optimizer-track and 257 speedrun logs",
    owner="Keller Jordan and contributors",
    licence="MIT",
    citation=CITATION,
    url=URL,
    origins=(
        Origin(
            name="shipped",
            title="the step lines of 656 logs as one table, and the results table",
            licence="MIT",
            citation=CITATION,
            url=URL,
            revision=REVISION,
            files=(
                RawFile(
                    "modded_nanogpt.parquet",
                    "367501c9b2c04fcde35cd6d299cfbba41b77d2087d8932b4db4c98baab989054",
                    644_256,
                    bundled="ncpl_data.ingest:data/modded_nanogpt/modded_nanogpt.parquet",
                ),
                TABLE,
            ),
            n_runs=841,
            read=read_shipped,
        ),
        Origin(
            name="packed",
            title="the step lines packed as JSON lines, one file a track (--from)",
            licence="MIT",
            citation=CITATION,
            url=URL,
            revision=REVISION,
            files=(
                RawFile(
                    "track_1_short.jsonl.zst",
                    "f3e5cd1d76b23895848b4f55326b0fa7a9f196385ecf9a1a04ba23fd963f3635",
                    1_273_507,
                ),
                RawFile(
                    "track_2_medium.jsonl.zst",
                    "785cdb9aaf5d69d32c206350b975a978f2222463f2250b972fc2c2718a19e4fe",
                    9_834,
                ),
                RawFile(
                    "track_3_optimization.jsonl.zst",
                    "95436872a455d746096c65c90d180753432d73f49fefb213c19470807c0e26b4",
                    170_603,
                ),
                TABLE,
            ),
            n_runs=841,
            read=read_jsonl,
        ),
    ),
    traps=(
        "configuration is code: numbers found in the script are hints, kept in raw_config only",
        "15 logs hold several runs one after another (200 in all), one of them prints lines twice",
        "some logs lie in two folders or are printed again in a collected one: same_as by content",
        "track 1 stops near 3.28 by design: the step count carries the signal, not the loss",
        "track 1 is a sample of at most three logs a record",
        "batch and sequence length change during later track-1 runs, so tokens are left out there",
    ),
)
