"""Other people's SQL is bounded in time and memory, and large results stream."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import Result
from made_runs import made_run, put

from ncpl_data.catalog.errors import InputError
from ncpl_data.catalog.query import connect, reading, run_sql, stream_sql
from ncpl_data.catalog.store import Catalog
from ncpl_data.ingest.cli import main

Runner = Callable[..., Result]
ENDLESS = "select count(*) from range(10000000) a, range(10000000) b"


@pytest.fixture
def filled(catalog: Catalog) -> Catalog:
    """A catalog of two runs."""
    put(catalog, made_run("a"), made_run("b"))
    return catalog


def test_a_query_that_runs_too_long_is_stopped(run_command: Runner, filled: Catalog) -> None:
    started = time.monotonic()
    result = run_command(main, "query", ENDLESS, "--timeout", 0.5, "--catalog", filled.root)
    assert result.exit_code == 1
    assert "longer than --timeout allows" in result.stderr
    assert time.monotonic() - started < 30


def test_a_recursion_without_end_is_stopped(run_command: Runner, filled: Catalog) -> None:
    sql = "with recursive t(n) as (select 1 union all select n + 1 from t) select count(*) from t"
    result = run_command(main, "query", sql, "--timeout", 0.5, "--catalog", filled.root)
    assert (result.exit_code, "longer than --timeout allows" in result.stderr) == (1, True)
    rows = "with recursive t(n) as (select 'x' union all select n || n from t) select * from t"
    args = ("--timeout", 20, "--memory-limit", "200MB", "--format", "csv", "--out")
    out = filled.root / "rows.csv"
    result = run_command(main, "query", rows, *args, out, "--catalog", filled.root)
    assert result.exit_code == 1
    assert not list(filled.root.glob("*rows.csv*"))  # no half of a result


def test_a_query_that_needs_too_much_memory_is_refused(
    run_command: Runner, filled: Catalog
) -> None:
    sql = "select list(range) as l from range(50000000)"
    args = ("query", sql, "--memory-limit", "100MB", "--catalog", filled.root)
    result = run_command(main, *args)
    assert result.exit_code == 1
    assert "more memory than --memory-limit allows" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_wrong_limit_is_explained(run_command: Runner, filled: Catalog) -> None:
    args = ("query", "select 1", "--memory-limit", "plenty", "--catalog", filled.root)
    result = run_command(main, *args)
    assert (result.exit_code, '"plenty" is no amount of memory' in result.stderr) == (1, True)


def test_rows_stream(filled: Catalog, tmp_path: Path) -> None:
    con = connect(filled, memory_limit="100MB")
    cursor = run_sql(con, "select range, 'x' || range from range(2000000000)")
    assert len(cursor.fetchmany(1000)) == 1000  # two billion rows were not made first
    con.close()
    con = connect(filled, memory_limit="100MB")
    reader = stream_sql(con, "select range from range(2000000000)", 1000)
    assert len(next(reader)) > 0
    con.close()
    con = connect(filled)
    with reading(con, None), pytest.raises(InputError):
        run_sql(con, "select nothing from runs")


def test_a_large_result_goes_to_a_file(
    run_command: Runner, filled: Catalog, tmp_path: Path
) -> None:
    out = tmp_path / "rows.parquet"
    sql = "select range as n from range(300000)"
    args = ("query", sql, "--format", "parquet", "--out", out, "--catalog", filled.root)
    assert run_command(main, *args).exit_code == 0
    assert pq.read_metadata(out).num_rows == 300_000
    bad = run_command(
        main,
        "query",
        sql,
        "--format",
        "csv",
        "--out",
        tmp_path / "no" / "f",
        "--catalog",
        filled.root,
    )
    assert (bad.exit_code, "could not write" in bad.stderr) == (1, True)


@pytest.mark.parametrize("folder", ["with space", "with'quote", "with[ab]*?"])
def test_a_catalog_may_lie_in_any_folder(run_command: Runner, tmp_path: Path, folder: str) -> None:
    catalog = Catalog(tmp_path / folder)
    put(catalog, made_run("a"))
    result = run_command(
        main, "query", "select count(*) as n from runs", "--json", "--catalog", catalog.root
    )
    assert json.loads(result.stdout) == [{"n": 1}]


@pytest.mark.parametrize(
    ("sql", "seconds", "limit"),
    [
        ("select len(range(60000000))", 2, "300MB"),
        ("select count(*) from (select unnest(range(300000000)))", 10, "500MB"),
        ("select length(repeat('x', 3000000000))", 10, "500MB"),
        ("select list(range) from range(100000000)", 10, "300MB"),
    ],
)
def test_one_value_is_bounded_as_rows_are(
    run_command: Runner, filled: Catalog, sql: str, seconds: int, limit: str
) -> None:
    """DuckDB counts what its operators hold, not what a function makes of one value."""
    args = ("query", sql, "--timeout", seconds, "--memory-limit", limit)
    result = run_command(main, *args, "--catalog", filled.root)
    assert result.exit_code == 1
    assert "--memory-limit allows" in result.stderr or "--timeout allows" in result.stderr


def test_a_result_has_a_largest_size(run_command: Runner, filled: Catalog, tmp_path: Path) -> None:
    sql = "select range from range(100000)"
    for layout in ("csv", "parquet", "jsonl"):
        out = tmp_path / f"rows.{layout}"
        args = ("--format", layout, "--out", out, "--max-result", "100KB")
        result = run_command(main, "query", sql, *args, "--catalog", filled.root)
        assert (result.exit_code, "larger than --max-result allows" in result.stderr) == (1, True)
        assert not out.exists()
    args = ("query", sql, "--max-result", "plenty", "--catalog", filled.root)
    assert run_command(main, *args).exit_code == 2


def test_csv_is_safe_in_a_spreadsheet_and_a_terminal(run_command: Runner, filled: Catalog) -> None:
    sql = "select '=cmd()' a, '-1' b, -1 c, '@x' d, chr(27) || '[2J' e, 'plain' f, '\t=1' g"
    for raw, expected in (
        ((), "'=cmd(),'-1,-1,'@x,\\u001b[2J,plain,'\t=1"),
        (("--raw",), "=cmd(),-1,-1,@x,\x1b[2J,plain,\t=1"),
    ):
        args = ("query", sql, "--format", "csv", *raw, "--catalog", filled.root)
        assert run_command(main, *args).stdout.splitlines()[1] == expected
