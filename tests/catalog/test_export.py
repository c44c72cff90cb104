"""Exports are read back through the libraries of their formats, and share the data files."""

from __future__ import annotations

import importlib
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from made_runs import made_run, put

from ncpl_data.catalog.errors import InputError
from ncpl_data.catalog.export import export_catalog
from ncpl_data.catalog.store import Catalog
from ncpl_data.ingest.cli import main

pytestmark = pytest.mark.filterwarnings("ignore")  # the formats' own libraries warn of themselves


def quiet_import(name: str) -> Any:
    """Import a package of others, or skip the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip(name)
        return importlib.import_module(name)


@pytest.fixture
def filled(catalog: Catalog) -> Catalog:
    """A catalog whose folder holds dead files beside the live ones."""
    put(catalog, *(made_run(n) for n in "abc"))
    put(catalog, made_run("b", final_loss=1.0), made_run("d"))
    return catalog


def test_delta_reads_the_live_rows(filled: Catalog, tmp_path: Path) -> None:
    deltalake = quiet_import("deltalake")
    out = tmp_path / "delta"
    export_catalog(filled, "delta", out)
    runs = deltalake.DeltaTable(str(out / "runs")).to_pyarrow_table().to_pylist()
    assert {r["run_id"]: r["final_loss"] for r in runs}["made/b"] == 1.0
    assert len(runs) == 4
    assert deltalake.DeltaTable(str(out / "curves")).to_pyarrow_table().num_rows == 80
    for path in (out / "curves" / "data").iterdir():
        assert path.stat().st_nlink == 2  # the same bytes as the catalog's file


@pytest.mark.parametrize("folder", ["iceberg", """some'body's "own" é"""])
def test_iceberg_reads_the_live_rows(filled: Catalog, tmp_path: Path, folder: str) -> None:
    quiet_import("pyiceberg.catalog.sql")
    static = quiet_import("pyiceberg.table").StaticTable
    found = export_catalog(filled, "iceberg", tmp_path / folder)
    runs = static.from_metadata(found["runs"]["place"]).scan().to_arrow().to_pylist()
    assert {r["run_id"]: r["final_loss"] for r in runs}["made/b"] == 1.0
    assert len(runs) == 4
    assert static.from_metadata(found["curves"]["place"]).scan().to_arrow().num_rows == 80


def test_an_export_that_fails_leaves_nothing(filled: Catalog, tmp_path: Path) -> None:
    quiet_import("pyiceberg.catalog.sql")
    with pytest.raises(InputError, match="Iceberg can not read"):
        export_catalog(filled, "iceberg", tmp_path / "100%")
    assert not (tmp_path / "100%").exists()


def test_an_export_goes_into_a_new_folder(filled: Catalog, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is there already"):
        export_catalog(filled, "delta", tmp_path)


def test_the_command_says_what_it_wrote(
    run_command: Callable[..., Result], filled: Catalog, tmp_path: Path
) -> None:
    quiet_import("deltalake")
    args = ("export", "--format", "delta", "--out", tmp_path / "x", "--catalog", filled.root)
    result = run_command(main, *args, "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["tables"]["runs"]["rows"] == 4
