from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import Result

from ncpl_data.catalog.errors import InputError, IntegrityError
from ncpl_data.catalog.snapshots.read import find_snapshot
from ncpl_data.catalog.snapshots.take import take_snapshot
from ncpl_data.catalog.snapshots.verify import verify_snapshot
from ncpl_data.catalog.splits import Assignment, check_leaks
from ncpl_data.catalog.store import Catalog
from ncpl_data.ingest.cli import main
from ncpl_data.ingest.pipeline import ingest
from ncpl_data.ingest.sources import SOURCES

STEPLAW = SOURCES["steplaw"]


def test_the_same_content_has_the_same_id(filled: Catalog, tmp_path: Path, fixtures: Path) -> None:
    first = take_snapshot(filled)
    assert not take_snapshot(filled).is_new

    excerpt = fixtures / "steplaw"
    ingest(STEPLAW, filled, folder=excerpt, accept_changed=True)
    other = Catalog(tmp_path / "other")
    ingest(STEPLAW, other, folder=excerpt, accept_changed=True)
    ingest(STEPLAW, other, offline=True)
    both, swapped = take_snapshot(filled), take_snapshot(other)
    assert both.id == swapped.id
    assert both.id != first.id


def test_a_snapshot_describes_itself(filled: Catalog) -> None:
    snapshot = take_snapshot(filled, name="demo")
    counts = verify_snapshot(snapshot.path)["counts"]
    assert counts["runs_by_source"] == {"steplaw": {"finished": 2819}}
    assert counts["splits_by_source"] == {"steplaw": {"train": 1517, "id": 370, "ood": 694}}
    assert snapshot.label == f"demo-{snapshot.id[:12]}"
    card = (snapshot.path / "README.md").read_text("utf-8")
    assert "CC-BY-4.0" in card
    assert "| 1,517 | 370 | 694 |" in card


def test_a_selection_is_taken_by_sql(filled: Catalog) -> None:
    snapshot = take_snapshot(filled, where="params_non_embedding < 1e8 -- small")
    rows = pq.read_table(snapshot.path / "runs")
    assert rows.num_rows == 138
    assert max(rows["params_non_embedding"].to_pylist()) < 1e8


def test_nothing_selected_is_an_error(filled: Catalog) -> None:
    with pytest.raises(InputError, match=r"no run .* is selected by --where"):
        take_snapshot(filled, where="learning_rate > 50")


def test_a_flipped_byte_is_found_and_named(filled: Catalog) -> None:
    path = take_snapshot(filled).path
    file = path / "runs" / "part-00000.parquet"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(IntegrityError, match=r"part-00000\.parquet is not what the manifest says"):
        verify_snapshot(path)


@pytest.mark.parametrize("name", ["../../etc/passwd", "a\0b", "x" * 5000, "/etc/passwd", "notes"])
def test_checksums_that_name_no_file_of_a_snapshot_are_told(filled: Catalog, name: str) -> None:
    path = take_snapshot(filled).path
    with (path / "SHA256SUMS").open("a") as file:
        file.write(f"{'0' * 64}  {name}\n")
    with pytest.raises(IntegrityError, match="which is no file of the snapshot"):
        verify_snapshot(path)


def test_a_seed_that_no_manifest_can_hold_is_refused(
    filled: Catalog, run_command: Callable[..., Result]
) -> None:
    """It was taken, and then no command could read the folder's latest snapshot."""
    place = ["--catalog", str(filled.root)]
    for seed, code in ((2**53, 2), (2**53 - 1, 0)):
        call = ["snapshot", "--split", "group-hash", "--seed", str(seed), *place]
        assert run_command(main, *call).exit_code == code
    assert run_command(main, "snapshot", "verify", "latest", *place).exit_code == 0


def test_snapshots_are_found_by_label_id_and_latest(filled: Catalog) -> None:
    first = take_snapshot(filled, name="a")
    folder = filled.root / "snapshots"
    for wanted in ("latest", first.label, "a", first.id[:8], str(first.path)):
        assert find_snapshot(folder, wanted) == first.path
    take_snapshot(filled, name="b")
    assert find_snapshot(folder, first.id[:8]).name.endswith(first.id[:12])
    take_snapshot(filled, policy="group-hash", name="b")
    with pytest.raises(InputError, match=r'2 snapshots of .* match "b"'):
        find_snapshot(folder, "b")
    with pytest.raises(InputError, match=r'0 snapshots of .* match "zzz"'):
        find_snapshot(folder, "zzz")


def test_a_leaking_split_is_refused() -> None:
    rows = [
        {"run_id": "a/1", "same_as": ["b/1"]},
        {"run_id": "b/1", "same_as": None},
    ]
    one_group = [Assignment("a/1", "train", "g"), Assignment("b/1", "ood", "g")]
    with pytest.raises(IntegrityError, match="both are of group g"):
        check_leaks(one_group, rows)
    twins = [Assignment("a/1", "train", "g"), Assignment("b/1", "ood", "h")]
    with pytest.raises(IntegrityError, match="the same physical run"):
        check_leaks(twins, rows)


def test_the_one_taken_last_is_the_latest_whatever_the_clock_says(filled: Catalog) -> None:
    folder = filled.root / "snapshots"
    for seed in range(4):  # within one second, in the order of no label
        taken = take_snapshot(filled, policy="group-hash", seed=seed)
        assert find_snapshot(folder, "latest") == taken.path
    page = taken.path / "manifest.json"
    for ahead in ("2999-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "soon"):
        page.write_text(json.dumps({**json.loads(page.read_text()), "created_at": ahead}))
        later = take_snapshot(filled, policy="group-hash", name=ahead[:4])
        assert (find_snapshot(folder, "latest") == later.path) == ("9999" not in ahead)


def test_a_snapshot_taken_again_says_when_it_is_not_the_latest(
    filled: Catalog, run_command: Callable[..., Result]
) -> None:
    args = ("snapshot", "--catalog", filled.root)
    for policy in ("ncpl", "group-hash"):
        done = run_command(main, *args, "--split", policy)
        assert (done.exit_code, "frozen already" in done.stderr) == (0, False)
    latest = find_snapshot(filled.root / "snapshots", "latest").name
    assert "already; the latest is " + latest in run_command(main, *args).stderr
    again = run_command(main, *args, "--split", "group-hash")
    assert "already\n" in again.stderr
