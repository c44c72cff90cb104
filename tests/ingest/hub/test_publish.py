"""Publishing to a hub on the loopback interface, as a process, with what can go wrong there."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from hub_server import KEY, Hub, Repo
from licensed_runs import freeze, licensed_run

from ncpl_data.catalog.errors import InputError
from ncpl_data.catalog.store import Catalog
from ncpl_data.ingest.cli import main
from ncpl_data.ingest.hub.publish import publish

pytest.importorskip("huggingface_hub")
# Its plain upload calls its HTTP client in a way that is going away.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content:DeprecationWarning")

Runner = Callable[..., Result]
Start = Callable[..., subprocess.Popen[str]]
NAME = "me/runs"


def content(path: Path) -> dict[str, bytes]:
    """Return the files of a folder by name."""
    return {p.relative_to(path).as_posix(): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def published(repo: Repo, branch: str = "main") -> dict[str, bytes]:
    """Return what a repository holds, without the hub's own file."""
    return {name: text for name, text in repo.tree(branch).items() if name != ".gitattributes"}


def test_a_snapshot_is_published_in_one_commit_and_the_next_replaces_it(
    hub: Hub, catalog: Catalog, snapshot: Path, run_command: Runner
) -> None:
    args = ("publish", NAME, "--json", "--catalog", catalog.root)
    preview = run_command(main, *args, "--dry-run")
    assert (preview.exit_code, hub.repos) == (0, {}), preview.stderr
    assert set(json.loads(preview.stdout)["sent"]) == set(content(snapshot))

    done = run_command(main, *args)
    assert done.exit_code == 0, done.stderr
    repo = hub.repos[NAME]
    assert published(repo) == content(snapshot)
    assert repo.messages == ["initial commit", f"Snapshot {snapshot.name}"]
    assert json.loads(done.stdout)["commit"] == repo.branches["main"]
    assert KEY not in done.stdout + done.stderr

    again = json.loads(run_command(main, *args).stdout)
    assert (again["is_new"], again["sent"], len(repo.messages)) == (False, [], 2)

    sent = len(hub.uploads())
    second = freeze(catalog.root, licensed_run("d"))  # the same runs of the other source
    done = run_command(main, *args)
    assert published(repo) == content(second)
    assert len(repo.messages) == 3
    kept = set(json.loads(done.stdout)["kept"])
    assert {name for name in kept if name.startswith("curves/other")}
    assert len(hub.uploads()) - sent == 3  # runs, curves of the grown source, splits

    third = freeze(Catalog(catalog.root.parent / "smaller").root, licensed_run("z"))
    done = run_command(main, "publish", NAME, "--snapshot", third, "--json")
    assert published(repo) == content(third)  # no file of the other source is left
    assert any(name.startswith("curves/other") for name in json.loads(done.stdout)["removed"])


def test_a_lost_race_is_exit_code_4_and_nothing_is_visible(
    hub: Hub, catalog: Catalog, snapshot: Path, run_command: Runner, start: Start
) -> None:
    run_command(main, "publish", NAME, "--catalog", catalog.root)
    freeze(catalog.root, licensed_run("d"))

    def somebody(repo: Repo) -> None:
        hub.before_commit = lambda _: None
        repo.add("main", {**repo.tree(), "README.md": b"theirs"}, "somebody else")

    hub.before_commit = somebody
    process = start("publish", NAME, "--json", "--catalog", catalog.root)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 4
    assert json.loads(out)["exit_code"] == 4
    assert "somebody else committed" in err
    assert KEY not in out + err
    repo = hub.repos[NAME]
    assert published(repo) == content(snapshot) | {"README.md": b"theirs"}
    sent = len(hub.uploads())
    assert run_command(main, "publish", NAME, "--catalog", catalog.root).exit_code == 0
    assert len(hub.uploads()) == sent  # what the loser sent is there already


