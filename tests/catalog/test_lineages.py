"""A run, its twins and its branches are on one side of every split."""

from __future__ import annotations

from typing import Any

import pytest

from ncpl_data.catalog.errors import IntegrityError
from ncpl_data.catalog.splits import POLICIES, Assignment, check_leaks
from ncpl_data.catalog.twins import lineages


def row(run_id: str, **fields: object) -> dict[str, Any]:
    """Return what a policy sees of a run."""
    return {
        "run_id": run_id,
        "source": run_id.partition("/")[0],
        "source_run": run_id.partition("/")[2],
        "optimizer": "adamw",
        "params_non_embedding": 10_000_000,
        "nominal_train_tokens": None,
        "train_tokens": 1_000_000_000,
        "same_as": None,
        "parent_run_id": None,
        "status": "finished",
        "final_loss": 3.0,
    } | fields


def test_lineages_unite_twins_and_branches_also_over_a_run_that_is_absent() -> None:
    rows = [
        row("a/1"),
        row("a/2", parent_run_id="a/1"),
        row("b/2", same_as=["a/2"]),
        row("c/1", parent_run_id="d/absent"),
        row("c/2", parent_run_id="d/absent"),
        row("e/1"),
    ]
    assert lineages(rows) == {
        **dict.fromkeys(("a/1", "a/2", "b/2"), "a/1"),
        **dict.fromkeys(("c/1", "c/2"), "c/1"),
        "e/1": "e/1",
    }


@pytest.mark.parametrize("policy", ["group-hash", "compute:3e17", "source:b"])
def test_a_run_and_its_branches_are_on_one_side(policy: str) -> None:
    """A branch has another budget than its parent, so their groups alone would not say so."""
    rows = [row("a/0", train_tokens=10**10, source="b")]
    rows += [row(f"a/{i}", train_tokens=i * 10**9, parent_run_id=f"a/{i - 1}") for i in range(1, 9)]
    rows += [row(f"a/x{i}", train_tokens=i * 10**8) for i in range(1, 30)]
    name, _, argument = policy.partition(":")
    for seed in range(5):
        found = POLICIES[name](rows, argument, seed)
        assert len({a.split for a in found if not a.run_id.startswith("a/x")}) == 1
        check_leaks(found, rows)


def test_a_branch_away_from_its_parent_is_a_leak() -> None:
    rows = [row("a/1"), row("a/2", parent_run_id="a/1", train_tokens=10**8)]
    sides = [Assignment("a/1", "train", "one"), Assignment("a/2", "id", "two")]
    with pytest.raises(IntegrityError, match="one continues the other"):
        check_leaks(sides, rows)
