"""Contributed runs wait for a maintainer where they touch what a source publishes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from made_runs import made_run, put

from ncpl_data.catalog.errors import InputError, IntegrityError
from ncpl_data.catalog.review import decide, decisions
from ncpl_data.catalog.snapshots.take import take_snapshot
from ncpl_data.catalog.store import Catalog
from ncpl_data.catalog.waiting import left_out
from ncpl_data.ingest.cli import main

PUBLISHED = {
    "origins": [{"name": "made", "licence": "MIT"}],
    "licence": "MIT",
    "title": "",
    "citation": "",
    "url": "",
    "traps": [],
}
PLACE = {"dataset": "web", "tokenizer": "bpe"}


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    """A catalog with one published source, read by an adapter."""
    found = Catalog(tmp_path / "catalog")
    put(found, *(made_run(f"{i}", final_loss=3 + i / 7, **PLACE) for i in range(3)),
        sheet={**PUBLISHED, "name": "made"})  # fmt: skip
    return found


def hand_in(catalog: Catalog, run: Any) -> None:
    """Put a contributor's run into the catalog, as `submit` does."""
    put(catalog, run, sheet={**PUBLISHED, "name": "lab", "origins": []})


def contributed(name: str, **fields: object) -> Any:
    """Return a run of a contributor, in a set-up of its own unless fields say otherwise."""
    own = {"dataset": "own", "tokenizer": "own", "params_non_embedding": 77_000_000}
    return made_run(name, source="lab", **(own | {"final_loss": 2.9} | fields))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, None),  # an own set-up
        (
            {"dataset": None, "tokenizer": None},
            "states nothing that sets its losses apart from those of made",
        ),
        ({"dataset": "web", "tokenizer": None}, "sets its losses apart"),
        ({"dataset": "web", "tokenizer": "own"}, None),
        ({"same_as": ("made/1",)}, "says that it is made/1"),
        ({"params_non_embedding": 10_000_000}, "has the settings of made/0"),
        (
            {"params_non_embedding": 10_000_000, "final_loss": 3 + 1 / 7, "learning_rate": 0.5},
            "has the size and the final loss of made/1",
        ),
        ({"final_loss": None, "dataset": None}, None),  # nothing to be learned
    ],
)
def test_a_run_waits_where_it_touches_what_is_published(
    fields: dict[str, Any], words: str | None, catalog: Catalog
) -> None:
    hand_in(catalog, contributed("a", **fields))
    found = left_out(catalog, catalog.manifest())
    assert [words in one.reason for one in found] == ([] if words is None else [True])


def test_a_run_that_waits_is_in_no_snapshot_until_it_is_accepted(catalog: Catalog) -> None:
    """And one that is replaced waits again."""
    alone = take_snapshot(catalog, policy="group-hash").id
    hand_in(catalog, contributed("a", dataset=None, tokenizer=None))
    assert take_snapshot(catalog, policy="group-hash").id == alone
    place = ["--catalog", str(catalog.root), "--json"]
    runner = CliRunner()
    (listed,) = json.loads(runner.invoke(main, ["review", "list", *place]).stdout)["runs"]
    assert (listed["run_id"], listed["decision"]) == ("lab/a", None)
    accept = ["review", "accept", "lab/a", "--reason", "logs seen", *place]
    done = runner.invoke(main, accept)
    assert json.loads(done.stdout)["file"] == "reviews/0000000001.json"
    taken = take_snapshot(catalog, policy="group-hash")
    assert "lab/a" in pq.read_table(taken.path / "runs")["run_id"].to_pylist()
    hand_in(catalog, contributed("a", dataset=None, tokenizer=None, learning_rate=0.02))
    assert take_snapshot(catalog, policy="group-hash").id == alone
    assert runner.invoke(main, ["check", "--catalog", str(catalog.root)]).exit_code == 0


def test_a_rejected_run_is_left_out_wherever_it_is_from(catalog: Catalog) -> None:
    hand_in(catalog, contributed("a"))
    place = ["--catalog", str(catalog.root)]
    reject = ["review", "reject", "lab/", "--reason", "made up", "--by", "Ada", *place]
    assert CliRunner().invoke(main, reject).exit_code == 0
    (found,) = left_out(catalog, catalog.manifest())
    assert found.decision is not None
    assert (found.decision.reason, found.decision.by) == ("made up", "Ada")
    listed = CliRunner().invoke(main, ["review", "list", *place])
    assert "made up" in listed.stdout


def test_the_later_decision_stands(catalog: Catalog) -> None:
    for verdict in ("rejected", "accepted"):
        decide(catalog.folder, {"lab/a": "h"}, verdict, "seen")
    assert decisions(catalog.folder)["lab/a", "h"].verdict == "accepted"
    assert len(catalog.folder.names("reviews")) == 2


@pytest.mark.parametrize("reason", ["", "  ", "x" * 3000])
def test_a_decision_needs_a_reason(reason: str, catalog: Catalog) -> None:
    with pytest.raises(InputError, match="needs a reason"):
        decide(catalog.folder, {"lab/a": "h"}, "accepted", reason)


def test_a_damaged_decision_is_named(catalog: Catalog) -> None:
    (catalog.root / "reviews").mkdir()
    (catalog.root / "reviews" / "0000000001.json").write_text("{}")
    hand_in(catalog, contributed("a"))
    with pytest.raises(IntegrityError, match=r"reviews/0000000001.json is damaged"):
        take_snapshot(catalog, policy="group-hash")


def test_a_name_that_no_contributed_run_has_is_refused(catalog: Catalog) -> None:
    accept = ["review", "accept", "made/1", "--reason", "x", "--catalog", str(catalog.root)]
    done = CliRunner().invoke(main, accept)
    assert done.exit_code == 1
    assert "is no contributed run that waits" in done.stderr
