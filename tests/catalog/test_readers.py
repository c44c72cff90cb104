"""What other programs make of a snapshot: the readers people have, each in its usual way."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
import warnings
from pathlib import Path

import duckdb
import polars as pl
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from made_runs import made_run, put

from ncpl_data.catalog.snapshots.take import take_snapshot
from ncpl_data.catalog.store import Catalog

N_RUNS, N_POINTS = 6, 120


@pytest.fixture
def frozen(catalog: Catalog) -> Path:
    """A snapshot of two sources."""
    put(catalog, *(made_run(n) for n in "abc"))
    put(catalog, *(made_run(n, source="other") for n in "def"))
    return take_snapshot(catalog, policy="group-hash").path


def quiet_import(name: str) -> object:
    """Import a package of others, whose own warnings are not ours, or skip the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip(name)
        return importlib.import_module(name)


def test_plain_pyarrow(frozen: Path) -> None:
    assert pq.read_table(frozen / "runs").num_rows == N_RUNS
    assert ds.dataset(frozen / "curves").count_rows() == N_POINTS
    assert "source" in pq.read_table(frozen / "curves").column_names


def test_polars_and_duckdb(frozen: Path) -> None:
    runs = pl.scan_parquet(frozen / "runs" / "*.parquet")
    curves = pl.scan_parquet(frozen / "curves" / "*.parquet")
    joint = curves.join(runs, on="run_id").group_by("source").len().sort("source").collect()
    assert joint.rows() == [("made", 60), ("other", 60)]
    sql = f"select count(*), count(distinct run_id) from '{frozen}/curves/*.parquet'"
    assert duckdb.connect().execute(sql).fetchall() == [(N_POINTS, N_RUNS)]


@pytest.mark.filterwarnings("ignore")
def test_pandas(frozen: Path) -> None:
    pd = quiet_import("pandas")
    rows = pd.read_parquet(frozen / "runs")  # type: ignore[attr-defined]
    assert (len(rows), rows["final_loss"].notna().all()) == (N_RUNS, True)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.slow
def test_datasets_loads_each_table_by_the_card(
    frozen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = quiet_import("datasets")
    copy = shutil.copytree(frozen, tmp_path / "pulled")  # no folder named .tmp or snapshots
    for table, n in (("runs", N_RUNS), ("curves", N_POINTS), ("evals", N_RUNS), ("splits", N_RUNS)):
        loaded = datasets.load_dataset(  # type: ignore[attr-defined]
            str(copy), table, split="train", cache_dir=str(tmp_path / "cache")
        )
        assert loaded.num_rows == n, table


@pytest.mark.filterwarnings("ignore")
@pytest.mark.slow
def test_mlcroissant_accepts_the_description_and_reads_records(frozen: Path) -> None:
    if sys.platform == "win32":
        pytest.skip("mlcroissant reads local files by POSIX paths")
    mlc = quiet_import("mlcroissant")
    dataset = mlc.Dataset(jsonld=str(frozen / "croissant.json"))  # type: ignore[attr-defined]
    issues = dataset.metadata.ctx.issues
    assert not issues.errors
    assert not issues.warnings
    described = json.loads((frozen / "croissant.json").read_text())
    assert {r["name"] for r in described["recordSet"]} == {"runs", "curves", "evals", "splits"}
    for table, n in (("curves", N_POINTS), ("runs", N_RUNS), ("splits", N_RUNS)):
        assert len(list(dataset.records(table))) == n, table
