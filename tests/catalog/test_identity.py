"""A snapshot's id depends on nothing but content: not on order, process, compaction or Python."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OTHERS = ("python3.11", "python3.12", "python3.13", "python3.14")
NEEDED = (
    "import click, duckdb, httpx, jsonschema, numpy, platformdirs, polars, pyarrow, referencing"
)

MAKE = """
import random, sys
from pathlib import Path
from ncpl_data.catalog.compact import compact
from ncpl_data.catalog.record import Skipped
from ncpl_data.catalog.snapshots.take import take_snapshot
from ncpl_data.catalog.store import Catalog
from ncpl_data.ingest.pipeline import check, locate
from ncpl_data.ingest.sources import SOURCES

root, seed, does_compact = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "compact"
draw = random.Random(seed)
catalog = Catalog(root)
names = ["multipower", "overtraining", "lr_scheduling"]
draw.shuffle(names)
for name in names:
    located = locate(
        SOURCES[name], folder=None, offline=True, accept_changed=False, notify=lambda _: None
    )
    items = list(check(located.origin.read(located.paths), located))
    runs = [item for item in items if not isinstance(item, Skipped)]
    draw.shuffle(runs)
    middle = draw.randrange(1, len(runs))
    for part in (runs[:middle], runs[middle:]):
        catalog.upsert(part, source=name, operation="test", origin="shipped")
if does_compact:
    compact(catalog)
snapshot = take_snapshot(catalog, policy="group-hash", seed=7)
print(sys.version_info.minor, snapshot.manifest["counts"]["runs"], snapshot.id)
"""


def make(python: str, folder: Path, seed: int, *options: str) -> tuple[int, int, str]:
    """Return minor version, runs and id of a snapshot that a process of some Python makes."""
    tree = folder.parent / "tree" / "ncpl_data"  # another Python has not installed this package
    tree.mkdir(parents=True, exist_ok=True)
    for part in ("schema", "catalog", "ingest"):
        if not (tree / part).exists():
            (tree / part).symlink_to(ROOT / part, target_is_directory=True)
    done = subprocess.run(
        [python, "-c", MAKE, str(folder), str(seed), *(options or ("plain",))],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tree.parent), "PYTHONHASHSEED": str(seed)},
    )
    minor, runs, identity = done.stdout.split()
    return int(minor), int(runs), identity


def others() -> list[str]:
    """Return the other Pythons that have what is needed: NCPL_OTHER_PYTHON, else those on PATH."""
    given = os.environ.get("NCPL_OTHER_PYTHON")
    found = given.split(os.pathsep) if given else [p for n in OTHERS if (p := shutil.which(n))]
    code = f"import sys; assert sys.version_info.minor != {sys.version_info.minor}; {NEEDED}"
    return [
        python
        for python in found
        if not subprocess.run([python, "-c", code], check=False, capture_output=True).returncode
    ]


@pytest.mark.slow
def test_orders_processes_and_compaction_give_one_id(tmp_path: Path) -> None:
    made = {
        make(sys.executable, tmp_path / "a", 1),
        make(sys.executable, tmp_path / "b", 2),
        make(sys.executable, tmp_path / "c", 3, "compact"),
    }
    assert len(made) == 1


@pytest.mark.slow
def test_another_python_gives_the_same_id(tmp_path: Path) -> None:
    pythons = others()
    if not pythons:
        pytest.skip("no other Python with the packages; name one in NCPL_OTHER_PYTHON")
    _, runs, identity = make(sys.executable, tmp_path / "own", 1)
    for number, python in enumerate(pythons):
        minor, *rest = make(python, tmp_path / str(number), 2, "compact")
        assert minor != sys.version_info.minor
        assert rest == [runs, identity], python
