from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

from ncpl_data.catalog.query import connect
from ncpl_data.catalog.record import Run
from ncpl_data.catalog.store import Catalog
from ncpl_data.ingest.cli import main
from ncpl_data.ingest.sources.steplaw import SOURCE

UPSTREAM, SCALEBENCH = SOURCE.origins[:2]
Runner = Callable[..., Result]


@pytest.fixture(scope="module")
def shipped() -> dict[str, Run]:
    paths = SCALEBENCH.bundled_paths()
    assert paths is not None
    return {run.run_id: run for run in SCALEBENCH.read(paths) if isinstance(run, Run)}


def test_2277_runs_have_their_smoothed_curve(shipped: dict[str, Run]) -> None:
    curves = [run.curves[0] for run in shipped.values() if run.curves]
    assert len(curves) == 2277
    assert sum(len(curve.step) for curve in curves) == 258_645
    assert {curve.metric for curve in curves} == {"train/loss_smoothed"}


def test_a_curve_ends_one_step_before_the_step_count_near_the_smoothed_loss(
    shipped: dict[str, Run],
) -> None:
    for run in shipped.values():
        for curve in run.curves:
            assert run.train_steps is not None
            assert curve.step[-1] == run.train_steps - 1
            # Both are smoothed, not by the same window: .0003 apart in the middle run.
            assert curve.value[-1] == pytest.approx(run.final_loss, abs=0.005)


def test_tokens_of_a_curve_are_batch_times_sequence_times_step(shipped: dict[str, Run]) -> None:
    for run in shipped.values():
        for curve in run.curves:
            assert curve.tokens is not None
            assert run.batch_size_sequences is not None
            assert np.array_equal(curve.tokens, curve.step * run.batch_size_sequences * 2048)


def test_a_curve_says_whose_copy_it_is(shipped: dict[str, Run]) -> None:
    run = next(run for run in shipped.values() if run.curves)
    assert run.origins is not None
    assert "LossCast-Bench" in run.origins["curves"]["evidence"]
    bare = next(run for run in shipped.values() if not run.curves)
    assert bare.origins is not None
    assert "curves" not in bare.origins


def test_both_origins_carry_the_same_curves(shipped: dict[str, Run], fixtures: Path) -> None:
    paths = {f.name: f.bundled_path() or fixtures / "steplaw" / f.name for f in UPSTREAM.files}
    runs = [run for run in UPSTREAM.read(paths) if isinstance(run, Run) and run.curves]
    assert runs
    for run in runs:
        (ours,), (copy,) = run.curves, shipped[run.run_id].curves
        assert np.array_equal(ours.step, copy.step)
        assert np.array_equal(ours.value, copy.value)


def test_coverage_of_the_published_split(run_command: Runner, tmp_path: Path) -> None:
    args = ("ingest", "steplaw", "--offline", "--catalog", tmp_path / "c")
    assert run_command(main, *args).exit_code == 0
    con = connect(Catalog(tmp_path / "c"))
    rows = con.execute(
        "select split, count(final_loss), count(distinct c.run_id) from splits "
        "join runs using (run_id) left join (select distinct run_id from curves) c "
        "using (run_id) group by 1 order by 1"
    ).fetchall()
    assert rows == [("id", 370, 360), ("ood", 694, 434), ("train", 1517, 1483)]