def test_a_killed_upload_goes_on_where_it_was(
    hub: Hub,
    catalog: Catalog,
    snapshot: Path,
    run_command: Runner,
    start: Start,
) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def hold(n_there: int) -> None:
        if n_there >= 2:
            reached.set()
            go_on.wait(30)

    hub.on_upload = hold
    process = start("publish", NAME, "--catalog", catalog.root)
    assert reached.wait(30)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert published(hub.repos[NAME]) == {}  # nothing is visible before the one commit
    before = set(hub.objects)
    hub.on_upload = lambda _: None
    sent = len(hub.uploads())
    go_on.set()
    assert run_command(main, "publish", NAME, "--catalog", catalog.root).exit_code == 0
    assert published(hub.repos[NAME]) == content(snapshot)
    assert not before & set(hub.uploads()[sent:])


def test_a_branch_and_a_private_repository(
    hub: Hub, catalog: Catalog, snapshot: Path, run_command: Runner
) -> None:
    args = ("publish", NAME, "--private", "--revision", "dense", "--catalog", catalog.root)
    done = run_command(main, *args)
    assert done.exit_code == 0, done.stderr
    repo = hub.repos[NAME]
    assert repo.is_private
    assert published(repo, "dense") == content(snapshot)
    assert published(repo) == {}


def test_runs_without_a_licence_are_not_shown(
    hub: Hub, catalog: Catalog, run_command: Runner
) -> None:
    freeze(catalog.root, licensed_run("a"), licensed_run("x", licence=None))
    args = ("publish", NAME, "--catalog", catalog.root)
    refused = run_command(main, *args)
    assert (refused.exit_code, hub.repos) == (1, {})
    assert "1 runs state no licence (1 of made)" in refused.stderr
    assert run_command(main, *args, "--accept-unlicensed").exit_code == 0


def test_a_repository_of_something_else_is_left_alone(
    hub: Hub, catalog: Catalog, snapshot: Path, run_command: Runner
) -> None:
    repo = hub.repos[NAME] = Repo(is_private=False)
    repo.add("main", {"data/train.parquet": b"theirs"}, "theirs")
    done = run_command(main, "publish", NAME, "--catalog", catalog.root)
    assert done.exit_code == 1
    assert "holds 1 files that are no snapshot (data/train.parquet)" in done.stderr
    assert repo.messages == ["theirs"]


def test_a_file_that_the_hub_leaves_out_is_named(
    hub: Hub, catalog: Catalog, snapshot: Path, run_command: Runner
) -> None:
    repo = hub.repos[NAME] = Repo(is_private=False)
    repo.add("main", {".gitignore": b"splits.parquet"}, "theirs")
    done = run_command(main, "publish", NAME, "--catalog", catalog.root)
    assert done.exit_code == 1
    assert "splits.parquet is not there as it was sent" in done.stderr


def test_a_damaged_snapshot_is_not_published(
    hub: Hub, catalog: Catalog, snapshot: Path, run_command: Runner
) -> None:
    path = snapshot / "splits.parquet"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    done = run_command(main, "publish", NAME, "--catalog", catalog.root)
    assert done.exit_code == 1
    assert "splits.parquet is not what the manifest says" in done.stderr
    assert hub.asked == []


def test_an_upload_that_fails_is_one_sentence(
    hub: Hub, catalog: Catalog, snapshot: Path, run_command: Runner
) -> None:
    hub.takes_uploads = False
    done = run_command(main, "publish", NAME, "--catalog", catalog.root)
    assert done.exit_code == 3
    assert "could not be written" in done.stderr
    assert published(hub.repos[NAME]) == {}


@pytest.mark.parametrize("key", ["", "hf_" + "wrong" * 7])
def test_without_the_right_key_it_is_one_sentence(
    hub: Hub,
    catalog: Catalog,
    snapshot: Path,
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    key: str,
) -> None:
    monkeypatch.setenv("HF_TOKEN", key)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "nobody"))
    process = start("publish", NAME, "--catalog", catalog.root)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 3
    assert "does not let you write to me/runs" in err
    assert "Traceback" not in err
    assert not key or key not in err


def test_nobody_listening_is_one_sentence(
    hub: Hub,
    catalog: Catalog,
    snapshot: Path,
    run_command: Runner,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    done = run_command(main, "publish", NAME, "--catalog", catalog.root)
    assert (done.exit_code, "could not be read" in done.stderr) == (3, True)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["runs", "../x/y", "a/..", "a/b/c", "a b/c", "me/x..y"])
def test_a_name_that_is_no_repository_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected OWNER/NAME"):
        publish(tmp_path, name)
