"""The allocation board: frozen tasks, and its text."""

import json

import pytest
from click.testing import CliRunner

import ncpl
from ncpl.bench.allocation import FROZEN, digest_of, freeze_tasks, frozen_tasks, run_allocation
from ncpl.bench.allocation_report import markdown
from ncpl.bench.law_allocation import WAYS, chosen_by, law_markdown, law_tasks
from ncpl.cli import main
from ncpl.data.sizes import size_of
from ncpl.data.snapshot import Snapshot
from ncpl.errors import ConfigError
from ncpl.plan.strategies import strategies


@pytest.fixture(scope="module")
def board(fixture_snapshot: Snapshot):
    methods = [strategies()[name] for name in ("top", "ncpl")]
    return run_allocation(fixture_snapshot, ncpl.load(), methods=methods)


def test_a_task_names_its_runs_in_any_order() -> None:
    assert digest_of(["b", "a"]) == digest_of(["a", "b"])
    assert digest_of(["a"]) != digest_of(["a", "b"])


def test_groups_that_the_snapshot_lacks_are_named(board) -> None:
    """The fixture holds StepLaw only."""
    assert {group["source"] for group in board.groups} == {"steplaw"}
    assert board.absent
    assert all(name.startswith("marin/") for name in board.absent)


def test_ours_is_no_worse_than_the_models_best_on_steplaw(board) -> None:
    rows = {(row["split"], row["strategy"]): row for row in board.rows}
    for split in ("id", "ood"):
        for at in (10, 25, 50):
            name = f"regret_percent_at_{at}"
            assert rows[split, "ncpl"][name] <= rows[split, "top"][name] + 1e-9


def test_the_text_has_a_row_a_strategy(board) -> None:
    text = markdown(board)
    assert "| ncpl | " in text
    assert "steplaw OOD (12 groups)" in text


def test_frozen_tasks_are_those_of_the_published_split(fixture_snapshot, tmp_path) -> None:
    path = tmp_path / "tasks.json"
    count = freeze_tasks(ncpl.load(), fixture_snapshot.runs(), path)
    shipped = {task["digest"] for task in frozen_tasks(FROZEN)}
    assert count == 17
    assert {task["digest"] for task in frozen_tasks(path)} <= shipped


def test_another_file_is_no_tasks(tmp_path) -> None:
    path = tmp_path / "tasks.json"
    path.write_text("[]")
    with pytest.raises(ConfigError, match="holds no tasks"):
        frozen_tasks(path)


def test_the_command_writes_text_and_json(fixture_snapshot, tmp_path) -> None:
    found = CliRunner().invoke(
        main,
        ["bench", "allocate", "--snapshot", str(fixture_snapshot.path), "--strategy", "top",
         "--out", str(tmp_path / "board"), "--json"],
    )  # fmt: skip
    assert found.exit_code == 0, found.output
    assert json.loads((tmp_path / "board" / "allocate.json").read_text())["rows"]


def test_a_pool_has_smaller_runs_only_and_asks_for_the_best_larger_ones(fixture_snapshot) -> None:
    (task,) = law_tasks(fixture_snapshot)
    assert (task.source, task.optimizer) == ("steplaw", "adamw")
    largest = max(size_of(row) for row in task.rows)
    assert min(size_of(row) for row in task.asked) > largest
    assert len({(size_of(r), r["data_tokens"]) for r in task.asked}) == len(task.asked)


@pytest.mark.parametrize("name", WAYS)
def test_every_way_to_a_law_stays_inside_its_budget(fixture_snapshot, name) -> None:
    (task,) = law_tasks(fixture_snapshot)
    budget = 0.01 * float(task.cost.sum())
    chosen = chosen_by(task, name, budget, 0)
    assert 0 < task.cost[chosen].sum() <= budget * (1 + 1e-9)


def test_laws_are_told_in_a_table() -> None:
    row = {"source": "steplaw", "optimizer": "adamw", "share": 0.1, "error_percent": 0.24,
           "runs": 254, "asked": 12}  # fmt: skip
    text = law_markdown([row | {"strategy": name} for name in WAYS])
    assert "| ncpl | 0.24 (254) |" in text
