"""Snapshots: read as the manifest says, refused when it does not fit."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from ncpl.data.find import find_snapshot
from ncpl.data.snapshot import Runs, Snapshot, families_of
from ncpl.errors import SnapshotError


@pytest.fixture
def copy(snapshot: Snapshot, tmp_path: Path) -> Path:
    return Path(shutil.copytree(snapshot.path, tmp_path / "copy"))


def change(folder: Path, **values: Any) -> None:
    file = folder / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def test_the_published_split_is_complete(runs: Runs) -> None:
    counts = {split: len(runs.where(split=split)) for split in ("train", "id", "ood")}
    assert counts == {"train": 1517, "id": 370, "ood": 694}
    assert len(runs.families()) == 1
    held_out = {g for s in ("id", "ood") for g in runs.where(split=s).group}
    assert not held_out & set(runs.where(split="train").group)


def test_a_folder_without_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match="holds no snapshot"):
        Snapshot.open(tmp_path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"format": "ncpl-snapshot/9"}, "format is 'ncpl-snapshot/9', expected 'ncpl-snapshot/1'"),
        ({"tables": {"runs": []}}, "lists no files of the table 'runs'"),
    ],
)
def test_another_manifest_is_refused(copy: Path, values: dict[str, Any], message: str) -> None:
    change(copy, **values)
    with pytest.raises(SnapshotError, match=message):
        Snapshot.open(copy)


def test_a_manifest_that_is_not_json_is_refused(copy: Path) -> None:
    (copy / "manifest.json").write_text("{")
    with pytest.raises(SnapshotError, match="is not JSON"):
        Snapshot.open(copy)


def test_a_changed_file_is_refused(copy: Path) -> None:
    file = copy / "splits.parquet"
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(SnapshotError, match="the manifest says"):
        Snapshot.open(copy).runs()


def test_a_missing_file_is_refused(copy: Path) -> None:
    (copy / "splits.parquet").unlink()
    with pytest.raises(SnapshotError, match=r"splits\.parquet is missing"):
        Snapshot.open(copy).runs()


def test_a_file_that_is_not_parquet_is_refused(copy: Path) -> None:
    (copy / "splits.parquet").write_bytes(b"nothing")
    tables = json.loads((copy / "manifest.json").read_text())["tables"]
    change(copy, tables=tables | {"splits": [{"path": "splits.parquet"}]})
    with pytest.raises(SnapshotError, match="is not a Parquet file"):
        Snapshot.open(copy).runs()


def test_a_path_outside_the_folder_is_refused(copy: Path) -> None:
    tables = json.loads((copy / "manifest.json").read_text())["tables"]
    change(copy, tables=tables | {"splits": [{"path": "../elsewhere.parquet"}]})
    with pytest.raises(SnapshotError, match="outside it"):
        Snapshot.open(copy).runs()


def test_snapshots_are_found_by_name_id_and_age(copy: Path, tmp_path: Path) -> None:
    catalog = tmp_path / "catalog"
    for name, identity, date in (("old", "aaaa1", "2026-01-01"), ("new", "bbbb2", "2026-02-01")):
        target = catalog / "snapshots" / f"{name}-{identity}"
        shutil.copytree(copy, target)
        change(target, name=name, id=identity, created_at=date)
    assert find_snapshot("latest", catalog).id == "bbbb2"
    assert find_snapshot("old", catalog).id == "aaaa1"
    assert find_snapshot("bbbb", catalog).id == "bbbb2"
    assert find_snapshot(str(copy), catalog).path == copy
    with pytest.raises(SnapshotError, match="no snapshot 'cccc'"):
        find_snapshot("cccc", catalog)


@pytest.mark.parametrize("text", ["{bad", "[]", ""])
def test_a_damaged_snapshot_stops_who_may_mean_it(copy: Path, tmp_path: Path, text: str) -> None:
    catalog = tmp_path / "catalog"
    for name in ("sound", "broken"):
        shutil.copytree(copy, catalog / "snapshots" / name)
    (catalog / "snapshots" / "broken" / "manifest.json").write_text(text)
    for name in ("latest", "broken"):
        with pytest.raises(SnapshotError, match="is damaged"):
            find_snapshot(name, catalog)
    assert find_snapshot("sound", catalog).path.name == "sound"


def test_runs_of_one_study_that_two_sources_carry_are_one_family() -> None:
    stated = {
        "final_loss_metric": "eval/loss",
        "dataset": "c4",
        "tokenizer": "gpt2",
        "final_loss_unit": "nats_per_token",
    }
    silent = stated | {"dataset": None}
    rows = [{"source": s} | stated for s in ("owner", "owner", "copy")]
    rows += [{"source": s} | silent for s in ("owner", "copy")]
    assert [family[0] for family in families_of(rows)] == [
        *("owner", "owner", "owner"),
        *("owner", "copy"),
    ]
