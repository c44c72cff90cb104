from __future__ import annotations

from pathlib import Path

import pytest

from ncpl_data.catalog.errors import InputError
from ncpl_data.catalog.query import VIEWS, connect, run_sql
from ncpl_data.catalog.store import Catalog


def test_every_view_is_there_in_an_empty_catalog(catalog: Catalog) -> None:
    con = connect(catalog)
    for view in VIEWS:
        assert run_sql(con, f"select count(*) from {view}").fetchall() == [(0,)]


def test_the_published_split_has_its_published_counts(filled: Catalog) -> None:
    rows = run_sql(connect(filled), "select split, count(*) from splits group by 1").fetchall()
    assert dict(rows) == {"train": 1517, "id": 370, "ood": 694}


def test_columns_carry_their_meaning_and_unit(filled: Catalog) -> None:
    sql = "select distinct comment from duckdb_columns() where column_name = 'warmup_steps'"
    ((comment,),) = run_sql(connect(filled), sql).fetchall()
    assert "never a ratio" in comment
    assert "Unit: steps" in comment


def test_every_column_of_every_view_has_a_comment_or_a_plain_name(filled: Catalog) -> None:
    con = connect(filled)
    sql = (
        "select table_name, column_name from duckdb_columns() where comment is null "
        "and not internal order by all"
    )
    missing = run_sql(con, sql).fetchall()
    assert missing == [
        ("ingests", "ingest_id"),
        ("runs", "run_hash"),
        ("runs_double", "run_hash"),
        *(("sources", name) for name in ("citation", "owner", "title", "url")),
    ]
    tables = "select table_name, comment from duckdb_tables() where not internal"
    views = "select view_name, comment from duckdb_views() where not internal"
    comments = dict(run_sql(con, f"{tables} union {views}").fetchall())
    assert set(comments) == set(VIEWS)
    assert all(comments.values())


def test_show_tables_lists_the_views(filled: Catalog) -> None:
    sql = "show tables"
    assert sorted(r[0] for r in run_sql(connect(filled, sql), sql).fetchall()) == sorted(VIEWS)


def test_every_row_of_every_view_can_be_fetched(filled: Catalog) -> None:
    """A time with a zone would need a package that is not installed with us."""
    for view in VIEWS:
        sql = f"select * from {view}"
        assert run_sql(connect(filled, sql), sql).fetchall() or view in {"evals", "rejects"}
    sql = "select date_diff('minute', \"at\", now()::timestamp) from ingests"
    assert abs(run_sql(connect(filled), sql).fetchone()[0]) < 24 * 60  # type: ignore[index]


def test_a_failed_query_leaves_the_connection_usable(filled: Catalog) -> None:
    con = connect(filled)
    for _ in range(2):
        with pytest.raises(InputError):
            run_sql(con, "select cast('a' as int)").fetchall()
        assert run_sql(con, "select 1").fetchall() == [(1,)]


@pytest.mark.parametrize(
    "sql",
    [
        "with gone as (delete from sources returning *) select * from gone",
        "select * from query('copy (select 1) to stolen')",
        "select * from query($$select * from read_text('/etc/passwd')$$)",
        "select * from read_text('/proc/self/environ')",
        "select * from glob('/etc/*')",
        "select * from read_parquet('https://example.com/x.parquet')",
        "select * from sqlite_scan('a', 'b')",
        "select * from duckdb_secrets()",
        "explain copy runs to 'stolen.parquet'",
        "export database 'stolen'",
        "prepare p as copy runs to 'stolen.parquet'",
        "pragma memory_limit = '100GB'",
        "reset memory_limit",
        "call enable_logging()",
        "select * from enable_logging('QueryLog', storage = 'file', storage_path = 'stolen')",
        "load httpfs",
        "create secret (type s3)",
        "pivot sources on name using count(*)",
        "select * from read_text('/etc/hostname')",
        "select * from '/etc/passwd'",
        "copy runs to 'stolen.parquet'",
        "attach 'other.db'",
        "install httpfs",
        "drop view runs",
        "set enable_external_access = true",
        "select 1; drop view runs",
        "selct 1",
        "",
    ],
)
def test_sql_that_does_more_than_read_the_catalog_is_refused(filled: Catalog, sql: str) -> None:
    with pytest.raises(InputError):
        run_sql(connect(filled), sql).fetchall()
    assert not Path("stolen.parquet").exists()
