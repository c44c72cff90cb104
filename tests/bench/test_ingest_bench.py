"""Speed of an ingest against the barest program that parses the same file, writes its rows."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bare_losscast import write_rows

from ncpl_data.catalog.store import Catalog
from ncpl_data.ingest.pipeline import ingest
from ncpl_data.ingest.sources import SOURCES

pytestmark = [pytest.mark.bench, pytest.mark.timeout(600)]

N_RECORDS, N_POINTS = 5_168, 71
LIMIT = 2.0


def record(name: str, draw: np.random.Generator) -> dict[str, object]:
    """Return a generated record in the shape of LossCast-Bench's own runs."""
    steps = np.linspace(0, 1990, N_POINTS).astype(int)
    losses = (3 + 6 / np.sqrt(1 + steps) + draw.normal(0, 0.01, N_POINTS)).round(6)
    return {
        "split": "train",
        "run_id": name,
        "config": {
            "run_id": name,
            "model": {
                "arch": "transformer",
                "n_layers": 12,
                "d_model": 768,
                "n_heads": 6,
                "n_kv_heads": 6,
                "head_dim": 128,
                "d_ff": 3072,
                "vocab_size": 8192,
                "activation": "relu2",
                "norm_type": "rmsnorm",
                "rope": True,
                "tied_embeddings": False,
                "window_pattern": "SSSL",
            },
            "optimizer": {
                "name": "muon_adamw",
                "lr": 0.01,
                "weight_decay": 0.05,
                "beta1": 0.85,
                "beta2": 0.95,
                "eps": 1e-08,
                "grad_clip": None,
                "extra": {
                    "matrix_lr": 0.01,
                    "embedding_lr": 0.6,
                    "unembedding_lr": 0.004,
                    "scalar_lr": 0.5,
                    "muon_ns_steps": 5,
                    "adam_betas": [0.8, 0.95],
                    "dmodel_lr_scale": 1.0,
                },
            },
            "data": {
                "dataset": "fineweb_edu",
                "tokenizer": "autoresearch_bpe_8k",
                "seq_len": 2048,
                "batch_tokens": 524288,
                "tokens_total": 1043333120,
                "eval_dataset": "train",
            },
            "schedule": {
                "lr_schedule": "warmup_stable_warmdown",
                "warmup_steps": 0,
                "total_steps": 1990,
                "warmdown_ratio": 0.2,
                "final_lr_ratio": 0.0,
            },
            "eval_metric": "nats",
            "precision": "bf16",
            "hardware": "H100",
            "dp_size": 1,
            "device_batch_size": 64,
            "code_repo": "karpathy/autoresearch",
            "code_commit": "228791fb499afffb54b46200aca536f79142f117",
            "extra": {"val_bpb": 0.905641},
        },
        "losses": dict(zip(map(str, steps.tolist()), losses.tolist(), strict=True)),
    }


def timed(command: list[str]) -> tuple[float, float]:
    """Return (wall, CPU) seconds of a program."""
    before, start = os.times(), time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    wall, after = time.perf_counter() - start, os.times()
    return wall, sum(after[2:4]) - sum(before[2:4])


def cpu_of(work: Callable[[], object]) -> float:
    """Return the CPU seconds of some work."""
    start = time.process_time()
    work()
    return time.process_time() - start


def comparable(runs: pa.Table) -> list[dict[str, object]]:
    """Return the rows both programs write, texts of JSON parsed."""
    rows = runs.sort_by("run_id").to_pylist()
    for row in rows:
        for column in ("extra", "optimizer_extra", "origins", "raw_config"):
            row[column] = json.loads(row[column])
    return [{k: v for k, v in row.items() if v is not None and k != "run_hash"} for row in rows]


def test_an_ingest_of_the_size_of_losscast(tmp_path: Path) -> None:
    """Program against program, and then the work alone in this process, both warmed up."""
    draw = np.random.default_rng(0)
    path = tmp_path / "runs.jsonl.gz"
    with gzip.open(path, "wt", encoding="utf-8", compresslevel=1) as file:
        for i in range(N_RECORDS):
            file.write(json.dumps(record(f"nanochat_d12_1B_made{i}", draw)) + "\n")

    def ours(name: str) -> Catalog:
        catalog = Catalog(tmp_path / name)
        done = ingest(SOURCES["losscast"], catalog, folder=tmp_path, accept_changed=True)
        assert len(done.outcome.added) == N_RECORDS
        return catalog

    catalog = ours("warm")
    runs = catalog.read("runs")
    origins = runs["origins"][0].as_py()
    n_points = write_rows(path, tmp_path / "bare", "", origins)
    bare = pq.read_table(tmp_path / "bare" / "runs.parquet")
    assert comparable(runs) == comparable(bare.drop_columns("revision"))
    assert catalog.read("curves").equals(
        pq.read_table(tmp_path / "bare" / "curves.parquet").sort_by(
            [("run_id", "ascending"), ("step", "ascending")]
        )
    )
    bare_cpu = min(
        cpu_of(lambda i=i: write_rows(path, tmp_path / f"bare{i}", "", origins)) for i in range(3)
    )
    our_cpu = min(cpu_of(lambda i=i: ours(f"warm{i}")) for i in range(3))
    walls, cpus = [], []
    for i in range(3):
        program = str(Path(__file__).with_name("bare_losscast.py"))
        base = timed([sys.executable, program, str(path), str(tmp_path / f"out{i}"), "", origins])
        code = "from ncpl_data.ingest.cli import main; main()"
        options = ["ingest", "losscast", "--from", str(tmp_path), "--accept-changed", "-q"]
        own = timed([sys.executable, "-c", code, *options, "--catalog", str(tmp_path / f"cat{i}")])
        walls.append(own[0] / base[0])
        cpus.append(own[1] / base[1])
    print(
        f"\ningest of {N_RECORDS:,} runs, {n_points:,} points, against the barest program that "
        f"writes the same rows (limit {LIMIT:.0f}x):\n"
        f"  the programs: {min(walls):.2f}x wall, {min(cpus):.2f}x CPU (bare {base[0]:.2f} s)\n"
        f"  the work alone, warmed up: {our_cpu / bare_cpu:.2f}x CPU "
        f"({our_cpu:.2f} s and {bare_cpu:.2f} s)"
    )
    assert min(cpus) <= LIMIT  # beside other programs the wall clock measures them
