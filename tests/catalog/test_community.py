"""The community split: the published one exact, other families in three parts, no leak."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ncpl_data.catalog.errors import InputError
from ncpl_data.catalog.families import family_of
from ncpl_data.catalog.snapshots.take import take_snapshot
from ncpl_data.catalog.splits import assign_splits, columns_of
from ncpl_data.catalog.store import Catalog
from ncpl_data.ingest.pipeline import ingest
from ncpl_data.ingest.sources import SOURCES
from ncpl_data.ingest.submissions.documents import read_documents
from ncpl_data.ingest.submissions.submit import submit

FAMILY: dict[str, Any] = {
    "stage": "pretrain", "modality": "text", "status": "finished", "optimizer": "adamw",
    "final_loss_metric": "val", "final_loss_unit": "nats_per_token", "dataset": "c4",
}  # fmt: skip


def table(rows: list[dict[str, Any]]) -> pa.Table:
    """Return runs as a table with the columns of the policy."""
    names = columns_of("community")
    return pa.Table.from_pylist([{name: row.get(name) for name in names} for row in rows])


def lab(n_sizes: int, n_budgets: int, **values: Any) -> list[dict[str, Any]]:
    """Return one run a size and budget, with two seeds each."""
    return [
        FAMILY
        | {
            "run_id": f"lab/{size}-{budget}-{seed}", "source": "lab", "seed": seed,
            "params_non_embedding": 10**7 * 2**size, "train_tokens": 10**9 * 2**budget,
            "final_loss": 3.0,
        }
        | values
        for size in range(n_sizes) for budget in range(n_budgets) for seed in (0, 1)
    ]  # fmt: skip


def sides_of(rows: list[dict[str, Any]]) -> dict[str, str]:
    """Return the side of each run."""
    found = assign_splits(table(rows), "community").to_pylist()
    return {row["run_id"]: row["split"] for row in found}


def test_the_largest_compute_is_held_out_in_whole_groups() -> None:
    """A fifth of the runs, both seeds of each, and none of less compute."""
    rows = lab(5, 4)
    sides = sides_of(rows)
    compute = {r["run_id"]: r["params_non_embedding"] * r["train_tokens"] for r in rows}
    ood = [compute[i] for i, side in sides.items() if side == "ood"]
    rest = [compute[i] for i, side in sides.items() if side != "ood"]
    assert 0.15 <= len(ood) / len(rows) <= 0.25
    assert min(ood) >= max(rest)
    assert {i.rsplit("-", 1)[0] for i, s in sides.items() if s == "id"}
    for group in {i.rsplit("-", 1)[0] for i in sides}:
        assert sides[f"{group}-0"] == sides[f"{group}-1"]


def test_near_copies_are_on_one_side() -> None:
    """Budgets that rounded apart by less than a hundredth are one."""
    rows = lab(5, 4)
    copies = [
        r | {"run_id": r["run_id"] + "x", "train_tokens": round(r["train_tokens"] * 1.004)}
        for r in rows
    ]
    sides = sides_of(rows + copies)
    assert all(sides[r["run_id"]] == sides[r["run_id"] + "x"] for r in rows)


def test_a_group_that_is_most_of_its_family_is_never_drawn_for_id() -> None:
    """Whatever the draw, most of a family is left to learn from."""
    one = [r | {"run_id": f"lab/copy-{n}"} for n in range(60) for r in lab(5, 4)[:1]]
    for seed in range(5):
        found = assign_splits(table([*lab(5, 4), *one]), "community", seed).to_pylist()
        sides = {row["run_id"]: row["split"] for row in found}
        assert sides["lab/copy-0"] == "train"


def test_a_branch_goes_with_its_parent() -> None:
    """Whatever its size and budget."""
    rows = lab(5, 4)
    branch = rows[-1] | {"run_id": "lab/b", "parent_run_id": rows[0]["run_id"]}
    sides = sides_of([*rows, branch])
    assert sides["lab/b"] == sides[rows[0]["run_id"]]


def test_a_small_family_is_trained_on_whole() -> None:
    """Fewer than ten usable runs give no held-out part."""
    assert set(sides_of(lab(2, 2)).values()) == {"train"}


def test_a_run_nobody_can_learn_from_is_on_no_side() -> None:
    """Without a size, tokens or an end there is nothing to learn."""
    odd = FAMILY | {"run_id": "lab/odd", "source": "lab", "final_loss": 3.0}
    assert "lab/odd" not in sides_of([*lab(5, 4), odd])


def test_the_split_takes_no_argument() -> None:
    """Its draw varies with the seed."""
    with pytest.raises(InputError, match="takes no argument"):
        assign_splits(table(lab(5, 4)), "community:0.1")


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    """The runs of some shipped sources, the published split's among them."""
    catalog = Catalog(Path(tmp_path_factory.mktemp("catalog")))
    for name in ("steplaw", "marin", "overtraining"):
        ingest(SOURCES[name], catalog, offline=True)
    return catalog.read("runs", columns_of("community"))


def test_the_published_split_is_kept_exact(shipped: pa.Table) -> None:
    """Every run that `ncpl` names is on the side it gives; what is added there is train."""
    published = {r["run_id"]: r["split"] for r in assign_splits(shipped, "ncpl").to_pylist()}
    sides = {r["run_id"]: r["split"] for r in assign_splits(shipped, "community").to_pylist()}
    assert {run_id: sides.get(run_id) for run_id in published} == published
    rows = shipped.to_pylist()
    families = {row["run_id"]: family_of(row) for row in rows}
    named = {families[run_id] for run_id in published}
    added = [i for i in sides if i not in published and families[i] in named]
    assert Counter(sides[i] for i in added).keys() <= {"train"}
    others = {str(families[i]) for i in sides if families[i] not in named}
    assert len(others) == 3


def test_a_submitted_run_is_completed_in_a_snapshot(tmp_path: Path) -> None:
    """Its document stays as it was given; the snapshot has its size, tokens and family."""
    document = {
        "schema_version": "1.0", "run_id": "lab/a", "source": "lab",
        "model": {
            "n_layers": 32, "d_model": 512, "d_ff": 2048, "n_heads": 8, "n_kv_heads": 8,
            "activation": "swiglu",
        },
        "schedule": {"batch_size_sequences": 128, "sequence_length": 4096, "train_steps": 5120},
        "outcome": {
            "status": "finished", "final_loss": 3.5, "final_loss_metric": "validation/loss",
            "final_loss_unit": "nats_per_token",
        },
    }  # fmt: skip
    path = tmp_path / "runs.jsonl"
    path.write_text(json.dumps(document))
    catalog = Catalog(tmp_path / "catalog")
    done = submit(read_documents([path]), catalog)
    assert done.added == ["lab/a"]
    (stored,) = catalog.read("runs").to_pylist()
    assert stored["params_non_embedding"] is None
    taken = take_snapshot(catalog, policy="community")
    (frozen,) = pq.read_table(taken.path / "runs").to_pylist()
    assert frozen["params_non_embedding"] == 134_217_728
    assert frozen["train_tokens"] == 2_684_354_560
    assert frozen["loss_family"] == "lab|validation/loss|?|?|nats_per_token"
    assert json.loads(frozen["origins"])["train_tokens"]["kind"] == "derived"
