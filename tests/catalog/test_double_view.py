"""Counts that can be multiplied: the view of doubles."""

from __future__ import annotations

import pytest
from made_runs import made_run, put

from ncpl_data.catalog.errors import InputError
from ncpl_data.catalog.query import connect, run_sql
from ncpl_data.catalog.store import Catalog

QUERY = "select 6 * params_non_embedding * train_tokens from {}"


def test_counts_multiply_without_overflow(catalog: Catalog) -> None:
    """6 x 1e9 x 1e12 is beyond 64 bits: the view of doubles has it, and the error names it."""
    put(catalog, made_run("a", params_non_embedding=10**9, train_tokens=10**12))
    con = connect(catalog)
    assert run_sql(con, QUERY.format("runs_double")).fetchall() == [(6e21,)]
    with pytest.raises(InputError, match="runs_double"):
        run_sql(con, QUERY.format("runs")).fetchall()
