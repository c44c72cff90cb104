"""What a first prediction costs cold, and what a base install brings, beside their limits."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import NamedTuple

import pytest

pytestmark = pytest.mark.bench

CONFIG = {
    "params_non_embedding": 3e8, "train_tokens": 1e10, "learning_rate": 2e-3,
    "batch_size_sequences": 256, "sequence_length": 2048,
}  # fmt: skip
REQUIREMENT = re.compile(r"[A-Za-z0-9._-]+")


class Cost(NamedTuple):
    """What a process took."""

    seconds: float
    """Of processor time."""
    mb: float
    """Most memory at once."""


TOLD = """
import atexit, os, runpy, sys, time
def tell():
    with open("/proc/self/status") as status:
        most = next(line.split()[1] for line in status if line.startswith("VmHWM"))
    os.write(2, f"{time.process_time()} {int(most) * 1024 / 1e6}".encode())
atexit.register(tell)
"""
"""Before a program: at its end it tells its processor time and most memory. What the system says of
a child counts the memory of its parent."""
PREDICT = "sys.argv = ['ncpl', 'predict', {!r}]; runpy.run_module('ncpl', run_name='__main__')"


def cost_of(code: str) -> Cost:
    """Return the least of five cold starts; a busy machine adds to some of them."""
    found = []
    for _ in range(5):
        done = subprocess.run(
            [sys.executable, "-c", TOLD + code],
            check=True,
            capture_output=True,
            text=True,
            env=dict(os.environ) | {"OMP_NUM_THREADS": "1"},
        )
        seconds, mb = map(float, done.stderr.split())
        found.append(Cost(seconds, mb))
    return Cost(min(c.seconds for c in found), min(c.mb for c in found))


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_a_cold_prediction_takes_a_second_and_250_mb_at_most(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(CONFIG), "utf-8")
    bare, ours = cost_of("import numpy"), cost_of(PREDICT.format(str(file)))
    print(
        f"\nncpl predict, cold: {ours.seconds:.2f} s (limit 1.0), {ours.mb:.0f} MB (limit 250); "
        f"{ours.seconds / bare.seconds:.1f}x import numpy, {ours.mb / bare.mb:.1f}x its memory"
    )
    assert ours.seconds <= 1.0
    assert ours.mb <= 250


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_importing_ncpl_takes_150_ms_at_most_beyond_python_itself() -> None:
    bare, ours = cost_of("pass"), cost_of("import ncpl")
    print(f"\nimport ncpl: {ours.seconds - bare.seconds:.3f} s (limit 0.15)")
    assert ours.seconds - bare.seconds <= 0.15


def needed() -> dict[str, Distribution]:
    """Return what a base install of ours brings, by name, as installed here."""
    found: dict[str, Distribution] = {}
    left = ["ncpl-data"]
    while left:
        name = left.pop().lower().replace("_", "-")
        try:
            one = distribution(name)
        except PackageNotFoundError:
            continue  # of another system or Python
        if name in found:
            continue
        found[name] = one
        plain = [line for line in one.requires or [] if "extra ==" not in line]
        left += [match[0] for line in plain if (match := REQUIREMENT.match(line))]
    return found


def test_a_base_install_is_40_packages_and_700_mb_at_most() -> None:
    """Of files that the packages list; `make test-slow` measures an install."""
    packages = needed()
    del packages["ncpl-data"]
    size = sum(
        path.stat().st_size
        for one in packages.values()
        for file in one.files or []
        if (path := Path(str(one.locate_file(file)))).is_file() and path.suffix != ".pyc"
    )
    own = sum(
        path.stat().st_size
        for part in ("terminal", "schema", "catalog", "ingest", "explore", "ncpl")
        for path in (Path(__file__).parents[2] / part).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    )
    total = (size + own) / 1e6
    print(f"\nbase install: {len(packages) + 1} packages (limit 40), {total:.0f} MB (limit 700)")
    assert len(packages) + 1 <= 40
    assert total <= 700
