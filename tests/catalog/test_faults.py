"""What other programs, killed processes and full disks can do to a catalog: nothing."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from made_runs import CONTEXT, made_run, put, take_names, write_compact_freeze, write_many

from ncpl_data.catalog.check import check_catalog
from ncpl_data.catalog.compact import compact
from ncpl_data.catalog.folder import LocalFolder
from ncpl_data.catalog.history import versions
from ncpl_data.catalog.snapshots.read import list_folders
from ncpl_data.catalog.snapshots.take import take_snapshot
from ncpl_data.catalog.snapshots.verify import snapshot_problems
from ncpl_data.catalog.store import Catalog
from ncpl_data.ingest.cli import main

N_WRITERS, N_COMMITS = 8, 20
N_KILLS = 50


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_eight_writers_lose_and_double_nothing(catalog: Catalog) -> None:
    writers = [
        CONTEXT.Process(target=write_many, args=(catalog.root, w, N_COMMITS))
        for w in range(N_WRITERS)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(200)
        assert writer.exitcode == 0
    expected = [f"made/{w:02d}-{i:03d}" for w in range(N_WRITERS) for i in range(N_COMMITS)]
    assert sorted(catalog.read("runs")["run_id"].to_pylist()) == expected
    assert catalog.read("curves").num_rows == 20 * len(expected)
    assert versions(catalog.folder) == list(range(1, len(expected) + 1))
    assert check_catalog(catalog, deep=True) == []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_fifty_kills_leave_a_clean_catalog_each_time(catalog: Catalog) -> None:
    """The parent kills a child that ingests, compacts and freezes, at a random moment."""
    random.seed(20261122)
    seconds = 0.0
    killed_at_work = 0
    for turn in range(N_KILLS + 1):
        ours, theirs = CONTEXT.Pipe()
        child = CONTEXT.Process(target=write_compact_freeze, args=(catalog.root, turn, theirs))
        child.start()
        assert ours.poll(60)
        assert ours.recv() == "begin"
        started = time.monotonic()
        if turn == 0:  # the first one lives: it tells how long the work takes
            assert ours.poll(60)
            assert ours.recv() == "end"
            seconds = time.monotonic() - started
            child.join()
        else:
            time.sleep(random.uniform(0, seconds))
            child.kill()
            child.join()
            killed_at_work += child.exitcode == -9
        assert check_catalog(catalog) == [], f"after kill {turn}"
        for path in list_folders(catalog.root / "snapshots"):
            shutil.rmtree(path)  # it was checked; the next check need not look again
        before = catalog.read("runs").num_rows
        assert len(put(catalog, made_run(f"after-{turn:02d}")).added) == 1
        assert catalog.read("runs").num_rows == before + 1
    assert killed_at_work > N_KILLS // 2
    for turn in range(N_KILLS + 1):  # what the killed ones had begun completes
        put(catalog, *(made_run(f"{turn:02d}-{i:02d}") for i in range(10)))
    assert catalog.read("runs").num_rows == (N_KILLS + 1) * 11
    compact(catalog)
    assert check_catalog(catalog, deep=True) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of two megabytes."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.call(mount, stderr=subprocess.DEVNULL):
        pytest.skip("this user may not mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_one_sentence_and_the_old_state_stays(small_disk: Path) -> None:
    put(Catalog(small_disk / "c"), made_run("a"))
    result = command("ingest", "steplaw", "--offline", catalog=small_disk / "c")
    taken = Catalog(small_disk / "c")
    if result.returncode == 0:  # it fits: fill the rest, and let a snapshot fail
        with (small_disk / "ballast").open("wb") as file:
            fill(file.fileno())
        result = command("snapshot", catalog=small_disk / "c")
    assert result.returncode == 1
    assert "No space left on device" in result.stderr
    assert "Traceback" not in result.stderr
    assert "made/a" in taken.read("runs")["run_id"].to_pylist()
    assert check_catalog(taken) == []


def fill(descriptor: int) -> None:
    """Write until the disk is full."""
    for size in (65536, 1):
        try:
            while True:
                os.write(descriptor, b"x" * size)
        except OSError:
            continue


def command(*args: str, catalog: Path) -> subprocess.CompletedProcess[str]:
    """Run ncpl-data as a process."""
    code = "from ncpl_data.ingest.cli import main; main(prog_name='ncpl-data')"
    return subprocess.run(
        [sys.executable, "-c", code, *args, "--catalog", str(catalog)],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_folder_that_is_read_only_is_one_sentence_and_stays_readable(small_disk: Path) -> None:
    folder = small_disk / "c"
    for name in "ab":
        put(Catalog(folder), made_run(name))
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for args in (
        ("ingest", "steplaw", "--offline"),
        ("snapshot", "--split", "group-hash"),
        ("compact",),
    ):
        result = command(*args, catalog=folder)
        assert result.returncode == 1, result.stderr
        assert "could not write" in result.stderr
        assert "Read-only file system" in result.stderr
        assert "Traceback" not in result.stderr
    for args in (("check",), ("query", "select run_id from runs"), ("stats",), ("coverage",)):
        result = command(*args, catalog=folder)
        assert result.returncode == 0, result.stderr


def test_a_flipped_byte_in_any_file_is_found_and_named(catalog: Catalog) -> None:
    put(catalog, made_run("a"), made_run("b"))
    put(catalog, made_run("c"), skipped=())
    put(catalog, made_run("c", final_loss=1.0))  # leaves files that only an older state has
    taken = take_snapshot(catalog, policy="group-hash")
    assert check_catalog(catalog) == []
    assert list(snapshot_problems(taken.path)) == []
    random.seed(3)
    files = sorted(p for p in catalog.root.rglob("*") if p.is_file())
    assert len(files) >= 16
    for path in files:
        name = path.relative_to(catalog.root).as_posix()
        original = path.read_bytes()
        for at in random.sample(range(len(original)), min(4, len(original))):
            content = bytearray(original)
            content[at] ^= 1 << random.randrange(8)
            path.write_bytes(content)
            found = [str(p) for p in check_catalog(catalog)]
            # A changed digest and a changed file look alike: then the message names both.
            assert any(path.name in text for text in found), (name, at, found)
            if path.is_relative_to(taken.path):
                found = [f"{w} {text}" for w, text in snapshot_problems(taken.path)]
                assert any(path.name in text for text in found), (name, at, found)
        path.write_bytes(original)
    assert check_catalog(catalog) == []


@pytest.mark.parametrize("table", ["runs", "curves"])
@pytest.mark.parametrize("n_bytes", [0, 1000, None])
def test_a_damaged_file_is_one_sentence_of_every_command(
    run_command: Callable[..., Result], catalog: Catalog, table: str, n_bytes: int | None
) -> None:
    put(catalog, made_run("a"), made_run("b"))
    (path,) = catalog.paths(table)
    content = path.read_bytes()
    path.unlink()
    if n_bytes is not None:
        path.write_bytes(content[:n_bytes])
    for args in (
        ("check",),
        ("query", f"select count(*), max(run_id) from {table}"),
        ("stats",),
        ("conflicts",),
        ("snapshot", "--split", "group-hash"),
        ("export", "--format", "delta", "--out", catalog.root / "export"),
        ("show", "made/a"),
    ):
        result = run_command(main, *args, "--catalog", catalog.root)
        assert result.exit_code == 1, args
        assert path.name in result.stderr + result.stdout, args
    assert not (catalog.root / "export").exists()
    path.write_bytes(content)
    assert check_catalog(catalog) == []


def test_a_manifest_that_is_gone_is_named(
    run_command: Callable[..., Result], catalog: Catalog
) -> None:
    for name in "abc":
        put(catalog, made_run(name))
    (catalog.root / "manifests" / "0000000002.json").unlink()
    (problem,) = check_catalog(catalog)
    assert problem.where == "manifests/0000000002.json"
    result = run_command(main, "stats", "--at", 2, "--catalog", catalog.root)
    assert "has no manifest 2; it has 1, 3" in result.stderr
    assert put(catalog, made_run("d")).version == 4


def test_a_damaged_snapshot_hides_no_other(
    run_command: Callable[..., Result], catalog: Catalog
) -> None:
    put(catalog, made_run("a"))
    good = take_snapshot(catalog, policy="group-hash", name="good").path
    put(catalog, made_run("b"))
    bad = take_snapshot(catalog, policy="group-hash", name="bad").path
    (bad / "manifest.json").write_text("{")
    listed = run_command(main, "snapshot", "list", "--catalog", catalog.root)
    assert (listed.exit_code, good.name in listed.stdout) == (1, True)
    assert "damaged" in listed.stderr
    for wanted, code in ((good.name, 0), (bad.name, 1), ("latest", 1)):
        result = run_command(main, "snapshot", "verify", wanted, "--catalog", catalog.root)
        assert result.exit_code == code, (wanted, result.stderr)


def test_a_mount_without_hard_links_commits_through_a_lock(tmp_path: Path) -> None:
    folder = LocalFolder(tmp_path, has_links=False)
    assert folder.put_bytes_if_absent("m/1.json", b"a")
    assert not folder.put_bytes_if_absent("m/1.json", b"b")
    assert folder.read("m/1.json") == b"a"
    assert [p.name for p in (tmp_path / "m").iterdir()] == ["1.json"]


def test_the_lock_of_a_killed_writer_is_cleared(tmp_path: Path) -> None:
    folder = LocalFolder(tmp_path, has_links=False)
    lock = tmp_path / "m" / ".tmp-1.json.lock"
    lock.parent.mkdir()
    lock.touch()
    os.utime(lock, (time.time() - 100, time.time() - 100))
    assert folder.put_bytes_if_absent("m/1.json", b"a")


@pytest.mark.parametrize("has_links", [True, False])
def test_each_name_is_taken_once(tmp_path: Path, has_links: bool) -> None:
    with CONTEXT.Pool(4) as pool:
        taken = pool.starmap(take_names, [(tmp_path, has_links, w) for w in range(4)])
    assert sum(taken) == 40


SHEET = {"name": "made", "title": "", "citation": "", "url": "", "traps": []}
FILE = ("tables", "runs", 0)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ((), None),
        ((), [1]),
        (("version",), 1.5),
        (("created_at",), "\ud800"),
        (("sources",), None),
        (("sources",), {"made": {}}),
        (("sources",), {"made": {**SHEET, "origins": "x"}}),
        (("sources",), {"made": {**SHEET, "origins": [{}]}}),
        (("tables", "curves"), "x"),
        ((*FILE, "path"), None),
        ((*FILE, "path"), "../outside.parquet"),
        ((*FILE, "path"), "data/runs/../../../outside.parquet"),
        ((*FILE, "path"), "a\0b"),
        ((*FILE, "bytes"), None),
        ((*FILE, "rows"), "many"),
        ((*FILE, "sha256"), []),
        ((*FILE, "source"), "a\0b"),
    ],
)
def test_a_manifest_of_another_shape_is_one_sentence_of_every_command(
    run_command: Callable[..., Result], catalog: Catalog, place: tuple, value: object
) -> None:
    """A catalog may come from somebody else; a manifest of the first release has no sha256."""
    put(catalog, made_run("a"))
    (own,) = catalog.paths("runs")
    (catalog.root.parent / "outside.parquet").write_bytes(own.read_bytes())
    name = catalog.root / "manifests" / "0000000001.json"
    whole = {"": json.loads(name.read_text())}
    del whole[""]["sha256"]
    part: Any = whole
    for key in ("", *place)[:-1]:
        part = part[key]
    part[("", *place)[-1]] = value
    name.write_text(json.dumps(whole[""]))
    for args in (
        ("check",),
        ("query", "select count(*) from runs"),
        ("stats",),
        ("snapshot", "--split", "group-hash"),
        ("gc", "--dry-run"),
    ):
        result = run_command(main, *args, "--catalog", catalog.root)
        assert result.exit_code == 1, args
        assert name.name in result.stderr + result.stdout, args
