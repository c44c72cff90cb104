from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import Result

from ncpl_data.catalog.conflicts import find_conflicts, summary
from ncpl_data.catalog.record import Run
from ncpl_data.catalog.store import Catalog
from ncpl_data.ingest.cli import main
from ncpl_data.ingest.sources import losscast, marin
from ncpl_data.ingest.studies import losscast as bench
from ncpl_data.ingest.studies.recover_marin import read_table

Runner = Callable[..., Result]


def upsert(catalog: Catalog, source: str, runs: list[Run]) -> None:
    catalog.upsert(runs, source=source, operation=f"ingest {source}", origin="test")


@pytest.fixture
def catalog(fixtures: Path, tmp_path: Path) -> Catalog:
    """A catalog of the real excerpts of marin and losscast, which share runs."""
    split = marin.SPLIT.bundled_path()
    hidden = losscast.HIDDEN.bundled_path()
    assert split is not None
    assert hidden is not None
    names = (marin.RUNS_FILE, marin.CURVES_FILE)
    contents = [(fixtures / "marin" / name).read_bytes() for name in names]
    found = Catalog(tmp_path / "c")
    owned = marin.read(*contents, split.read_bytes())
    upsert(found, "marin", [run for run in owned if isinstance(run, Run)])
    records = bench.read_records((fixtures / "losscast" / "runs.jsonl").read_bytes())
    copied = losscast.read(records, read_table(hidden))
    upsert(found, "losscast", [run for run in copied if isinstance(run, Run)])
    return found


def test_the_owners_value_stands_and_the_reason_is_given(catalog: Catalog) -> None:
    copy = catalog.read("runs", source="losscast").to_pylist()
    (row,) = (r for r in copy if "muon02b4fc" in r["run_id"])
    changed = Run.from_row(row, [], [])
    wrong = replace(changed, final_loss=3.9, momentum=0.5, run_id="losscast/wrong")
    upsert(catalog, "losscast", [wrong])
    twins = [one for one in find_conflicts(catalog) if one.kind == "twins"]
    assert [(c.column, c.value, c.other, c.lost) for c in twins] == [
        ("final_loss", 3.463632106781006, "losscast/wrong", 3.9),
        ("momentum", 0.95, "losscast/wrong", 0.5),
    ]
    assert {c.run_id.split("/")[0] for c in twins} == {"marin"}
    assert {c.reason for c in twins} == {"the owner's record stands before a copy"}


def test_every_repair_is_listed_with_the_old_value_and_the_evidence(catalog: Catalog) -> None:
    repaired = [one for one in find_conflicts(catalog) if one.kind == "repaired"]
    counts = Counter(one.column for one in repaired)
    assert counts["d_ff"] == 8
    assert counts["activation"] == 1
    assert all(one.reason for one in repaired)
    (gelu,) = (one for one in repaired if one.column == "activation")
    assert (gelu.value, gelu.lost) == (None, "gelu")


def test_one_curve_twice_without_a_link_is_found(catalog: Catalog, fixtures: Path) -> None:
    records = bench.read_records((fixtures / "losscast" / "runs.jsonl").read_bytes())
    copied = [r for r in losscast.read(records, {}) if isinstance(r, Run)]
    run = next(r for r in copied if "adamw871b8e" in r.run_id)
    upsert(catalog, "other", [replace(run, run_id="other/again", source="other", same_as=None)])
    found = [one for one in find_conflicts(catalog) if one.kind == "duplicate"]
    assert [(one.run_id, one.other) for one in found] == [(run.run_id, "other/again")]
    linked = replace(run, run_id="other/again", source="other", same_as=(run.run_id,))
    upsert(catalog, "other", [linked])
    assert not [one for one in find_conflicts(catalog) if one.kind == "duplicate"]


def test_an_empty_catalog_has_no_conflicts(tmp_path: Path) -> None:
    assert find_conflicts(Catalog(tmp_path / "none")) == []


def test_summary_counts_every_conflict_once(catalog: Catalog) -> None:
    found = find_conflicts(catalog)
    assert sum(row["runs"] for row in summary(found)) == len(found)


def test_the_command_lists_counts_or_each(run_command: Runner, catalog: Catalog) -> None:
    folder = ("--catalog", catalog.root)
    counts = json.loads(run_command(main, "conflicts", "--json", *folder).stdout)
    assert counts["conflicts"] == sum(row["runs"] for row in counts["by"])
    one = run_command(main, "conflicts", "--column", "d_ff", "--each", "--json", *folder)
    each = json.loads(one.stdout)["each"]
    assert {row["column"] for row in each} == {"d_ff"}
    text = run_command(main, "conflicts", "--kind", "repaired", *folder).stdout
    assert "openwebtext" in text or "dolma" in text
    nothing = run_command(main, "conflicts", "--column", "no_such", *folder)
    assert nothing.stdout.strip() == "no disagreements"
