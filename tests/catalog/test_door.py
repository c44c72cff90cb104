"""The door for Python, and counts that can be multiplied."""

from __future__ import annotations

from pathlib import Path

import pytest

from ncpl_data import catalog
from ncpl_data.catalog.errors import InputError
from ncpl_data.catalog.query import connect, run_sql
from ncpl_data.catalog.record import Run
from ncpl_data.catalog.store import Catalog


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a catalog of two runs."""
    runs = [
        Run(run_id=f"lab/{n}", source="lab", params_non_embedding=10**9 * n, train_tokens=10**12)
        for n in (1, 2)
    ]
    Catalog(tmp_path).upsert(runs, source="lab", operation="test", origin="test", tool_version="0")
    return tmp_path


def test_runs_come_as_every_kind_of_table(folder: Path) -> None:
    """The same two rows each time."""
    runs = catalog.open(folder).runs()
    names = ["lab/1", "lab/2"]
    assert runs.arrow()["run_id"].to_pylist() == names
    assert runs.polars()["run_id"].to_list() == names
    assert runs.duckdb().project("run_id").order("run_id").fetchall() == [(n,) for n in names]
    assert catalog.open(folder).runs("params_non_embedding > 1e9").arrow().num_rows == 1


def test_counts_multiply_without_overflow(folder: Path) -> None:
    """6 x 1e9 x 1e12 is beyond 64 bits: the view of doubles has it, and the error names it."""
    query = "select 6 * params_non_embedding * train_tokens from {} order by 1"
    opened = catalog.open(folder)
    found = opened.sql(query.format("runs_double")).arrow().column(0).to_pylist()
    assert found == [6e21, 1.2e22]
    con = connect(Catalog(folder))
    with pytest.raises(InputError, match="runs_double"):
        run_sql(con, query.format("runs")).fetchall()
