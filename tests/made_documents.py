"""Generated run documents in any number: what benches and tests of validation read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import orjson

EXAMPLES = Path(__file__).parents[1] / "schema" / "examples"


def made_lines(n: int, n_points: int) -> Iterator[bytes]:
    """Yield run documents as JSON lines, each another run with a noisy curve of some points."""
    draw = np.random.default_rng(0)
    base = json.loads((EXAMPLES / "dense_pretrain.json").read_text())
    steps = 10_000 * (1 + np.arange(n_points)) // n_points
    for i in range(n):
        values = (2.4 + 30 * steps**-0.5 + draw.normal(0, 0.01, n_points)).round(4).tolist()
        curve = {"metric": "train/loss", "step": steps.tolist(), "value": values}
        outcome = base["outcome"] | {"final_loss": values[-1]}
        own = {"run_id": f"many/{i}", "source": "many", "seed": i, "outcome": outcome}
        yield orjson.dumps(base | own | {"curves": [curve]}) + b"\n"
