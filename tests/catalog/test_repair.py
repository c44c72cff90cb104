"""Lost and forked histories are named, and what the files still hold comes back."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from made_runs import made_run, put

from ncpl_data.catalog.check import check_catalog
from ncpl_data.catalog.compact import compact
from ncpl_data.catalog.errors import InputError, IntegrityError
from ncpl_data.catalog.gc import collect
from ncpl_data.catalog.history import KEPT_LOOSE, PACK_STATES, pack, packs, states, versions
from ncpl_data.catalog.manifest import Manifest, loose, manifest_name
from ncpl_data.catalog.outcome import Outcome, ingest_row
from ncpl_data.catalog.repair import repair
from ncpl_data.catalog.snapshots.take import take_snapshot
from ncpl_data.catalog.store import Catalog, Files
from ncpl_data.catalog.upsert import run_tables
from ncpl_data.ingest.cli import main

Runner = Callable[..., Result]


def ids(catalog: Catalog) -> list[str]:
    """Return the runs of a catalog."""
    return sorted(catalog.read("runs")["run_id"].to_pylist())


def names(text: str) -> list[str]:
    """Return run ids from their letters."""
    return [f"made/{letter}" for letter in text]


def copy(catalog: Catalog, name: str) -> Catalog:
    """Return a copy of a catalog beside it."""
    target = catalog.root.with_name(name)
    shutil.copytree(catalog.root, target)
    return Catalog(target)


def lose_head(catalog: Catalog) -> None:
    (catalog.root / manifest_name(3)).unlink()


def lose_middle(catalog: Catalog) -> None:
    (catalog.root / manifest_name(2)).unlink()


def lose_all(catalog: Catalog) -> None:
    shutil.rmtree(catalog.root / "manifests")


def lose_all_and_receipts(catalog: Catalog) -> None:
    lose_all(catalog)
    shutil.rmtree(catalog.root / "heads")


def restore_manifests_of_a_backup(catalog: Catalog) -> None:
    for version in (2, 3):
        (catalog.root / manifest_name(version)).unlink()
    for head in (catalog.root / "heads").iterdir():
        if not head.name.startswith("0000000001"):
            head.unlink()


@pytest.mark.parametrize(
    ("lose", "where", "sentence"),
    [
        (lose_head, manifest_name(3), "was committed as the newest state"),
        (lose_middle, manifest_name(2), "is missing, although a later one is there"),
        (lose_all, "manifests", "is empty, although manifest 3 was committed"),
        (lose_all_and_receipts, "manifests", "nothing says what the 12 files"),
        (restore_manifests_of_a_backup, manifest_name(3), "an older copy of the catalog"),
    ],
)
def test_a_lost_history_is_one_sentence_and_comes_back(
    run_command: Runner,
    catalog: Catalog,
    lose: Callable[[Catalog], None],
    where: str,
    sentence: str,
) -> None:
    for name in "abc":
        put(catalog, made_run(name))
    lose(catalog)
    result = run_command(main, "check", "--catalog", catalog.root)
    (line,) = result.stdout.splitlines()
    assert (result.exit_code, line.startswith(where)) == (1, True)
    assert sentence in line
    assert "ncpl-data repair" in line
    shown = run_command(main, "repair", "--catalog", catalog.root)
    assert shown.exit_code == 1
    assert sentence in shown.stdout
    assert run_command(main, "repair", "--apply", "--catalog", catalog.root).exit_code == 0
    assert ids(catalog) == names("abc")
    assert catalog.read("ingests").num_rows == 3
    assert check_catalog(catalog, deep=True) == []
    put(catalog, made_run("d"))
    assert check_catalog(catalog, deep=True) == []


def test_a_state_whose_newest_manifest_is_gone_is_not_written_over(catalog: Catalog) -> None:
    for name in "ab":
        put(catalog, made_run(name))
    (catalog.root / manifest_name(2)).unlink()
    with pytest.raises(IntegrityError, match="has lost manifest 2"):
        put(catalog, made_run("c"))
    with pytest.raises(IntegrityError, match="has lost manifest 2"):
        catalog.read("runs")


@pytest.mark.parametrize(("ours", "theirs"), [("xy", "z"), ("x", "yz"), ("x", "y"), ("xyz", "w")])
def test_two_copies_put_together_are_named_and_both_come_back(
    catalog: Catalog, ours: str, theirs: str
) -> None:
    put(catalog, made_run("a"), made_run("b"))
    other = copy(catalog, "other")
    for name in ours:
        put(catalog, made_run(name))
    for name in theirs:
        put(other, made_run(name))
    put(other, made_run("b", final_loss=1.0))
    shutil.copytree(other.root, catalog.root, dirs_exist_ok=True)
    problems = check_catalog(catalog)
    assert any("two copies that went apart were put together" in p.detail for p in problems)
    with pytest.raises(InputError, match="a part of its history is lost"):
        collect(catalog, older_hours=0, keep_manifests=None, dry_run=False)
    done = repair(catalog, apply=True)
    assert done.lost == []
    assert ids(catalog) == sorted(names("ab" + ours + theirs))
    assert check_catalog(catalog, deep=True) == []
    assert take_snapshot(catalog, policy="group-hash").manifest["counts"]["runs"] == len(
        "ab" + ours + theirs
    )


def test_a_backup_in_place_of_the_catalog_is_noticed_on_its_machine(catalog: Catalog) -> None:
    put(catalog, made_run("a"))
    backup = copy(catalog, "backup")
    put(catalog, made_run("b"))
    shutil.rmtree(catalog.root)
    shutil.copytree(backup.root, catalog.root)
    (problem,) = check_catalog(catalog)
    assert "an older copy of the catalog was put in its place" in problem.detail
    assert check_catalog(backup) == []
    repair(catalog, apply=True)
    assert check_catalog(catalog) == []
    assert put(catalog, made_run("c")).version == 4


def test_a_new_catalog_in_an_old_place_is_no_backup(catalog: Catalog) -> None:
    for name in "ab":
        put(catalog, made_run(name))
    shutil.rmtree(catalog.root)
    put(catalog, made_run("c"))
    assert check_catalog(catalog) == []


def test_a_killed_writers_files_are_no_problem_and_are_counted(
    run_command: Runner, catalog: Catalog
) -> None:
    put(catalog, made_run("a"))
    catalog.write("runs", "made", catalog.read("runs").slice(0, 0))
    lonely = made_run("z")
    catalog.write("curves", "made", run_tables([lonely])["curves"])
    result = run_command(main, "check", "--json", "--catalog", catalog.root)
    told = json.loads(result.stdout)
    assert (result.exit_code, told["ok"], told["unlisted_files"]) == (0, True, 1)
    done = repair(catalog)
    assert (done.restored, done.lost) == ([], ["made/z"])


@pytest.mark.parametrize("table", ["runs", "curves", "evals"])
def test_what_a_damaged_file_still_holds_comes_back(catalog: Catalog, table: str) -> None:
    put(catalog, *(made_run(name) for name in "abc"))
    put(catalog, made_run("y", source="other"))
    path = catalog.root / next(
        f.path for f in catalog.manifest().tables[table] if f.source == "made"
    )
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert repair(catalog).lost == names("abc")
    done = repair(catalog, apply=True)
    assert done.lost == names("abc")
    assert ids(catalog) == ["other/y"]
    assert check_catalog(catalog) == []
    put(catalog, *(made_run(name) for name in "abc"))  # brought in again, as the report says
    assert check_catalog(catalog, deep=True) == []


def test_gc_refuses_a_catalog_without_manifests(run_command: Runner, catalog: Catalog) -> None:
    put(catalog, made_run("a"))
    lose_all(catalog)
    args = ("gc", "--older-hours", 0, "--force", "--catalog", catalog.root)
    result = run_command(main, *args)
    assert (result.exit_code, "holds data files but no manifest" in result.stderr) == (1, True)
    assert len(list((catalog.root / "data").rglob("*.parquet"))) == 4


def test_gc_below_a_day_needs_force(run_command: Runner, catalog: Catalog) -> None:
    put(catalog, made_run("a"))
    args = ("gc", "--older-hours", 1, "--catalog", catalog.root)
    assert run_command(main, *args).exit_code == 2
    assert run_command(main, *args, "--dry-run").exit_code == 0
    assert run_command(main, *args, "--force").exit_code == 0


N_COMMITS = KEPT_LOOSE + 3 * PACK_STATES


def note(catalog: Catalog, manifest: Manifest) -> tuple[Files, Outcome]:
    """Return the tables with one row more of `ingests`: the cheapest commit."""
    own = catalog.write("ingests", "made", ingest_row("made", "made", Outcome(), ""))
    return {**manifest.tables, "ingests": (*manifest.tables["ingests"], *own)}, Outcome()


@pytest.fixture(scope="module")
def many_commits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog of many commits, among them replaced runs and a compaction."""
    catalog = Catalog(tmp_path_factory.mktemp("long") / "catalog")

    for i in range(N_COMMITS - 1):
        if i % 5 == 0:
            source = ("made", "other")[i % 2]
            put(catalog, made_run(f"{i % 40:03d}", source=source, points=3, seed=i))
        else:
            catalog.commit(lambda manifest: note(catalog, manifest), "note")
    compact(catalog)
    return catalog.root


