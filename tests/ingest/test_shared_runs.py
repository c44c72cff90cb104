"""Sources that hold one another's runs, together: one row a physical run, and no leak."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from ncpl_data.catalog.complete import complete
from ncpl_data.catalog.record import Run
from ncpl_data.catalog.snapshots.take import take_snapshot
from ncpl_data.catalog.splits import assign_splits, columns_of
from ncpl_data.catalog.stats import coverage
from ncpl_data.catalog.store import Catalog
from ncpl_data.catalog.twins import lineages, physical_runs
from ncpl_data.ingest.declared import declare
from ncpl_data.ingest.pipeline import ingest
from ncpl_data.ingest.sources import SOURCES, ncpl_logs
from ncpl_data.ingest.studies import marin

NAMES = ("marin", "steplaw", "losscast")


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    found = Catalog(tmp_path_factory.mktemp("three") / "c")
    for name in NAMES:
        ingest(SOURCES[name], found, offline=True)
    return found


def test_coverage_of_the_published_split(three: Catalog) -> None:
    parts = {(c.source, c.part): c for c in coverage(three, "ncpl")}
    counts = {key: (c.named, c.with_loss, c.with_curve) for key, c in parts.items()}
    assert counts == {
        ("steplaw", "train"): (1517, 1517, 1483),
        ("steplaw", "id"): (370, 370, 360),
        ("steplaw", "ood"): (694, 694, 434),
        ("marin", "train"): (1708, 1708, 1708),
        ("marin", "id"): (426, 426, 426),
        ("marin", "ood"): (415, 415, 415),
    }
    truncated = {key: len(c.truncated) for key, c in parts.items() if c.truncated}
    assert truncated == {("marin", "train"): 22, ("marin", "id"): 4, ("marin", "ood"): 4}
    assert not any(part.missing for part in parts.values())  # 2,581 and 2,549 of them


@pytest.mark.slow
def test_order_of_ingests_does_not_matter(three: Catalog, tmp_path: Path) -> None:
    other = Catalog(tmp_path / "c")
    for name in reversed(NAMES):
        ingest(SOURCES[name], other, offline=True)
    assert take_snapshot(other, out=tmp_path).id == take_snapshot(three, out=tmp_path).id


def test_a_snapshot_holds_one_row_a_physical_run_with_every_curve(
    three: Catalog, tmp_path: Path
) -> None:
    taken = take_snapshot(three, out=tmp_path)
    rows = pq.read_table(taken.path / "runs").to_pylist()
    # Of losscast what neither owner has, and the one log that goes on where marin's has no loss.
    assert Counter(row["source"] for row in rows) == {
        "marin": 2028,
        "steplaw": 2819,
        "losscast": 1046 + 590,
    }
    physical = physical_runs(rows)
    assert len(set(physical.values())) == len(rows)
    curves = pq.read_table(taken.path / "curves", columns=["run_id"])
    with_curve = set(pc.unique(curves["run_id"]).to_pylist())
    by_source = Counter(row["source"] for row in rows if row["run_id"] in with_curve)
    assert by_source["steplaw"] == 2277
    assert by_source["marin"] > 1340  # its own 123, and those losscast kept
    splits = pq.read_table(taken.path / "splits.parquet").to_pylist()
    assert len(splits) == 2581 + 2549
    assert {row["run_id"] for row in splits} <= {row["run_id"] for row in rows}


POLICIES = [
    "ncpl", "group-hash", "compute:1e20", "source:marin", "source:scalebench", "community",
]  # fmt: skip


@pytest.mark.parametrize("policy", POLICIES[:4] + POLICIES[5:])
def test_no_split_holds_a_physical_run_on_two_sides(three: Catalog, policy: str) -> None:
    rows = three.read("runs", columns_of(policy))
    physical = physical_runs(rows.to_pylist())
    sides: dict[str, set[str]] = {}
    for row in assign_splits(rows, policy).to_pylist():
        sides.setdefault(physical[row["run_id"]], set()).add(row["split"])
    assert sides
    assert all(len(split) == 1 for split in sides.values())


@pytest.fixture(scope="module")
def every_run() -> pa.Table:
    """What a policy sees of every run that ships."""
    rows = []
    for source in SOURCES.values():
        origin = next((o for o in source.origins if o.bundled_paths() is not None), None)
        if origin is None:
            continue
        items = origin.read(origin.bundled_paths() or {})
        runs = [complete(declare(item)) for item in items if isinstance(item, Run)]
        rows += [{c: getattr(run, c) for c in columns_of("community")} for run in runs]
    return pa.Table.from_pylist(rows)


@pytest.mark.parametrize("policy", POLICIES)
def test_no_policy_parts_twins_branches_or_checkpoints_of_any_shipped_run(
    every_run: pa.Table, policy: str
) -> None:
    rows = every_run.to_pylist()
    lineage = lineages(rows)
    sides: dict[str, set[str]] = {}
    for row in assign_splits(every_run, policy).to_pylist():
        sides.setdefault(lineage[row["run_id"]], set()).add(row["split"])
    assert sides
    assert all(len(split) == 1 for split in sides.values())
    assert sum(n > 1 for n in Counter(lineage.values()).values()) == 4882


MISSING = "sweep-1.2b-193B-muonforceb50cablr0.008-wd0.1-minlr0.0-warmup0.0--a245be"
STOPPED = "sweep-130m-21B-mars275999lr0.008-wd0.1-minlr0-warmup2000-b10.98--87acfd"


def test_the_recorded_data_set_fills_what_no_other_source_has(
    three: Catalog, tmp_path: Path
) -> None:
    """Real names, made values: a run without a loss anywhere, and one whose log stops at 10%."""
    steps = {MISSING: 368_640, STOPPED: 40_960}
    rows = [
        {
            "source": "marin",
            "name": f"stanford-mercury/{name}",
            "conf": {"batch size": 128, "learning rate": 0.008, "model size": 1207.9},
            "max_step": n,
            "c4en_steps": [1000, n - 1],
            "c4en_losses": [5.0, 3.25],
            "final_loss": 3.25,
        }
        for name, n in steps.items()
    ]
    (tmp_path / ncpl_logs.MARIN_FILE).write_text(json.dumps(rows))
    (tmp_path / ncpl_logs.STEPLAW_FILE).write_text("[]")
    catalog = Catalog(Path(shutil.copytree(three.root, tmp_path / "c")))
    before = {(c.source, c.part): c for c in coverage(catalog, "ncpl")}
    assert MISSING in before["marin", "ood"].truncated
    assert STOPPED in before["marin", "train"].truncated
    ingest(ncpl_logs.SOURCE, catalog, folder=tmp_path)
    after = {(c.source, c.part): c for c in coverage(catalog, "ncpl")}
    assert len(after["marin", "ood"].truncated) == 3
    assert len(after["marin", "train"].truncated) == 21
    taken = take_snapshot(catalog, out=tmp_path)
    kept = {r["source_run"]: r for r in pq.read_table(taken.path / "runs").to_pylist()}
    sides = {r["run_id"]: r for r in pq.read_table(taken.path / "splits.parquet").to_pylist()}
    for name, part in ((MISSING, "ood"), (STOPPED, "train")):
        row = kept[name]
        assert (row["source"], row["status"], row["final_loss"]) == ("ncpl_logs", "finished", 3.25)
        assert row["train_steps"] == steps[name]
        assert row["dataset"] == marin.DATASET
        assert sides[row["run_id"]]["split"] == part
