"""What training costs as a family grows: 1,000 to 100,000 runs, the default preset, no curves.

Runs are real ones of StepLaw, jittered, and named so (jittered.py). Seconds are processor time.
NCPL_BENCH_RUNS names other counts, smallest first, as "1000,5000,20000": all four take hours.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.bench, pytest.mark.timeout(6 * 3600)]

HERE = Path(__file__).parent
FIXTURE = HERE.parent / "fixtures" / "snapshot_steplaw"
COUNTS = os.environ.get("NCPL_BENCH_RUNS", "1000,5000,20000,100000")
PEAK_LIMIT_GIB = 6.0
HOUR_RUNS, HOUR_SECONDS = 20_000, 3600.0
"""So many runs within an hour on two cores: here of processor time, on one."""


def test_training_grows_no_faster_than_runs_times_their_log(tmp_path: Path) -> None:
    """Each count beside the one before; 6 GiB at most, 20,000 runs within the hour."""
    before: tuple[int, float] | None = None
    for count in (int(text) for text in COUNTS.split(",")):
        command = [sys.executable, HERE / "jittered.py", FIXTURE, str(count), tmp_path / str(count)]
        told = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        seconds, peak = told["seconds"], told["peak_gib"]
        print(f"{count:,} runs: {seconds:.0f} s, {peak:.2f} GiB, held-out MAE {told['mae']}")
        assert peak <= PEAK_LIMIT_GIB
        if count <= HOUR_RUNS:
            assert seconds <= HOUR_SECONDS
        if before is not None:
            grown = count * math.log(count) / (before[0] * math.log(before[0]))
            print(f"  {seconds / before[1]:.2f} times {before[0]:,} runs (limit {grown:.2f})")
            assert seconds <= grown * before[1]
        before = count, seconds
