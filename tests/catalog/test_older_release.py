"""A catalog that release 0.1.0 wrote is read, checked, frozen and carried on."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from made_runs import made_run, put

from ncpl_data.catalog.check import check_catalog
from ncpl_data.catalog.compact import compact
from ncpl_data.catalog.snapshots.take import take_snapshot
from ncpl_data.catalog.snapshots.verify import verify_snapshot
from ncpl_data.catalog.store import Catalog

FIXTURE = Path(__file__).parents[1] / "fixtures" / "catalog_0_1_0"
EXPECTED: dict[str, Any] = json.loads((FIXTURE / "expected.json").read_text())


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    """The catalog as it was written."""
    with tarfile.open(FIXTURE / "catalog.tar.gz") as packed:
        packed.extractall(tmp_path / "old", filter="data")
    return Catalog(tmp_path / "old")


def content(catalog: Catalog) -> dict[str, Any]:
    """Return what the catalog holds of its first source, as the fixture states it."""
    rows = catalog.read("runs", source="example").to_pylist()
    return {
        "runs": {row["run_id"]: row["run_hash"] for row in sorted(rows, key=lambda r: r["run_id"])},
        "curve_points": catalog.read("curves", source="example").num_rows,
        "evals": catalog.read("evals", source="example").num_rows,
        "snapshot": EXPECTED["snapshot"],
    }


def test_its_rows_are_those_it_wrote_and_nothing_is_wrong(catalog: Catalog) -> None:
    assert content(catalog) == EXPECTED
    assert [*check_catalog(catalog, deep=True)] == []


def test_its_snapshot_still_verifies(catalog: Catalog) -> None:
    (folder,) = (catalog.root / "snapshots").iterdir()
    assert verify_snapshot(folder)["id"] == EXPECTED["snapshot"]


def test_it_is_frozen_as_it_was(catalog: Catalog, tmp_path: Path) -> None:
    """Each value is kept; later releases have more columns, and derive more values."""
    (old,) = (catalog.root / "snapshots").iterdir()
    new = take_snapshot(catalog, policy="group-hash", out=tmp_path / "new").path
    for table in ("runs", "curves", "evals"):
        pairs = zip(*(pq.read_table(f / table).to_pylist() for f in (old, new)), strict=True)
        for before, after in pairs:
            said = {k: v for k, v in before.items() if v is not None and k != "origins"}
            assert {k: after[k] for k in said} == said


def test_it_goes_on_with_a_parent_and_a_receipt(catalog: Catalog) -> None:
    put(catalog, made_run("a"))
    manifest = catalog.manifest()
    assert (manifest.version, bool(manifest.parent), bool(manifest.catalog)) == (3, True, True)
    assert len([*(catalog.root / "heads").iterdir()]) == 1
    compact(catalog)
    assert content(catalog) == EXPECTED
    assert [*check_catalog(catalog, deep=True)] == []
