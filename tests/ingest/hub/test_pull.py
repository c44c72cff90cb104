"""Pulling from a hub that cuts, corrupts and lies: whole and right, or nothing."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import subprocess
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from click.testing import Result
from hub_server import KEY, Hub, Repo, Tree
from licensed_runs import freeze, licensed_run

from ncpl_data.catalog.errors import (
    InputError,
    IntegrityError,
    RawFileError,
    SourceUnreachableError,
)
from ncpl_data.catalog.snapshots.verify import verify_snapshot, write_checksums
from ncpl_data.catalog.store import Catalog
from ncpl_data.ingest.cli import main
from ncpl_data.ingest.fetch import key_header
from ncpl_data.ingest.hub.pull import MAX_PAGE_BYTES, pull

Runner = Callable[..., Result]
NAME = "me/runs"


def content(path: Path) -> Tree:
    """Return the files of a folder by name."""
    return {p.relative_to(path).as_posix(): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def visible(folder: Path) -> list[str]:
    """Return the names in a folder, unfinished ones too."""
    return sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []


@pytest.fixture
def repo(hub: Hub, snapshot: Path) -> Repo:
    """A repository that holds the snapshot."""
    hub.repos[NAME] = Repo(is_private=False)
    hub.repos[NAME].add("main", {".gitattributes": b"x", **content(snapshot)}, "published")
    return hub.repos[NAME]


def change(repo: Repo, snapshot: Path, edit: Callable[[Path], None], copy: Path) -> None:
    """Publish what somebody made of the snapshot, with checksums that fit it."""
    shutil.copytree(snapshot, copy)
    edit(copy)
    write_checksums(copy, {})
    repo.add("main", content(copy), "changed")


def test_a_pulled_snapshot_is_the_published_one_and_works_offline(
    hub: Hub, repo: Repo, snapshot: Path, tmp_path: Path, run_command: Runner
) -> None:
    other = tmp_path / "other"
    result = run_command(main, "pull", NAME, "--json", "--catalog", other)
    assert result.exit_code == 0, result.stderr
    place = other / "snapshots" / snapshot.name
    assert content(place) == content(snapshot)
    assert json.loads(result.stdout)["path"] == str(place)
    assert visible(other / "snapshots") == [snapshot.name]
    n_downloads = len(hub.downloads())
    again = run_command(main, "pull", NAME, "--json", "--catalog", other)
    assert json.loads(again.stdout)["is_new"] is False
    assert len(hub.downloads()) == n_downloads + 1  # the checksums only
    for args in (("snapshot", "verify", "latest"), ("snapshot", "list")):
        assert run_command(main, *args, "--catalog", other).exit_code == 0

    asked = len(hub.asked)
    third = tmp_path / "third"
    args = ("pull", NAME, "--offline", "--expect", snapshot.name[:6], "--catalog", third)
    assert run_command(main, *args).exit_code == 0
    assert content(third / "snapshots" / snapshot.name) == content(snapshot)
    assert len(hub.asked) == asked
    never = run_command(main, "pull", "me/never", "--offline", "--catalog", third)
    assert (never.exit_code, "was not pulled before" in never.stderr) == (3, True)


def test_what_publish_made_is_pulled_back(
    hub: Hub, catalog: Catalog, snapshot: Path, tmp_path: Path, run_command: Runner
) -> None:
    pytest.importorskip("huggingface_hub")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning, message="Use 'content")
        done = run_command(main, "publish", NAME, "--private", "--catalog", catalog.root)
    assert done.exit_code == 0, done.stderr
    assert content(pull(NAME, tmp_path / "there").path) == content(snapshot)


def test_a_cut_download_goes_on_where_it_ended(
    hub: Hub, repo: Repo, snapshot: Path, tmp_path: Path
) -> None:
    name = "curves/made-00000.parquet"
    hub.cut = {name}
    taken = pull(NAME, tmp_path / "there")
    assert content(taken.path) == content(snapshot)
    half = (snapshot / name).stat().st_size // 2
    assert [r for p, r in hub.downloads() if p.endswith(name)][-1] == f"bytes={half}-"


def test_a_killed_pull_shows_nothing_and_goes_on(
    hub: Hub,
    repo: Repo,
    snapshot: Path,
    tmp_path: Path,
    start: Callable[..., subprocess.Popen[str]],
) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def hold(path: str) -> None:
        if path == "curves/other-00000.parquet":
            reached.set()
            go_on.wait(30)

    hub.on_half = hold
    process = start("pull", NAME, "--out", tmp_path / "there")
    assert reached.wait(30)
    while not sum(p.stat().st_size for p in (tmp_path / "cache").rglob("other-*.part")):
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    hub.on_half = lambda _: None
    go_on.set()
    assert [n for n in visible(tmp_path / "there") if not n.startswith(".tmp-")] == []
    before = {p for p, _ in hub.downloads()}
    asked = len(hub.downloads())
    assert content(pull(NAME, tmp_path / "there").path) == content(snapshot)
    later = hub.downloads()[asked:]
    assert {r for p, r in later if p.endswith("curves/other-00000.parquet")} - {None}
    assert not [p for p, _ in later if p in before and "curves/made" in p]


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("curves/made-00000.parquet", RawFileError, "the file was altered on the way"),
        ("manifest.json", RawFileError, "the file was altered on the way"),
        ("README.md", RawFileError, "the file was altered on the way"),
        ("SHA256SUMS", IntegrityError, "SHA256SUMS was altered on the way"),
    ],
)
def test_a_corrupted_download_is_refused(
    hub: Hub, repo: Repo, tmp_path: Path, name: str, error: type[Exception], message: str
) -> None:
    hub.spoil = lambda path, text: bytes([text[0] ^ 1]) + text[1:] if path == name else text
    with pytest.raises(error, match=message):
        pull(NAME, tmp_path / "there")
    assert visible(tmp_path / "there") == []
    hub.spoil = lambda _, text: text
    assert pull(NAME, tmp_path / "there").is_new


def rename(old: str, new: str) -> Callable[[Path], None]:
    """Return an edit that gives a file another name in the manifest."""

    def edit(copy: Path) -> None:
        path = copy / "manifest.json"
        path.write_text(path.read_text().replace(f'"{old}"', json.dumps(new)))

    return edit


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "runs/../../x", "a/b.parquet", "runs\\x"])
def test_a_manifest_that_names_another_place_is_refused(
    repo: Repo, snapshot: Path, tmp_path: Path, name: str
) -> None:
    change(repo, snapshot, rename("splits.parquet", name), tmp_path / "copy")
    with pytest.raises(IntegrityError, match=r"manifest\.json"):
        pull(NAME, tmp_path / "there")
    assert visible(tmp_path / "there") == []
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("name", ["../x", "/tmp/x", ".gitattributes", "runs/../x.parquet"])
def test_checksums_that_name_another_place_are_refused(
    repo: Repo, tmp_path: Path, name: str
) -> None:
    tree = dict(repo.tree())
    tree["SHA256SUMS"] += f"{'0' * 64}  {name}\n".encode()
    repo.add("main", tree, "changed")
    with pytest.raises(IntegrityError, match="which is no file of a snapshot; nothing was written"):
        pull(NAME, tmp_path / "there")
    assert visible(tmp_path / "there") == []


def other_id(copy: Path) -> None:
    """Say another id than the content has."""
    path = copy / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {"id": "0" * 64}))


def test_a_snapshot_of_another_id_is_refused(
    repo: Repo, snapshot: Path, tmp_path: Path, run_command: Runner
) -> None:
    change(repo, snapshot, other_id, tmp_path / "copy")
    with pytest.raises(IntegrityError, match="but the content has id"):
        pull(NAME, tmp_path / "there")
    assert visible(tmp_path / "there") == []
    args = ("pull", NAME, "--expect", snapshot.name, "--out", tmp_path / "there")
    result = run_command(main, *args)
    assert (result.exit_code, f"expected {snapshot.name}" in result.stderr) == (1, True)


def test_what_is_too_large_is_not_downloaded(
    hub: Hub, repo: Repo, tmp_path: Path, run_command: Runner
) -> None:
    args = ("pull", NAME, "--out", tmp_path / "there")
    result = run_command(main, *args, "--max-gb", 0.0001)
    assert (result.exit_code, "more than the limit of 100,000" in result.stderr) == (1, True)
    assert not [p for p, _ in hub.downloads() if p.endswith(".parquet")]
    hub.sizes = {"README.md": MAX_PAGE_BYTES + 1}
    result = run_command(main, *args)
    assert (result.exit_code, "README.md has 33,554,433 bytes" in result.stderr) == (1, True)
    hub.sizes = {"splits.parquet": 10 << 40}
    result = run_command(main, *args)
    assert (result.exit_code, "manifest.json says splits.parquet" in result.stderr) == (1, True)
    hub.sizes = {}
    hub.spoil = lambda path, text: text + b" " * 10**7 if path.endswith("parquet") else text
    result = run_command(main, *args)
    assert result.exit_code == 1
    assert visible(tmp_path / "there") == []


def test_a_repository_without_a_snapshot_and_none_at_all(
    hub: Hub, repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo.add("empty", {"data.parquet": b"x"}, "theirs")
    with pytest.raises(InputError, match=r"is no snapshot: it has no manifest\.json"):
        pull(NAME, tmp_path, revision="empty")
    for name, revision in (("me/none", "main"), (NAME, "none")):
        with pytest.raises(SourceUnreachableError, match="the hub shows no dataset"):
            pull(name, tmp_path, revision=revision)
    repo.is_private = True
    monkeypatch.setenv("HF_TOKEN", "hf_" + "wrong" * 7)
    with pytest.raises(SourceUnreachableError, match="the hub shows no dataset"):
        pull(NAME, tmp_path)
    monkeypatch.setenv("HF_TOKEN", KEY)
    assert pull(NAME, tmp_path).is_new


@pytest.mark.parametrize("size", ["12", None, [1]])
def test_a_listing_that_makes_no_sense_is_one_sentence(
    hub: Hub, repo: Repo, tmp_path: Path, size: object
) -> None:
    hub.sizes = {"README.md": size}  # type: ignore[dict-item]
    with pytest.raises(SourceUnreachableError, match="without path or size"):
        pull(NAME, tmp_path / "there")


@pytest.mark.parametrize("address", ["hub", "file:///etc", "ftp://hub.example", "https://"])
def test_an_endpoint_that_is_no_address_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, address: str
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", address)
    with pytest.raises(InputError, match="HF_ENDPOINT is"):
        pull(NAME, tmp_path)


def test_the_key_goes_to_the_hub_only() -> None:
    first = httpx.URL("https://hub.example/a")
    assert key_header("k", first, httpx.URL("https://hub.example/b")) == {
        "Authorization": "Bearer k"
    }
    for other in ("https://cdn.example/b", "http://hub.example/b", "https://hub.example:444/b"):
        assert key_header("k", first, httpx.URL(other)) == {}


def test_an_older_commit_is_pulled_by_its_name(
    repo: Repo, catalog: Catalog, snapshot: Path, tmp_path: Path
) -> None:
    first = repo.branches["main"]
    second = freeze(catalog.root, licensed_run("d"))
    repo.add("main", content(second), "second")
    assert content(pull(NAME, tmp_path / "a").path) == content(second)
    old = pull(NAME, tmp_path / "a", revision=first)
    assert content(old.path) == content(snapshot)
    assert visible(tmp_path / "a") == sorted([snapshot.name, second.name])


def test_a_damaged_copy_on_this_side_is_named_not_trusted(
    repo: Repo, snapshot: Path, tmp_path: Path
) -> None:
    place = pull(NAME, tmp_path / "there").path / "splits.parquet"
    altered = place.read_bytes()[:-1] + b"?"
    place.unlink()
    place.write_bytes(altered)
    with pytest.raises(IntegrityError, match=r"splits\.parquet is not what the manifest says"):
        pull(NAME, tmp_path / "there")
    shutil.rmtree(tmp_path / "there" / snapshot.name)
    taken = pull(NAME, tmp_path / "there")
    verify_snapshot(taken.path)
    digest = hashlib.sha256((taken.path / "splits.parquet").read_bytes()).hexdigest()
    assert digest == taken.manifest["tables"]["splits"][0]["sha256"]
