"""Split policies hold their sides apart, and one physical run is one row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_runs import made_run, put

from ncpl_data.catalog.curve import Curve
from ncpl_data.catalog.errors import InputError
from ncpl_data.catalog.record import Evaluation
from ncpl_data.catalog.snapshots.take import take_snapshot
from ncpl_data.catalog.snapshots.verify import verify_snapshot
from ncpl_data.catalog.splits import (
    POLICIES,
    Assignment,
    check_leaks,
    grouped,
    ncpl_names,
)
from ncpl_data.catalog.store import Catalog
from ncpl_data.catalog.twins import merge_twins, physical_runs


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
        "status": "finished",
        "final_loss": 3.0,
    } | fields


def test_runs_that_point_to_one_absent_third_are_twins() -> None:
    rows = [row("a/1", same_as=["c/1"]), row("b/1", same_as=["c/1"]), row("b/2")]
    assert physical_runs(rows) == {"a/1": "a/1", "b/1": "a/1", "b/2": "b/2"}


@pytest.mark.parametrize(
    ("first", "second", "stands"),
    [
        ({}, {"is_copy": True}, "a/1"),
        ({"is_copy": True}, {}, "b/1"),
        ({"final_loss": None}, {"is_copy": True}, "b/1"),
        ({"is_copy": True}, {"is_copy": True, "same_as": None}, "b/1"),  # others point to it
        ({}, {"same_as": ["a/1"]}, "a/1"),
    ],
)
def test_the_owners_row_with_a_loss_stands(
    first: dict[str, Any], second: dict[str, Any], stands: str
) -> None:
    base = {"run_hash": "0", "is_copy": None, "final_loss": 3.0}
    rows = [
        {"run_id": "a/1", "same_as": ["b/1"], **base} | first,
        {"run_id": "b/1", "same_as": ["a/1"], **base} | second,
    ]
    (merged,) = merge_twins(rows, ())
    assert merged.run_id == stands
    assert merged == merge_twins(rows[::-1], ())[0]


def test_a_run_of_a_published_split_stands_before_another_copy() -> None:
    rows = [
        {"run_id": i, "same_as": s, "run_hash": "0", "is_copy": True, "final_loss": 3.0}
        for i, s in (("a/1", ["b/1"]), ("b/1", None), ("c/1", ["b/1"]))
    ]
    assert merge_twins(rows, {"c/1"})[0].run_id == "c/1"
    assert merge_twins(rows, ())[0].dropped == ("a/1", "c/1")


RUNS = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.integers(0, 8),
        st.sampled_from([None, 10**7, 10**8, 10**9]),
        st.sampled_from([None, 10**9, 10**10]),
        st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 8)), max_size=2),
        st.sampled_from([None, 3.0]),
    ),
    max_size=40,
    unique_by=lambda r: (r[0], r[1]),
)


def test_a_submitted_row_stands_only_where_the_source_has_no_loss() -> None:
    """Anybody may submit a run and say that it is a published one."""
    own = {"run_hash": "h", "status": "finished", "is_copy": True, "same_as": None}
    published = own | {"run_id": "steplaw/1", "final_loss": 2.5}
    submitted = own | {"run_id": "evil/1", "final_loss": 0.5, "is_copy": False}
    submitted["same_as"] = ["steplaw/1"]
    (merged,) = merge_twins([published, submitted], (), {"evil"})
    assert (merged.run_id, merged.dropped) == ("steplaw/1", ("evil/1",))
    (merged,) = merge_twins([published | {"final_loss": None}, submitted], (), {"evil"})
    assert merged.run_id == "evil/1"


@given(RUNS, st.sampled_from(["group-hash", "compute", "source"]), st.integers(0, 5))
@settings(max_examples=150, deadline=None)
def test_no_policy_leaks_a_group_or_a_physical_run(
    runs: list[tuple[Any, ...]], policy: str, seed: int
) -> None:
    rows = [
        row(
            f"{source}/{i}",
            params_non_embedding=size,
            train_tokens=tokens,
            same_as=[f"{s}/{n}" for s, n in twins] or None,
            final_loss=loss,
        )
        for source, i, size, tokens, twins, loss in runs
    ]
    argument = {"group-hash": "", "compute": "1e18", "source": "a"}[policy]
    if policy == "source" and not any(r["source"] == "a" for r in rows):
        return
    found = POLICIES[policy](rows, argument, seed)
    check_leaks(found, rows)
    key = {a.run_id: a for a in found}
    assert len(key) == len(found)
    shuffled = POLICIES[policy](rows[::-1], argument, seed)
    assert {a.run_id: a for a in shuffled} == key
    if policy == "source":
        assert all(a.split == "ood" for i, a in key.items() if i.startswith("a/"))


def published(split: str) -> dict[str, Any]:
    """Return what a policy sees of one run of the published split."""
    names = ncpl_names("steplaw")
    name = next(name for name, part in names.items() if part == split)
    return row(f"steplaw/{split}", source_run=name, **SIZES[split])


SIZES = {
    "train": {"params_non_embedding": 60_000_000, "train_tokens": 2_000_000_000},
    "id": {"params_non_embedding": 200_000_000, "train_tokens": 20_000_000_000},
    "ood": {"params_non_embedding": 1_000_000_000, "train_tokens": 20_000_000_000},
}


@pytest.mark.parametrize(
    ("fields", "side"),
    [
        ({}, "train"),
        (SIZES["train"], "train"),
        (SIZES["id"], None),  # a group held out
        ({"params_non_embedding": 204_000_000, "train_tokens": 19_800_000_000}, None),  # the same
        (SIZES["id"] | {"optimizer": "muon"}, "train"),
        ({"params_non_embedding": 431_000_000}, None),  # above the limit of the published split
        ({"params_non_embedding": None}, None),
        ({"status": "diverged"}, None),
        ({"final_loss": None}, None),
        ({"same_as": ["steplaw/id"]}, None),
    ],
)
def test_an_open_split_takes_new_runs_into_train_and_nothing_of_what_is_held_out(
    fields: dict[str, Any], side: str | None
) -> None:
    rows = [published("train"), published("id"), published("ood"), row("new/1", **fields)]
    found = POLICIES["ncpl-open"](rows, "", None)
    check_leaks(found, rows)
    sides = {one.run_id: one.split for one in found}
    assert sides.pop("new/1", None) == side
    assert sides == {f"steplaw/{split}": split for split in ("train", "id", "ood")}


def test_a_hashed_split_holds_out_about_a_fifth_and_follows_its_seed() -> None:
    # far enough apart that no group joins another
    counts = [round(1e6 * 1.06**i) for i in range(2000 // 10)]
    rows = [
        row(f"a/{i}-{size}", params_non_embedding=size, train_tokens=tokens)
        for i, tokens in enumerate(counts)
        for size in (10**6 * 2**k for k in range(10))
    ]
    splits = [POLICIES["group-hash"](rows, "", seed) for seed in (0, 1)]
    shares = [np.mean([a.split == "id" for a in split]) for split in splits]
    assert all(0.17 < share < 0.23 for share in shares)
    assert splits[0] != splits[1]


def test_a_compute_split_trains_below_its_bound() -> None:
    rows = [row("a/small"), row("a/large", params_non_embedding=10**9)]
    found = {a.run_id: a.split for a in POLICIES["compute"](rows, "1e18", None)}
    assert found["a/large"] == "ood"
    assert found["a/small"] in {"train", "id"}


def test_diverged_runs_and_runs_without_a_loss_are_on_no_side() -> None:
    rows = [row("a/1", status="diverged"), row("a/2", final_loss=None), row("a/3", status=None)]
    assert [r["run_id"] for g in grouped(rows).values() for r in g] == ["a/3"]


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("best", 'no split policy "best"; known: ncpl, group-hash'),
        ("compute", "needs a bound in FLOP"),
        ("compute:-1", "needs a bound in FLOP"),
        ("source:nowhere", 'found "nowhere"; selected are: made'),
        ("group-hash:3", "takes no argument"),
        ("ncpl:3", "takes no argument"),
    ],
)
def test_a_wrong_policy_is_explained(catalog: Catalog, policy: str, message: str) -> None:
    put(catalog, made_run("a"))
    with pytest.raises(InputError, match=message):
        take_snapshot(catalog, policy=policy)


def with_twins(catalog: Catalog) -> None:
    """Put one physical run into two sources: the owner has no curve and no evaluation."""
    owner = made_run("x", source="owner", curves=(), evals=(Evaluation("arc", "accuracy", 0.3),))
    step = np.asarray([1, 2], np.int64)
    copy = made_run(
        "y",
        source="mirror",
        same_as=("owner/x",),
        is_copy=True,
        final_loss=9.0,
        curves=(Curve("train/loss", step, np.asarray([5.0, 4.0])),),
        evals=(Evaluation("arc", "accuracy", 0.9), Evaluation("piqa", "accuracy", 0.6)),
    )
    put(catalog, owner)
    put(catalog, copy, made_run("z", source="mirror"))


def test_one_physical_run_is_one_row_and_keeps_the_curve_of_its_twin(catalog: Catalog) -> None:
    with_twins(catalog)
    taken = take_snapshot(catalog, policy="group-hash")
    assert verify_snapshot(taken.path)["counts"]["twins_merged"] == 1
    runs = {r["run_id"]: r for r in pq.read_table(taken.path / "runs").to_pylist()}
    assert sorted(runs) == ["mirror/z", "owner/x"]
    assert runs["owner/x"]["final_loss"] != 9.0
    assert runs["owner/x"]["same_as"] == ["mirror/y"]
    curves = pq.read_table(taken.path / "curves").to_pylist()
    assert {c["run_id"]: c["source"] for c in curves} == {"owner/x": "mirror", "mirror/z": "mirror"}
    assert [c["value"] for c in curves if c["run_id"] == "owner/x"] == [5.0, 4.0]
    evals = pq.read_table(taken.path / "evals").to_pylist()
    assert sorted((e["run_id"], e["task"], e["value"]) for e in evals) == [
        ("mirror/z", "hellaswag", 0.25),
        ("owner/x", "arc", 0.3),
        ("owner/x", "piqa", 0.6),
    ]
    assert pq.read_table(taken.path / "splits.parquet")["run_id"].to_pylist() == sorted(runs)


def test_a_changed_twin_changes_the_id(catalog: Catalog) -> None:
    with_twins(catalog)
    first = take_snapshot(catalog, policy="group-hash")
    copy = made_run("y", source="mirror", same_as=("owner/x",), is_copy=True, final_loss=8.0)
    put(catalog, copy)
    assert take_snapshot(catalog, policy="group-hash").id != first.id


def test_twins_are_kept_on_request_and_alone_they_stand(catalog: Catalog) -> None:
    with_twins(catalog)
    both = take_snapshot(catalog, policy="group-hash", keep_twins=True)
    assert both.manifest["counts"]["runs"] == 3
    assert json.loads((both.path / "manifest.json").read_text())["selection"]["twins"] == "kept"
    alone = take_snapshot(catalog, where="source = 'mirror'", policy="group-hash")
    assert pq.read_table(alone.path / "runs")["run_id"].to_pylist() == ["mirror/y", "mirror/z"]


def test_a_leak_through_an_absent_twin_is_found() -> None:
    rows = [row("a/1", same_as=["c/1"]), row("b/1", same_as=["c/1"])]
    sides = [Assignment("a/1", "train", "g"), Assignment("b/1", "ood", "h")]
    with pytest.raises(Exception, match="the same physical run"):
        check_leaks(sides, rows)


def test_a_path_is_no_policy(catalog: Catalog, tmp_path: Path) -> None:
    put(catalog, made_run("a"))
    with pytest.raises(InputError):
        take_snapshot(catalog, policy=str(tmp_path))
