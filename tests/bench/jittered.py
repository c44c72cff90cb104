"""Train on generated runs: the real ones of StepLaw, jittered, so that there are as many as asked.

Run as: python jittered.py SNAPSHOT COUNT OUT [PRESET]. COUNT training runs are made of the real
ones in turn: each copy has its learning rate times exp(.1 z) and its loss plus .002 z nats, z
normal, and a name that ends in ~1, ~2, ... Held-out runs stay as they are. There are no curves.
Prints one JSON object: runs, processor seconds, the largest memory held, errors on held-out parts.
"""

from __future__ import annotations

import dataclasses
import json
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ncpl.data.snapshot import Runs, Snapshot
from ncpl.evaluate.scores import SPLITS
from ncpl.model.config import FitConfig
from ncpl.train.pipeline import train_bundle

RATE_SPREAD, LOSS_SPREAD = 0.1, 0.002


def jittered(train: Runs, count: int) -> Runs:
    """Return so many training runs: the real ones first, then generated copies of them."""
    draw = np.random.default_rng(0)
    at, copy = np.arange(count) % len(train), np.arange(count) // len(train)
    rate = np.exp(RATE_SPREAD * draw.standard_normal(count))
    configs = [dict(train.configs[i]) for i in at]
    for config, of, factor in zip(configs, copy, rate, strict=True):
        if of:
            config["learning_rate"] *= float(factor)
    loss = train.loss[at] + LOSS_SPREAD * draw.standard_normal(count) * (copy > 0)
    names = [
        f"{train.run_ids[i]}~{of}" if of else train.run_ids[i]
        for i, of in zip(at, copy, strict=True)
    ]
    take = [[column[i] for i in at] for column in (train.status, train.family, train.split)]
    return Runs(names, configs, loss, *take, [train.group[i] for i in at], train.share[at])


def joined(parts: Sequence[Runs]) -> Runs:
    """Return the runs of all parts as one table."""
    columns: dict[str, list[Any]] = {
        field.name: [value for part in parts for value in getattr(part, field.name)]
        for field in dataclasses.fields(Runs)
    }
    return Runs(**columns | {name: np.array(columns[name]) for name in ("loss", "share")})


def main(snapshot: str, count: str, out: str, preset: str = "default") -> None:
    """Train on the snapshot's runs of StepLaw, jittered, and print what it took."""
    found = Snapshot.open(Path(snapshot))
    runs = found.runs()
    family = next(f for f in runs.families() if f[0] == "steplaw")
    own = jittered(runs.where(family=family, split="train"), int(count))
    held = [runs.where(family=family, split=split) for split in SPLITS]
    both = joined([own, *held])
    begun = time.process_time()
    bundle = train_bundle(found, both, FitConfig.preset(preset), seed=0, folder=Path(out))
    seconds = time.process_time() - begun
    # A process inherits ru_maxrss of the one that started it; VmHWM is its own.
    peak = re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text(encoding="utf-8"))
    assert peak is not None
    told = {
        "runs": int(count),
        "seconds": round(seconds, 1),
        "peak_gib": round(int(peak[1]) / 2**20, 2),
        "mae": {row["split"]: row["mae"] for row in bundle.about["scores"] if "mae" in row},
    }
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
