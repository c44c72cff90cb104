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
    sql = "select comment from duckdb_columns() where column_name = 'warmup_steps'"
    ((comment,),) = run_sql(connect(filled), sql).fetchall()
    assert "never a ratio" in comment
    assert "Unit: steps" in comment


@pytest.mark.parametrize(
    "sql",
    [
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
