"""The catalog from Python: every table in every form, and they agree."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from made_runs import made_run, put

import ncpl_data.catalog as cat
from ncpl_data.catalog.door import FORMS, Opened
from ncpl_data.catalog.errors import InputError
from ncpl_data.catalog.store import Catalog


@pytest.fixture
def opened(catalog: Catalog) -> Opened:
    put(catalog, *(made_run(f"{i}", final_loss=2 + i / 10) for i in range(3)))
    put(catalog, made_run("x", source="other"))
    return cat.open(catalog.root)


@pytest.mark.parametrize("name", ["runs", "curves", "evals"])
def test_every_form_of_a_table_has_the_same_rows(name: str, opened: Opened) -> None:
    read = getattr(opened, name)
    keys = ["run_id", *(["step"] if name == "curves" else [])]
    arrow = read("arrow").sort_by([(key, "ascending") for key in keys])
    lazy = read().collect().sort(keys)
    assert lazy.columns == arrow.column_names
    assert lazy["run_id"].to_list() == arrow["run_id"].to_pylist()
    assert read("pandas").sort_values(keys)["run_id"].tolist() == arrow["run_id"].to_pylist()
    assert (
        read("duckdb").select("run_id").order("run_id").fetchall()[0][0]
        == arrow["run_id"][0].as_py()
    )
    assert read("duckdb").count("*").fetchall() == [(arrow.num_rows,)]


def test_a_lazy_frame_is_filtered_before_it_is_read(opened: Opened) -> None:
    import polars as pl

    found = opened.runs().filter(pl.col("final_loss") > 2.15).select("run_id").collect()
    assert found["run_id"].to_list() == ["made/2"]


def test_an_opened_catalog_stays_at_its_state(opened: Opened, catalog: Catalog) -> None:
    put(catalog, made_run("later"))
    assert opened.runs("arrow").num_rows == 4
    assert opened.runs().collect().height == 4
    assert cat.open(catalog.root).runs("arrow").num_rows == 5
    assert "4 runs" in repr(opened)


def test_without_pandas_the_form_says_how_to_get_it(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)  # as Python does for what it can not find
    with pytest.raises(InputError, match="pip install pandas"):
        opened.runs("pandas")
    assert opened.runs("duckdb").count("*").fetchall() == [(4,)]


def test_what_is_not_there_is_said(opened: Opened, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no catalog"):
        cat.open(tmp_path / "none")
    with pytest.raises(InputError, match="there is no form"):
        opened.table("runs", "excel")  # type: ignore[arg-type]
    assert FORMS == ("polars", "arrow", "pandas", "duckdb")
