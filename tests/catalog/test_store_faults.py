"""Every call to an S3 store fails once, and every call to the disk beside it; the laws hold.

As on a folder (test_fault_points.py), against a real server on the loopback interface.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from fault_operations import OPERATIONS, Content, Operation, attempt, content, violations
from faulty import MODES, STORE_MODES, FaultyDisk, FaultyStore
from test_fault_points import points_of

from ncpl_data.catalog.bucket import Bucket
from ncpl_data.catalog.disk import using
from ncpl_data.catalog.store import Catalog

pytest.importorskip("obstore")
pytest.importorskip("moto")

LEAST_POINTS = 30
"""Of each operation: with six of them more than 150 in all."""


def storage(catalog: Catalog) -> Bucket:
    """Return the bucket of a catalog."""
    assert isinstance(catalog.folder, Bucket)
    return catalog.folder


def objects(catalog: Catalog) -> dict[str, bytes]:
    """Return all objects of a catalog."""
    store = storage(catalog)
    listed = [meta["path"] for page in store.obstore.list(store.store) for meta in page]
    return {name: store.read(name) for name in listed}


def copied(found: dict[str, bytes], place: str) -> Catalog:
    """Put objects under another prefix, where this machine remembers no commit."""
    catalog = Catalog(place)
    for name, bytes_ in found.items():
        store = storage(catalog)
        store.obstore.put(store.store, name, bytes_)
    return catalog


def faults(calls: list[str], disk_calls: list[str]) -> Iterator[tuple[str, int, str, str]]:
    """Yield (what fails, call, its kind, mode): each call to the store by two modes in turn.

    Of the calls to the disk beside it, which holds copies only, each fourth, by one mode in turn.
    """
    for at, kind in enumerate(calls):
        modes = [mode for mode in STORE_MODES if mode != "short read" or kind == "get"]
        yield from (("store", at, kind, modes[(at + turn) % len(modes)]) for turn in range(2))
    for turn, (at, kind) in enumerate(list(points_of(disk_calls))[::4]):
        modes = [mode for mode in MODES if mode != "short write" or kind == "write"]
        yield "disk", at, kind, modes[turn % len(modes)]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "operation", [o for o in OPERATIONS if o.name != "pack"], ids=lambda o: o.name
)
def test_every_call_to_a_store_fails_once(operation: Operation, bucket: str) -> None:
    original = Catalog(f"{bucket}/original")
    operation.prepare(original)
    states: list[Content] = [content(original)] if operation.name != "repair" else []
    found = objects(original)
    counted = copied(found, f"{bucket}/counted")
    store, disk = FaultyStore(storage(counted).obstore), FaultyDisk()
    storage(counted).obstore = store
    with using(disk):
        operation.run(counted)
    states.append(content(counted))
    wrong, tried = [], Counter[str]()
    for number, (what, at, kind, mode) in enumerate(faults(store.calls, disk.calls)):
        place = f"{bucket}/{number}"
        catalog = copied(found, place)
        faulty = FaultyDisk(at if what == "disk" else -1, mode)
        if what == "store":
            storage(catalog).obstore = FaultyStore(storage(catalog).obstore, at, mode)
        attempt(operation, catalog, faulty)
        tried[f"{what}: {mode}"] += 1
        told = violations(Catalog(place), operation, states)
        wrong += [f"{what} {kind} {at}, {mode}: {problem}" for problem in told]
    print(f"\n{operation.name}: {len(store.calls)} calls, {dict(tried)}, {len(wrong)} violations")
    assert wrong == []
    assert sum(tried.values()) >= LEAST_POINTS
