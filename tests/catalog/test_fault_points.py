"""Every call to the disk fails once; after each the catalog keeps its laws.

The method is that of SQLite's tests: count the calls of an operation, then run it again for each
call and way to fail, on a fresh copy. Afterwards the catalog holds what it held before or what it
was to hold, `check` finds nothing, and the operation run again completes.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_operations import OPERATIONS, Operation, attempt, content, violations
from faulty import MODES, FaultyDisk

from ncpl_data.catalog.disk import using
from ncpl_data.catalog.store import Catalog

LEAST_POINTS = 50
"""Of each operation, on a folder: with seven of them more than 300 in all."""


def points_of(calls: list[str]) -> Iterator[tuple[int, str]]:
    """Yield every call, of the many small writes of Parquet files every fortieth."""
    n_writes = 0
    for at, kind in enumerate(calls):
        n_writes += kind == "write"
        if kind != "write" or n_writes % 40 == 1:
            yield at, kind


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: o.name)
def test_every_call_to_a_disk_fails_once(operation: Operation, tmp_path: Path) -> None:
    original = Catalog(tmp_path / "original")
    operation.prepare(original)
    states = [content(original)] if operation.name != "repair" else []
    counted = Catalog(Path(shutil.copytree(original.root, tmp_path / "counted")))
    disk = FaultyDisk()
    with using(disk):
        operation.run(counted)
    states.append(content(counted))
    found, tried = [], Counter[str]()
    for at, kind in points_of(disk.calls):
        for mode in MODES:
            if mode == "short write" and kind != "write":
                continue
            place = tmp_path / f"{at}-{mode}"  # a new one: this machine remembers its commits
            catalog = Catalog(Path(shutil.copytree(original.root, place)))
            faulty = FaultyDisk(at, mode)
            attempt(operation, catalog, faulty)
            tried[mode] += 1
            found += [f"{kind} {at}, {mode}: {v}" for v in violations(catalog, operation, states)]
            shutil.rmtree(catalog.root)
    print(f"\n{operation.name}: {len(disk.calls)} calls, {dict(tried)}, {len(found)} violations")
    assert found == []
    assert sum(tried.values()) >= LEAST_POINTS
