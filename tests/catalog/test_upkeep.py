"""Compaction, garbage collection, the check's laws, older states, statistics, differences."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import Result
from made_runs import made_run, put

from ncpl_data.catalog.check import check_catalog
from ncpl_data.catalog.compact import compact, worthwhile
from ncpl_data.catalog.curve import Curve
from ncpl_data.catalog.gc import collect
from ncpl_data.catalog.history import read_manifest, versions
from ncpl_data.catalog.manifest import DataFile, manifest_name
from ncpl_data.catalog.parquet import PartWriter, at_run_boundaries, write_parquet
from ncpl_data.catalog.snapshots.diff import difference
from ncpl_data.catalog.snapshots.take import take_snapshot
from ncpl_data.catalog.snapshots.verify import verify_snapshot
from ncpl_data.catalog.stats import catalog_stats, coverage
from ncpl_data.catalog.store import Catalog
from ncpl_data.catalog.tables import runs_schema
from ncpl_data.ingest.cli import main
from ncpl_data.ingest.pipeline import ingest
from ncpl_data.ingest.sources import SOURCES

Runner = Callable[..., Result]


def fill(catalog: Catalog, n_commits: int = 6) -> None:
    """Commit runs of two sources, overlapping in their keys, some of them twice."""
    for i in range(n_commits):
        put(catalog, *(made_run(f"{j:02d}-{i}") for j in range(5)))
        put(catalog, *(made_run(f"{j:02d}-{i}", source="other", points=7) for j in range(3)))
    put(catalog, *(made_run(f"{j:02d}-1", final_loss=1.5) for j in range(5)))


def rows_of(catalog: Catalog) -> dict[str, list[dict[str, object]]]:
    """Return the rows of every table in one order."""
    return {
        table: sorted(catalog.read(table).to_pylist(), key=lambda r: json.dumps(r, default=str))
        for table in ("runs", "curves", "evals", "rejects", "ingests")
    }


def test_compaction_keeps_every_row_and_the_snapshot_id(catalog: Catalog, tmp_path: Path) -> None:
    fill(catalog)
    rows = rows_of(catalog)
    first = take_snapshot(catalog, policy="group-hash", out=tmp_path / "before")
    done = compact(catalog)
    assert done.files_before > 40
    assert done.files_after == 8  # two sources in each of runs, curves, evals, ingests
    assert rows_of(catalog) == rows
    assert take_snapshot(catalog, policy="group-hash", out=tmp_path / "after").id == first.id
    assert check_catalog(catalog, deep=True) == []
    assert compact(catalog).version is None
    assert put(catalog, made_run("00-2")).unchanged == 1


def test_the_same_runs_in_another_order_give_the_same_id(catalog: Catalog, tmp_path: Path) -> None:
    fill(catalog)
    other = Catalog(tmp_path / "other")
    fill(other, 3)
    for i in range(5, 2, -1):
        put(other, *(made_run(f"{j:02d}-{i}", source="other", points=7) for j in range(3)))
        put(other, *(made_run(f"{j:02d}-{i}") for j in range(4, -1, -1)))
    ids = {take_snapshot(c, policy="group-hash", seed=3).id for c in (catalog, other)}
    assert len(ids) == 1


def test_compaction_of_an_empty_catalog_does_nothing(catalog: Catalog) -> None:
    assert compact(catalog).version is None


def test_large_files_and_disjoint_neighbours_are_left_alone() -> None:
    def file(low: str, high: str, rows: int) -> DataFile:
        return DataFile(f"{low}.parquet", "0", 1, rows, "made", low, high)

    large = [file("a", "c", 3_000_000), file("d", "f", 3_000_000)]
    assert [len(g) for g in worthwhile(large)] == [1, 1]
    assert [len(g) for g in worthwhile([*large, file("b", "b", 5)])] == [2, 1]
    assert [len(g) for g in worthwhile([file("a", "b", 9), file("c", "d", 9)])] == [2]


def test_files_are_cut_between_runs_only(tmp_path: Path) -> None:
    ids = pa.array(np.repeat([f"r{i:03d}" for i in range(40)], 7))
    table = pa.table({"run_id": ids})
    parts = at_run_boundaries(table, 50)
    assert pa.concat_tables(parts).equals(table)
    assert all(p.num_rows % 7 == 0 for p in parts)
    with PartWriter(tmp_path, "part", table.schema, 50) as writer:
        for start in range(0, table.num_rows, 33):
            writer.add(table.slice(start, 33))
            writer.flush()
    held = [pq.read_table(path) for path in writer.paths]
    assert len(held) > 2
    assert all(p.num_rows % 7 == 0 for p in held)
    assert pa.concat_tables(held).equals(table)


def test_gc_spares_young_files_and_listed_ones(catalog: Catalog) -> None:
    fill(catalog)
    compact(catalog)
    rows = rows_of(catalog)
    litter = catalog.root / "data" / "runs" / ".tmp-left-by-a-killed-writer"
    litter.write_bytes(b"half")
    draft = catalog.root / "snapshots" / ".tmp-draft"
    draft.mkdir(parents=True)
    assert collect(catalog, older_hours=1, keep_manifests=1, dry_run=False).temporary == ()
    old = time.time() - 7200
    for path in (*catalog.root.rglob("*"), draft):
        os.utime(path, (old, old))
    preview = collect(catalog, older_hours=1, keep_manifests=1, dry_run=True)
    gone = collect(catalog, older_hours=1, keep_manifests=1, dry_run=False)
    assert preview == gone
    assert len(gone.data_files) > 30
    assert len(gone.manifests) == 13
    assert len(gone.temporary) == 2
    assert rows_of(catalog) == rows
    assert check_catalog(catalog, deep=True) == []
    assert len(versions(catalog.folder)) == 1


def test_gc_puts_back_what_a_writer_has_just_made_young(catalog: Catalog) -> None:
    put(catalog, made_run("a"))
    name = catalog.manifest().tables["runs"][0].path
    assert not catalog.folder.remove_if_older(name, 1000)
    assert check_catalog(catalog) == []


def test_older_states_are_read_with_at(run_command: Runner, catalog: Catalog) -> None:
    put(catalog, made_run("a"))
    put(catalog, made_run("b"))
    sql = "select count(*) as n from runs"
    for at, n in ((1, 1), (2, 2)):
        args = ("query", sql, "--json", "--at", at, "--catalog", catalog.root)
        assert json.loads(run_command(main, *args).stdout) == [{"n": n}]
        args = ("snapshot", "--split", "group-hash", "--json", "--at", at)
        taken = json.loads(run_command(main, *args, "--catalog", catalog.root).stdout)
        assert taken["counts"]["runs"] == n
    result = run_command(main, "stats", "--at", 9, "--catalog", catalog.root)
    assert (result.exit_code, "has no manifest 9; it has 1 to 2" in result.stderr) == (1, True)


def test_a_cursor_is_committed_with_its_runs(catalog: Catalog) -> None:
    put(catalog, made_run("a"), cursor={"after": "2026-11-01"})
    assert catalog.manifest().cursors == {"made": {"after": "2026-11-01"}}
    assert put(catalog, made_run("a"), cursor={"after": "2026-11-01"}).version is None
    put(catalog, made_run("a"), cursor={"after": "2026-11-02"})
    put(catalog, made_run("b", source="other"))
    assert catalog.manifest().cursors["made"] == {"after": "2026-11-02"}


def test_a_file_of_an_older_release_lacks_columns_and_is_read(catalog: Catalog) -> None:
    put(catalog, made_run("a"))
    manifest = catalog.manifest()
    path = catalog.paths("runs")[0]
    old = pq.read_table(path).drop_columns(["optimizer", "metrics", "flags", "is_copy"])
    old_hash = made_run("a", optimizer=None).content_hash()
    old = set_column(old, "run_hash", [old_hash])
    temporary = catalog.folder.temporary("data/runs/new")
    write_parquet(old, temporary)
    keys = {"min": "made/a", "max": "made/a"}
    file = catalog.put_file("runs", "made", temporary, 1, keys)
    tables = {**manifest.tables, "runs": (file,)}
    following = replace(manifest, version=2, tables=tables)
    assert catalog.folder.put_bytes_if_absent(manifest_name(2), following.to_json())
    (row,) = catalog.read("runs").to_pylist()
    assert (row["optimizer"], row["learning_rate"]) == (None, 1e-3)
    taken = take_snapshot(catalog, where="optimizer is null", policy="group-hash")
    assert pq.read_schema(taken.path / "runs" / "part-00000.parquet").equals(runs_schema())


def broken(catalog: Catalog, table: str, change: Callable[[pa.Table], pa.Table]) -> set[str]:
    """Commit changed rows of a table as if somebody had written them; return the broken laws."""
    put(catalog, made_run("a"), made_run("b"))
    manifest = catalog.manifest()
    rows = change(catalog.read(table))
    files = catalog.write(table, "made", rows)
    following = replace(manifest, version=2, tables={**manifest.tables, table: files})
    assert catalog.folder.put_bytes_if_absent(manifest_name(2), following.to_json())
    return {p.law for p in check_catalog(catalog, deep=True)}


def set_column(rows: pa.Table, name: str, values: list[object]) -> pa.Table:
    """Return rows with other values in one column."""
    at = rows.schema.get_field_index(name)
    return rows.set_column(at, rows.schema.field(at), pa.array(values, rows.schema.field(at).type))


def orphan(rows: pa.Table) -> pa.Table:
    """Return rows of a run nobody knows."""
    return set_column(rows, "run_id", ["made/z"] * rows.num_rows)


@pytest.mark.parametrize(
    ("table", "change", "law"),
    [
        ("runs", lambda t: pa.concat_tables([t.slice(0, 1), t]), "one row a run"),
        ("curves", lambda t: orphan(t.slice(0, 20)), "no curve without its run"),
        ("evals", lambda t: orphan(t.slice(0, 1)), "no evaluation without its run"),
        ("curves", lambda t: set_column(t, "step", [1] * t.num_rows), "steps increase"),
        ("curves", lambda t: t.take(list(range(39, -1, -1))), "sorted rows"),
        ("curves", lambda t: set_column(t, "value", [float("nan")] * 40), "finite values"),
        ("curves", lambda t: set_column(t, "value", [3.0] * 40), "content hash"),
        (
            "curves",
            lambda t: set_column(t, "tokens", [5] * 40),
            "curve tokens = batch x sequence x step",
        ),
        (
            "runs",
            lambda t: set_column(t, "train_tokens", [7, 7]),
            "tokens = batch x sequence x step",
        ),
        ("runs", lambda t: set_column(t, "source", ["x", "x"]), "a run belongs to its source"),
    ],
)
def test_a_broken_law_is_found(
    catalog: Catalog, table: str, change: Callable[[pa.Table], pa.Table], law: str
) -> None:
    assert law in broken(catalog, table, change)


def test_check_says_what_is_wrong_and_exits_1(run_command: Runner, catalog: Catalog) -> None:
    put(catalog, made_run("a"))
    good = run_command(main, "check", "--catalog", catalog.root)
    assert (good.exit_code, "all is well" in good.stdout) == (0, True)
    catalog.paths("curves")[0].unlink()
    result = run_command(main, "check", "--json", "--catalog", catalog.root)
    assert result.exit_code == 1
    (problem,) = json.loads(result.stdout)["problems"]
    assert problem["where"] == catalog.manifest().tables["curves"][0].path
    assert "missing" in problem["detail"]


def test_a_catalog_can_be_moved(catalog: Catalog, tmp_path: Path) -> None:
    fill(catalog)
    taken = take_snapshot(catalog, policy="group-hash")
    shutil.move(catalog.root, tmp_path / "moved")
    moved = Catalog(tmp_path / "moved")
    assert check_catalog(moved, deep=True) == []
    assert not take_snapshot(moved, policy="group-hash").is_new
    verify_snapshot(moved.root / "snapshots" / taken.label)


def test_a_difference_names_runs_and_fields(run_command: Runner, catalog: Catalog) -> None:
    put(catalog, *(made_run(n) for n in "abc"))
    first = take_snapshot(catalog, policy="group-hash", name="one")
    step = np.arange(1, 4, dtype=np.int64)
    changed_curve = (Curve("train/loss", step, step * 1.0),)
    put(catalog, made_run("a", learning_rate=2e-3), made_run("b", curves=changed_curve))
    put(catalog, made_run("d"))
    where = "run_id <> 'made/c'"
    second = take_snapshot(catalog, policy="group-hash", where=where, name="two")
    found = difference(first.path, second.path)
    assert (found.added, found.removed, found.unchanged) == (("made/d",), ("made/c",), 0)
    assert found.changed == {"made/a": ("learning_rate",), "made/b": ("curves or evals",)}
    args = ("snapshot", "diff", first.label, second.label, "--catalog", catalog.root)
    result = run_command(main, *args)
    assert result.exit_code == 1
    assert "1 runs added, 1 removed, 2 changed, 0 unchanged" in result.stdout
    same = run_command(main, "snapshot", "diff", first.label, first.id, "--catalog", catalog.root)
    assert same.exit_code == 0


def test_stats_and_coverage_count_the_published_split(catalog: Catalog) -> None:
    ingest(SOURCES["steplaw"], catalog, offline=True)
    (row,) = catalog_stats(catalog)["sources"]
    assert (row["source"], row["runs"], row["with_loss"]) == ("steplaw", 2819, 2819)
    assert row["with_curve"] > 2000
    assert row["curve_points"] > row["with_curve"]
    parts = {(c.source, c.part): c for c in coverage(catalog, "ncpl")}
    train, missing = parts["steplaw", "train"], parts["marin", "ood"]
    assert (train.named, train.with_loss, train.missing) == (1517, 1517, ())
    assert (missing.named, missing.in_catalog, len(missing.missing)) == (415, 0, 415)


def test_manifests_of_the_first_release_are_read(catalog: Catalog) -> None:
    put(catalog, made_run("a"))
    path = catalog.root / manifest_name(1)
    content = json.loads(path.read_text())
    for key in ("sha256", "cursors"):
        del content[key]
    path.write_text(json.dumps(content, indent=1, sort_keys=True))
    manifest = read_manifest(catalog.folder)
    assert manifest is not None
    assert manifest.cursors == {}
