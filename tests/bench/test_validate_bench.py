"""Validating many documents: time from file to verdict, and memory."""

import json
import random
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "schema" / "examples"


def lines(n: int, n_points: int) -> list[str]:
    """Return generated run documents of some points, each another run."""
    rng = random.Random(0)
    base = json.loads((EXAMPLES / "dense_pretrain.json").read_text())
    steps = [10_000 * (i + 1) // n_points for i in range(n_points)]
    found = []
    for i in range(n):
        values = [round(2.4 + 30 * s**-0.5 + rng.gauss(0, 0.01), 4) for s in steps]
        curve = {"metric": "train/loss", "step": steps, "value": values}
        outcome = base["outcome"] | {"final_loss": values[-1]}
        document = base | {"run_id": f"many/{i}", "source": "many", "seed": i}
        found.append(json.dumps(document | {"curves": [curve], "outcome": outcome}))
    return found


@pytest.mark.bench
def test_a_hundred_thousand_documents_take_at_most_three_seconds(tmp_path: Path) -> None:
    """1e5 documents of 200 points, file to verdict; the processes' memory is printed."""
    path = tmp_path / "many.jsonl"
    with path.open("w") as file:
        for _ in range(10):
            file.write("\n".join(lines(10_000, 200)) + "\n")
    code = "from ncpl_data.ingest.cli import main; main()"
    command = [sys.executable, "-c", code, "validate", str(path), "--json"]
    start = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"validate 1e5 x 200 points: {seconds:.2f} s, peak {peak_mb:.0f} MB a process")
    assert json.loads(done.stdout)["valid"] == 100_000
    assert peak_mb < 500
    assert seconds <= 3
