"""Which runs no split may part, where sizes and budgets are stated, near, or not stated."""

from __future__ import annotations

from typing import Any

import pytest

from ncpl_data.catalog.groups import grouped
from ncpl_data.catalog.splits import POLICIES, check_leaks


def row(run_id: str, **fields: object) -> dict[str, Any]:
    """Return what a policy sees of a run; nothing about its size is stated."""
    return {
        "run_id": run_id,
        "source": run_id.partition("/")[0],
        "source_run": run_id.partition("/")[2],
        "optimizer": "adamw",
        "params_non_embedding": None,
        "nominal_train_tokens": None,
        "train_tokens": None,
        "same_as": None,
        "status": "finished",
        "final_loss": 3.0,
    } | fields


SHAPE = {"n_layers": 12, "d_model": 384}
STEPS = {"train_steps": 2286, "batch_size_sequences": 16, "sequence_length": 8192}


@pytest.mark.parametrize(
    ("first", "second", "n_groups"),
    [
        ({}, {}, 2),  # nothing is known: each stands alone
        (SHAPE | STEPS, SHAPE | STEPS, 1),  # one configuration on two machines
        (SHAPE | STEPS, SHAPE | STEPS | {"train_steps": 2300}, 1),  # near-equal budgets
        (SHAPE | STEPS, SHAPE | STEPS | {"train_steps": 4572}, 2),
        (SHAPE | STEPS, SHAPE | STEPS | {"n_layers": 24}, 2),
        (SHAPE | STEPS, SHAPE | STEPS | {"dataset": "c4"}, 2),
        ({"params_total": 10**8} | STEPS, {"params_total": 102 * 10**6} | STEPS, 1),
        ({"n_experts": 8} | STEPS, {"n_experts": 8} | STEPS, 2),  # a share of the shape is none
        (
            {"params_non_embedding": 10**8, "train_tokens": 10**10},
            {"params_non_embedding": 103 * 10**6, "train_tokens": 97 * 10**8},
            1,
        ),
        (
            {"params_non_embedding": 10**8, "train_tokens": 10**10},
            {"params_non_embedding": 106 * 10**6, "train_tokens": 10**10},
            2,
        ),
        (
            {"params_non_embedding": 10**8, "train_tokens": 10**10, "optimizer": "muon"},
            {"params_non_embedding": 10**8, "train_tokens": 10**10},
            2,
        ),
    ],
)
def test_runs_are_grouped_by_what_is_known_of_them(
    first: dict[str, Any], second: dict[str, Any], n_groups: int
) -> None:
    assert len(grouped([row("a/1", **first), row("b/1", **second)])) == n_groups


def test_no_pair_of_near_groups_is_parted() -> None:
    rows = [
        row(f"a/{i}-{j}", params_non_embedding=round(1e7 * 1.03**i), train_tokens=10**9 * 2**j)
        for i in range(40)
        for j in range(3)
    ]
    for policy, argument in (("group-hash", ""), ("compute", "1e18"), ("source", "a")):
        found = POLICIES[policy](rows, argument, 1)
        check_leaks(found, rows)
        assert len({one.split for one in found if one.split_group == found[0].split_group}) == 1
    assert len(grouped(rows)) == 3


@pytest.mark.parametrize(
    ("fields", "n"),
    [
        ({}, 1),
        ({"stage": "pretrain", "initial_weights": "random"}, 1),
        ({"initial_weights": "EleutherAI/pythia-160m"}, 0),
        ({"stage": "cpt"}, 0),
        ({"stage": "sft"}, 0),
    ],
)
def test_a_run_that_starts_from_weights_is_on_no_side(fields: dict[str, Any], n: int) -> None:
    assert len(POLICIES["group-hash"]([row("a/1", **fields)], "", 0)) == n
