"""The sweep board: five small runs of families left out, and which of them count."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from ncpl.bench.small_runs import (
    FOLLOWED,
    NAMED,
    SHARE,
    SweepRow,
    run_sweeps,
    sweeps_json,
    sweeps_markdown,
)
from ncpl.cli import main
from ncpl.data.families import FamilyRuns
from ncpl.evaluate.transfer_tasks import compute_of
from ncpl.model.population import Population
from tests.ncpl.families import community, family


@pytest.fixture(scope="module")
def families() -> list[FamilyRuns]:
    return [family("large", NAMED[0], count=60), *community(1), family("few", "few", count=12)]


@pytest.fixture(scope="module")
def board(families):
    given: list[list[str]] = []

    def learn(learned) -> Population:
        given.append([one.name for one in learned])
        return Population.start()

    rows, absent = run_sweeps(families, learn)
    return rows, absent, given


def test_five_cheap_runs_narrow_the_largest_and_the_truth_lies_inside(board) -> None:
    (named, other), _, _ = board
    assert named.is_named
    assert not other.is_named
    for row in (named, other):
        assert row.followed == FOLLOWED
        assert row.spent_share <= SHARE
        assert row.left < 0.5
        assert row.inside_after >= 0.8
        assert row.is_met


def test_a_family_is_not_among_those_learned_from(board) -> None:
    _, _, given = board
    assert given == [["f0", "few"], ["large", "few"]]


def test_a_family_of_few_runs_is_named_with_the_reason(board) -> None:
    assert board[1] == {"few": "12 runs; 20 are needed"}


def test_runs_that_cost_much_are_not_cheap(families) -> None:
    cost = compute_of(families[0])
    dear = families[0].take(np.flatnonzero(cost > 0.2 * cost.max()).tolist() * 5)
    _, absent = run_sweeps([dear], lambda _: Population.start())
    assert absent == {"large": "0 cheap runs; 5 are needed"}


@pytest.mark.parametrize(
    ("changed", "is_met"),
    [({}, True), ({"followed": 4}, False), ({"half_after": 0.3}, False),
     ({"inside_after": 0.7}, False)],
)  # fmt: skip
def test_a_row_is_met_by_five_runs_half_the_width_and_the_truth_inside(changed, is_met) -> None:
    plain = {"family": "a", "is_named": True, "cheap": 9, "followed": 5, "asked": 4,
             "spent_share": 0.04, "half_before": 0.5, "half_after": 0.1, "inside_before": 1.0,
             "inside_after": 1.0, "error_after": 0.02}  # fmt: skip
    assert SweepRow(**plain | changed).is_met is is_met


def test_the_board_tells_every_family(board) -> None:
    rows, absent, _ = board
    text = sweeps_markdown(rows, absent)
    assert "| large (named) | " in text
    assert "Not followed: few (12 runs" in text
    assert sweeps_json("id", rows, absent)["rows"][0]["is_met"] is True


def test_a_snapshot_of_one_family_is_refused_in_a_sentence(fixture_snapshot) -> None:
    found = CliRunner().invoke(main, ["bench", "sweep", "--snapshot", str(fixture_snapshot.path)])
    assert found.exit_code == 1
    assert "no other family to learn from" in found.output
    assert "--split community" in found.output


def test_the_command_writes_text_and_json(
    fixture_snapshot, families, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr("ncpl.data.families.families_in", lambda _: families)
    found = CliRunner().invoke(
        main,
        ["bench", "sweep", "--snapshot", str(fixture_snapshot.path), "--out", str(tmp_path),
         "--json"],
    )  # fmt: skip
    assert found.exit_code == 0, found.output
    assert json.loads((tmp_path / "sweep.json").read_text())["rows"]
    assert (tmp_path / "sweep.md").read_text().startswith("Small runs")
