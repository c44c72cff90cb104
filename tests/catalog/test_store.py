from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ncpl_data.catalog.curve import Curve
from ncpl_data.catalog.errors import InputError, IntegrityError
from ncpl_data.catalog.history import read_manifest, versions
from ncpl_data.catalog.outcome import Outcome
from ncpl_data.catalog.record import Evaluation, Run, Skipped
from ncpl_data.catalog.store import Catalog


def make_run(name: str, loss: float = 3.0, *, is_copy: bool = False, points: int = 3) -> Run:
    """Return a generated run."""
    steps = np.arange(1, points + 1, dtype=np.int64)
    return Run(
        run_id=f"made/{name}",
        source="made",
        learning_rate=1e-3,
        final_loss=loss,
        final_loss_metric="train/loss",
        final_loss_unit="nats_per_token",
        metrics=({"name": "train/loss", "unit": "nats_per_token", "value": loss},),
        origins={"learning_rate": "logged", "final_loss": {"kind": "derived", "rule": "x"}},
        is_copy=is_copy,
        curves=(Curve("train/loss", steps, loss + 1.0 / steps, tokens=steps * 1000),),
        evals=(Evaluation("hellaswag", "accuracy", 0.5, step=points),),
    )


def put(catalog: Catalog, *runs: Run, **options: object) -> Outcome:
    """Upsert generated runs."""
    return catalog.upsert(runs, source="made", operation="test", origin="made", **options)  # type: ignore[arg-type]


def read_run(catalog: Catalog, run_id: str) -> Run:
    """Return a run as the catalog holds it."""
    (row,) = (r for r in catalog.read("runs").to_pylist() if r["run_id"] == run_id)
    points = [r for r in catalog.read("curves").to_pylist() if r["run_id"] == run_id]
    evals = [r for r in catalog.read("evals").to_pylist() if r["run_id"] == run_id]
    curve = Curve(
        points[0]["metric"],
        np.asarray([p["step"] for p in points], np.int64),
        np.asarray([p["value"] for p in points]),
        tokens=np.asarray([p["tokens"] for p in points], np.int64),
    )
    names = ("task", "kind", "value", "step", "n_shots", "stderr")
    return Run.from_row(row, [curve], [Evaluation(**{n: e[n] for n in names}) for e in evals])


def test_a_run_survives_the_catalog_unchanged(catalog: Catalog) -> None:
    run = make_run("a")
    put(catalog, run, make_run("b", 2.5))
    again = read_run(catalog, "made/a")
    assert again.to_document() == run.to_document()
    assert again.content_hash() == run.content_hash()


def test_a_second_upsert_adds_nothing_and_writes_nothing(
    catalog: Catalog, files_of: Callable[[Path], dict[str, bytes]]
) -> None:
    assert put(catalog, make_run("a"), make_run("b")).as_dict()["added"] == 2
    before = files_of(catalog.root)
    again = put(catalog, make_run("b"), make_run("a"))
    assert (len(again.added), len(again.updated), again.unchanged) == (0, 0, 2)
    assert files_of(catalog.root) == before


def test_a_changed_run_replaces_its_rows_and_leaves_the_others(catalog: Catalog) -> None:
    put(catalog, make_run("a"), make_run("b"))
    outcome = put(catalog, make_run("a", 2.0, points=5))
    assert outcome.updated == ("made/a",)
    assert catalog.read("runs").num_rows == 2
    assert catalog.read("curves").num_rows == 5 + 3
    assert read_run(catalog, "made/a").final_loss == 2.0
    assert read_run(catalog, "made/b").final_loss == 3.0


def test_a_copy_never_replaces_the_owners_record(catalog: Catalog) -> None:
    put(catalog, make_run("a", 2.0, is_copy=True))
    assert put(catalog, make_run("a", 2.1)).updated == ("made/a",)
    assert put(catalog, make_run("a", 2.0, is_copy=True)).unchanged == 1
    assert read_run(catalog, "made/a").final_loss == 2.1


def test_refused_records_are_kept_with_their_reason(catalog: Catalog) -> None:
    skipped = [Skipped("made/x", "crashed", {"loss": "nan"}, "the log ends at step 3")]
    outcome = put(catalog, make_run("a"), skipped=skipped)
    assert outcome.rejected == {"crashed": 1}
    (row,) = catalog.read("rejects").to_pylist()
    assert (row["ref"], row["reason"], row["payload"]) == ("made/x", "crashed", '{"loss":"nan"}')
    assert put(catalog, make_run("a"), skipped=skipped).version is None


def test_a_refused_record_may_hold_numbers_that_are_not_finite(catalog: Catalog) -> None:
    payload = {"loss": [float("nan"), {"rate": float("-inf")}], "step": 3}
    put(catalog, skipped=[Skipped("made/x", "schema", payload)])
    (row,) = catalog.read("rejects").to_pylist()
    assert row["payload"] == '{"loss":["nan",{"rate":"-inf"}],"step":3}'


def test_a_dry_run_writes_nothing(catalog: Catalog) -> None:
    assert len(put(catalog, make_run("a"), dry_run=True).added) == 1
    assert not catalog.root.exists()


def test_an_older_state_stays_readable(catalog: Catalog) -> None:
    put(catalog, make_run("a"))
    put(catalog, make_run("a", 2.0), make_run("b"))
    assert versions(catalog.folder) == [1, 2]
    assert Catalog(catalog.root, version=1).read("runs")["final_loss"].to_pylist() == [3.0]
    with pytest.raises(InputError, match="no manifest 7; it has 1 to 2"):
        read_manifest(catalog.folder, 7)


def test_a_missing_file_is_named(catalog: Catalog) -> None:
    put(catalog, make_run("a"))
    catalog.paths("runs")[0].unlink()
    with pytest.raises(IntegrityError, match="is missing, although a manifest lists it"):
        catalog.read("runs")


@pytest.mark.parametrize(
    ("step", "value", "message"),
    [
        ([1, 1], [3.0, 2.0], "steps must increase"),
        ([1, 2], [3.0, float("nan")], "at step 2 is not finite"),
        ([1, 2], [3.0], "2 steps and 1 values"),
        ([], [], "at least one"),
    ],
)
def test_points_that_break_the_laws_of_a_curve_are_refused(
    step: list[int], value: list[float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Curve("m", np.asarray(step, np.int64), np.asarray(value))


WRITER = """
import sys
from pathlib import Path
from ncpl_data.catalog.record import Run
from ncpl_data.catalog.store import Catalog
root, writer = Path(sys.argv[1]), sys.argv[2]
for i in range(5):
    run = Run(run_id=f"made/{writer}-{i}", source="made", final_loss=3.0)
    Catalog(root).upsert([run], source="made", operation="test", origin="made")
"""


def test_four_processes_lose_and_double_nothing(catalog: Catalog) -> None:
    command = [sys.executable, "-c", WRITER, str(catalog.root)]
    writers = [subprocess.Popen([*command, str(w)]) for w in range(4)]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0, 0, 0]
    expected = sorted(f"made/{w}-{i}" for w in range(4) for i in range(5))
    assert sorted(catalog.read("runs")["run_id"].to_pylist()) == expected
    assert versions(catalog.folder) == list(range(1, 21))
