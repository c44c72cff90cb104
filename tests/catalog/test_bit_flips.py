"""One bit flips at rest, in any file of a catalog or snapshot: it is reported or is harmless."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from made_runs import made_run, put

from ncpl_data.catalog.check import check_catalog
from ncpl_data.catalog.compact import compact
from ncpl_data.catalog.errors import NcplDataError
from ncpl_data.catalog.export import export_catalog
from ncpl_data.catalog.query import connect, run_sql
from ncpl_data.catalog.record import Skipped
from ncpl_data.catalog.snapshots.take import take_snapshot
from ncpl_data.catalog.snapshots.verify import verify_snapshot
from ncpl_data.catalog.store import Catalog
from ncpl_data.catalog.upsert import RUN_TABLES

N_FLIPS = 200
TABLES = ("runs", "curves", "evals", "rejects", "ingests")


def filled(root: Path) -> Path:
    """Fill a catalog with files of every kind, a snapshot among them."""
    catalog = Catalog(root)
    for i in range(40):
        put(catalog, made_run(f"{i:02d}"), skipped=[Skipped("made/x", f"crashed {i}")])
    put(catalog, *(made_run(f"y{i}", source="other", points=300) for i in range(5)))
    for _ in range(10):  # until old states are packed
        put(catalog, made_run("y0", source="other", seed=random.randrange(10**9)))
    take_snapshot(catalog, policy="group-hash")
    return root


def rows(catalog: Catalog) -> dict[str, object]:
    """Return the decoded rows of every table."""
    return {table: catalog.read(table).to_pylist() for table in TABLES}


def queried(catalog: Catalog) -> object:
    """Return what a query says of every table of runs."""
    con = connect(catalog)
    try:
        return [run_sql(con, f"from {t} order by all").fetchall() for t in RUN_TABLES]
    finally:
        con.close()


def compacted(catalog: Catalog) -> object:
    """Return the rows after a compaction, in one order."""
    compact(catalog)
    return [sorted(map(str, found)) for found in rows(catalog).values()]  # type: ignore[call-overload]


COMMANDS: tuple[Callable[[Catalog], object], ...] = (
    rows,
    queried,
    lambda c: take_snapshot(c, policy="group-hash", out=c.root / "new").id,
    lambda c: take_snapshot(c, policy="group-hash", where="seed is null", out=c.root / "new").id,
    lambda c: export_catalog(c, "delta", c.root / "export").keys(),
    compacted,
)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_no_flipped_bit_becomes_the_truth(tmp_path: Path) -> None:
    pytest.importorskip("deltalake")
    draw = random.Random(20261128)
    original = filled(tmp_path / "original")
    expected = []
    for command in COMMANDS:
        copy = Path(shutil.copytree(original, tmp_path / "copy"))
        expected.append(command(Catalog(copy)))
        shutil.rmtree(copy)
    files = [p for p in sorted(original.rglob("*")) if p.is_file() and p.stat().st_size]
    kinds = sorted({kind_of(p, original) for p in files})
    outcome: Counter[tuple[str, str]] = Counter()
    for i in range(N_FLIPS):
        kind = kinds[i % len(kinds)]
        path = draw.choice([p for p in files if kind_of(p, original) == kind])
        copy = Path(shutil.copytree(original, tmp_path / "copy"))
        target = copy / path.relative_to(original)
        content = bytearray(target.read_bytes())
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        target.write_bytes(content)
        outcome[kind, judged(Catalog(copy), target, i, expected)] += 1
        shutil.rmtree(copy)
    for kind in kinds:
        told = {what: n for (own, what), n in sorted(outcome.items()) if own == kind}
        print(f"\n| {kind} | {told}", end="")
    assert {what for _, what in outcome} <= {"reported", "harmless"}


def kind_of(path: Path, root: Path) -> str:
    """Return the kind of a file: its folder, or what it is in a snapshot."""
    parts = path.relative_to(root).parts
    if parts[0] == "snapshots":
        return "snapshot " + (parts[2] if len(parts) == 3 else f"{parts[2]}/*")
    return "/".join(parts[:-1])


def judged(catalog: Catalog, target: Path, turn: int, expected: list[object]) -> str:
    """Return what became of a flip: the first command to read the file reports it, or not."""
    command = COMMANDS[turn % len(COMMANDS)]
    if "snapshots" in target.parts:
        try:
            verify_snapshot(next((catalog.root / "snapshots").iterdir()))
        except NcplDataError:
            return "reported"
        return "passed by verify"
    try:
        found = command(catalog)
    except NcplDataError as error:
        return "reported" if target.name in str(error) else "reported without its name"
    if found != expected[turn % len(COMMANDS)]:
        return "became the truth"
    problems = [str(p) for p in check_catalog(catalog)]  # a file that the command did not read
    return "reported" if any(target.name in p for p in problems) else "passed by check"


def read_or_checked(catalog: Catalog, target: Path) -> str:
    """Return what the first reader of a file says of it: the tables', `check`, or a snapshot's."""
    try:
        if "snapshots" in target.parts:
            verify_snapshot(next((catalog.root / "snapshots").iterdir()))
            return "passed"
        rows(catalog)
    except NcplDataError as error:
        return "reported" if target.name in str(error) else "reported without its name"
    told = any(target.name in str(problem) for problem in check_catalog(catalog))
    return "reported" if told else "passed"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_hundred_flips_in_each_kind_of_file_are_reported(tmp_path: Path) -> None:
    """In place, one after the other, by the command that reads the file first."""
    draw = random.Random(20261129)
    root = filled(tmp_path / "catalog")
    expected = rows(Catalog(root))
    files = [p for p in sorted(root.rglob("*")) if p.is_file() and p.stat().st_size]
    outcome: Counter[tuple[str, str]] = Counter()
    for kind in sorted({kind_of(p, root) for p in files}):
        for _ in range(N_FLIPS):
            path = draw.choice([p for p in files if kind_of(p, root) == kind])
            content = path.read_bytes()
            flipped = bytearray(content)
            flipped[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
            path.write_bytes(flipped)
            outcome[kind, read_or_checked(Catalog(root), path)] += 1
            path.write_bytes(content)
        told = {what: n for (own, what), n in sorted(outcome.items()) if own == kind}
        print(f"\n| {kind} | {told}", end="", flush=True)
    assert rows(Catalog(root)) == expected
    assert "passed" not in {what for _, what in outcome}
