"""Speed of the catalog, each as a ratio measured in one run, with its limit beside it."""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
from made_catalog import N_POINTS, make_catalog, names

from ncpl_data.catalog.check import check_catalog
from ncpl_data.catalog.compact import compact
from ncpl_data.catalog.merge import literal
from ncpl_data.catalog.query import connect, run_sql
from ncpl_data.catalog.store import Catalog

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1800)]

N_SMALL, N_LARGE = 5_000, 100_000
SQL = (
    "select source, count(*), min(value), max(value), sum(step) from curves "
    "group by source order by source"
)
FREEZE = """
import json, resource, sys, time
from pathlib import Path
from ncpl_data.catalog.snapshots.take import take_snapshot
from ncpl_data.catalog.store import Catalog
root, out, where = sys.argv[1:]
started = time.perf_counter()
taken = take_snapshot(Catalog(Path(root)), policy="group-hash", out=Path(out), where=where or None)
print(json.dumps({
    "seconds": time.perf_counter() - started,
    "gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    "points": taken.manifest["counts"]["curves"],
}))
"""


@pytest.fixture(scope="module")
def catalogs(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Catalog]:
    """Catalogs of a million and of twenty million curve points."""
    folder = tmp_path_factory.mktemp("bench")
    found = {}
    for n_runs in (N_SMALL, N_LARGE):
        started = time.perf_counter()
        found[n_runs] = make_catalog(folder / str(n_runs), n_runs)
        seconds = time.perf_counter() - started
        size = sum(f.bytes for f in found[n_runs].manifest().tables["curves"])
        print(f"\ncommit {n_runs * N_POINTS:,} points: {seconds:.1f} s, {size / 1e6:,.0f} MB")
    return found


def seconds_of(work: Callable[[], object], times: int = 3) -> float:
    """Return the median time of some work, after one warm-up."""
    work()
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def listed(catalog: Catalog, table: str) -> str:
    """Return the files of a table as DuckDB takes them."""
    return "[" + ", ".join(literal(str(p)) for p in catalog.paths(table)) + "]"


def copy_sql(catalog: Catalog, table: str, keys: str, folder: Path) -> str:
    """Return the COPY of a table in a snapshot's order."""
    return (
        f"copy (from read_parquet({listed(catalog, table)}) order by {keys}) "
        f"to {literal(str(folder / table))} (format parquet, compression zstd)"
    )


@pytest.mark.parametrize("n_runs", [N_SMALL, N_LARGE])
def test_a_query_through_the_view(catalogs: dict[int, Catalog], n_runs: int) -> None:
    catalog = catalogs[n_runs]

    def ours() -> object:
        with contextlib.closing(connect(catalog, SQL)) as con:
            return run_sql(con, SQL).fetchall()

    def bare() -> object:
        with contextlib.closing(duckdb.connect()) as con:
            files = f"read_parquet({listed(catalog, 'curves')})"
            return con.execute(SQL.replace("from curves", f"from {files}")).fetchall()

    assert ours() == bare()
    ratio = seconds_of(ours, 5) / (base := seconds_of(bare, 5))
    print(f"\nquery, {n_runs * N_POINTS:,} points: {ratio:.2f}x bare DuckDB ({base:.2f} s)")
    if n_runs == N_LARGE:
        assert ratio <= 1.2


@pytest.mark.parametrize("n_runs", [N_SMALL, N_LARGE])
def test_a_snapshot(catalogs: dict[int, Catalog], n_runs: int, tmp_path: Path) -> None:
    """Against one COPY of each table in the snapshot's order, in a process of its own too."""
    catalog = catalogs[n_runs]
    copy = "import duckdb, sys\ncon = duckdb.connect()\n"
    copy += "con.execute('set enable_progress_bar = false')\n" + "".join(
        f"con.execute({copy_sql(catalog, table, keys, tmp_path)!r})\n"
        for table, keys in (("runs", "run_id"), ("curves", "run_id, metric, step"))
    )
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", copy], check=True)
    base = time.perf_counter() - started
    for label, where in (("all runs", ""), ("a selection", "learning_rate < 0.009")):
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", FREEZE, str(catalog.root), str(tmp_path / label), where],
            check=True,
            capture_output=True,
            text=True,
        )
        seconds = time.perf_counter() - started
        found = json.loads(done.stdout)
        print(
            f"\nsnapshot of {label}, {found['points']:,} points: {seconds / base:.2f}x one COPY "
            f"({base:.1f} s), {found['gib']:.2f} GiB (limits 3x, 4 GiB)"
        )
        assert found["gib"] <= 4
        if n_runs == N_LARGE:
            assert seconds / base <= 3


@pytest.mark.parametrize("n_runs", [N_SMALL, N_LARGE])
def test_check_compact_and_the_curve_of_one_run(catalogs: dict[int, Catalog], n_runs: int) -> None:
    catalog = catalogs[n_runs]
    started = time.perf_counter()
    assert check_catalog(catalog) == []
    checked = time.perf_counter() - started
    started = time.perf_counter()
    done = compact(catalog)
    compacted = time.perf_counter() - started
    one = names("made0", range(n_runs // 2 // 25_000 * 25_000 + 17, n_runs))[0]
    sql = f"select step, value from curves where run_id = '{one}' order by step"
    started = time.perf_counter()
    con = connect(catalog, sql)
    assert len(run_sql(con, sql).fetchall()) == N_POINTS
    first = (time.perf_counter() - started) * 1000
    lookup = seconds_of(lambda: run_sql(con, sql).fetchall(), 9) * 1000
    con.close()
    print(
        f"\n{n_runs * N_POINTS:,} points: check {checked:.1f} s, compact {done.files_before} -> "
        f"{done.files_after} files {compacted:.1f} s, one curve {lookup:.1f} ms (limit 30 ms; "
        f"{first:.0f} ms with the connection)"
    )
    if n_runs == N_LARGE:
        assert lookup < 30