@pytest.fixture
def long_lived(many_commits: Path, tmp_path: Path) -> Catalog:
    """A catalog of many commits of one's own."""
    return Catalog(Path(shutil.copytree(many_commits, tmp_path / "long")))


def test_old_states_are_packed_and_stay_readable(long_lived: Catalog) -> None:
    catalog = long_lived
    assert len(loose(catalog.folder)) < KEPT_LOOSE + PACK_STATES
    assert len(packs(catalog.folder)) == 3
    assert versions(catalog.folder) == list(range(1, N_COMMITS + 1))
    found = {v: s for v, s in states(catalog.folder) if isinstance(s, Manifest)}
    assert sorted(found) == list(range(1, N_COMMITS + 1))
    for version in (1, 2, 31, 33, 64, 90, N_COMMITS):
        state = catalog.at(version).manifest()
        assert state.version == version
        assert len(Catalog(catalog.root, version).read("ingests")) == min(version, N_COMMITS - 1)
    assert [found[v + 1].parent for v in range(1, N_COMMITS)] == [
        found[v].sha256 for v in range(1, N_COMMITS)
    ]
    assert check_catalog(catalog, deep=True) == []


def test_packs_that_two_processes_made_at_once_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One pack begins inside the other: its maker saw the removals of the first half done."""
    monkeypatch.setattr("ncpl_data.catalog.store.pack", lambda _: None)
    catalog = Catalog(tmp_path / "one")
    for _ in range(70):
        catalog.commit(lambda manifest: note(catalog, manifest), "note")
    other = Catalog(Path(shutil.copytree(catalog.root, tmp_path / "other")))
    for version in range(1, 20):
        other.folder.remove(manifest_name(version))
    for one in (catalog, other):
        pack(one.folder)
    (name,) = (name for _, _, name in packs(other.folder))
    shutil.copy(other.root / name, catalog.root / name)
    for version in range(33, 52):
        catalog.folder.remove(manifest_name(version))
    assert [(first, last) for first, last, _ in packs(catalog.folder)] == [(1, 32), (20, 51)]
    assert check_catalog(catalog, deep=True) == []
    assert [version for version, _ in states(catalog.folder)] == list(range(70, 0, -1))


def test_a_writer_that_slept_takes_no_number_of_the_past(long_lived: Catalog) -> None:
    catalog = long_lived
    late = made_run("late")
    woken = []

    class Asleep(Catalog):
        """A catalog whose state was read long ago."""

        def manifest(self) -> Manifest:
            if not woken:
                woken.append(True)
                return catalog.at(2).manifest()
            return super().manifest()

    outcome = put(Asleep(catalog.root), late)
    assert outcome.version == N_COMMITS + 1
    assert "made/late" in ids(catalog)
    assert check_catalog(catalog, deep=True) == []


def test_gc_drops_packed_states_whole(long_lived: Catalog) -> None:
    gone = collect(long_lived, older_hours=0, keep_manifests=5, dry_run=False)
    assert len(gone.manifests) == 3 + len(range(N_COMMITS - 5)) - 3 * PACK_STATES
    assert versions(long_lived.folder) == list(range(N_COMMITS - 4, N_COMMITS + 1))
    assert check_catalog(long_lived, deep=True) == []
    assert len(ids(long_lived)) == 8


def test_a_damaged_pack_is_named_and_newer_states_stay(long_lived: Catalog) -> None:
    _, last, name = packs(long_lived.folder)[1]
    path = Path(long_lived.root / name)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    assert {p.where for p in check_catalog(long_lived)} >= {name}
    assert len(ids(long_lived.at(last + 1))) > 0
    with pytest.raises(IntegrityError, match="is damaged"):
        long_lived.at(last).manifest()
    assert len(ids(long_lived)) == 8
