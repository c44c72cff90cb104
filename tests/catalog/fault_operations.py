"""What is done to a catalog while its disk or its store fails, and what must hold afterwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from faulty import FaultyDisk, PowerLoss
from made_runs import made_run, put

from ncpl_data.catalog.check import check_catalog
from ncpl_data.catalog.compact import compact
from ncpl_data.catalog.disk import using
from ncpl_data.catalog.errors import NcplDataError
from ncpl_data.catalog.gc import collect
from ncpl_data.catalog.history import KEPT_LOOSE, PACK_STATES
from ncpl_data.catalog.manifest import manifest_name
from ncpl_data.catalog.outcome import Outcome
from ncpl_data.catalog.record import Skipped
from ncpl_data.catalog.repair import repair
from ncpl_data.catalog.snapshots.read import list_folders
from ncpl_data.catalog.snapshots.take import take_snapshot
from ncpl_data.catalog.snapshots.verify import snapshot_problems
from ncpl_data.catalog.store import Catalog

Content = Counter[tuple[str, str, int]]


@dataclass(frozen=True)
class Operation:
    """One thing that is done to a catalog."""

    name: str
    prepare: Callable[[Catalog], object]
    run: Callable[[Catalog], object]


def base(catalog: Catalog) -> None:
    """Fill a catalog with a few commits."""
    put(catalog, made_run("a"), made_run("b"), skipped=[Skipped("made/x", "crashed")])
    put(catalog, made_run("c"), made_run("b", final_loss=1.0))


def ingest(catalog: Catalog) -> None:
    """Add, change and refuse, as an ingest does."""
    runs = (made_run("b", final_loss=1.5), made_run("d"))
    put(catalog, *runs, skipped=[Skipped("made/y", "crashed")])


def submit(catalog: Catalog) -> None:
    """Replace a named run and add one, as a submission does."""
    put(catalog, made_run("c", seed=4), made_run("e"), replacing=frozenset({"made/c"}))


def many(catalog: Catalog) -> None:
    """Come to the commit that packs manifests."""
    base(catalog)
    for _ in range(KEPT_LOOSE + PACK_STATES - 3):
        catalog.commit(lambda manifest: (dict(manifest.tables), Outcome()), "nothing")


def dropped(catalog: Catalog) -> None:
    """Make files that `gc` removes."""
    base(catalog)
    compact(catalog)


def beheaded(catalog: Catalog) -> None:
    """Lose the newest manifest."""
    base(catalog)
    catalog.folder.remove(manifest_name(2))


OPERATIONS = (
    Operation("ingest", base, ingest),
    Operation("submit", base, submit),
    Operation("pack", many, ingest),
    Operation("compact", base, compact),
    Operation("snapshot", base, lambda c: take_snapshot(c, policy="group-hash")),
    Operation("gc", dropped, lambda c: collect(c, older_hours=0, keep_manifests=1, dry_run=False)),
    Operation("repair", beheaded, lambda c: repair(c, apply=True)),
)


def attempt(operation: Operation, catalog: Catalog, disk: FaultyDisk) -> None:
    """Run an operation on a disk that fails, to whatever end it comes."""
    try:
        with using(disk):
            operation.run(catalog)
    except (NcplDataError, OSError):
        pass
    except PowerLoss:
        disk.lose_power()


def content(catalog: Catalog) -> Content:
    """Return the runs of a catalog by name and hash, each with its points."""
    points = Counter(catalog.read("curves")["run_id"].to_pylist())
    rows = catalog.read("runs").to_pylist()
    return Counter((r["run_id"], r["run_hash"], points[r["run_id"]]) for r in rows)


def violations(catalog: Catalog, operation: Operation, states: list[Content]) -> Iterator[str]:
    """Yield what is wrong after a fault, then run the operation again and look once more.

    `states` are the contents before and after the whole operation.
    """
    if operation.name != "repair":  # before a repair the state is lost, as it was
        if content(catalog) not in states:
            yield "other rows"
        yield from map(str, check_catalog(catalog))
    for path in list_folders(catalog.root / "snapshots"):
        yield from map(str, snapshot_problems(path))
    operation.run(catalog)
    if content(catalog) != states[-1]:
        yield "other rows after the second try"
    yield from map(str, check_catalog(catalog, deep=True))
