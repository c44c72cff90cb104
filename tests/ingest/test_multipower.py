"""The multi-power law's curves, against values read in the original files by eye."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ncpl_data.catalog.errors import RawFileError
from ncpl_data.catalog.record import Run
from ncpl_data.ingest.sources.multipower import SOURCE, read

FIXTURE = Path(__file__).parents[1] / "fixtures" / "multipower"


def fixture_contents() -> dict[str, bytes]:
    return {
        path.relative_to(FIXTURE).as_posix(): path.read_bytes() for path in FIXTURE.rglob("*.csv")
    }


@pytest.fixture(scope="module")
def runs() -> dict[str, Run]:
    items = list(read(fixture_contents()))
    return {
        item.run_id.removeprefix("multipower/"): item for item in items if isinstance(item, Run)
    }


def shipped() -> list[Run]:
    origin = SOURCE.origins[0]
    paths = origin.bundled_paths()
    assert paths is not None
    return [item for item in origin.read(paths) if isinstance(item, Run)]


@pytest.mark.parametrize(
    ("run", "field", "value"),
    [
        ("25M_cosine_24000", "final_loss", 3.3044),
        ("25M_cosine_24000", "final_step", 23_920),
        ("25M_cosine_24000", "train_steps", 24_000),
        ("25M_cosine_24000", "learning_rate", 0.0003),
        ("25M_cosine_24000", "status", "finished"),
        ("25M_constant_72000", "final_loss", 3.2573),
        ("25M_constant_72000", "schedule", "constant"),
        ("25M_constant_72000", "min_learning_rate", 0.0003),
        ("25M_wsd_20000_24000", "decay_steps", 4_000),
        ("25M_wsd_20000_24000", "branch_step", 20_000),
        ("25M_wsdcon_9", "final_loss", 3.3901),
        ("25M_wsdcon_9", "min_learning_rate", 9e-5),
        ("25M_wsdcon_9", "branch_step", 8_000),
    ],
)
def test_values_are_those_of_the_file(
    runs: dict[str, Run], run: str, field: str, value: object
) -> None:
    assert getattr(runs[run], field) == value


def test_each_curve_has_its_learning_rates(runs: dict[str, Run]) -> None:
    """Line 2 of wsd_20000_24000.csv is 2176,0.0003,4.0723; line 142 begins the decay."""
    loss, rate = runs["25M_wsd_20000_24000"].curves
    assert (loss.metric, rate.metric) == ("loss", "learning_rate")
    assert (int(loss.step[0]), float(loss.value[0]), float(rate.value[0])) == (2176, 4.0723, 0.0003)
    assert np.array_equal(loss.step, rate.step)
    assert float(rate.value[loss.step == 20_064][0]) == 0.0002891487070871911


def test_the_log_starts_after_warmup_and_warmup_is_not_invented(runs: dict[str, Run]) -> None:
    assert all(run.warmup_steps is None for run in runs.values())
    assert min(int(run.curves[0].step[0]) for run in runs.values()) == 2_160


def test_wsd_runs_are_branches_of_the_constant_run(runs: dict[str, Run]) -> None:
    parent = runs["25M_constant_72000"]
    for name in ("25M_wsd_20000_24000", "25M_wsdcon_9"):
        run = runs[name]
        assert run.parent_run_id == parent.run_id
        assert run.branch_step is not None
        before = run.curves[0].step < run.branch_step
        n = int(before.sum())
        assert np.array_equal(run.curves[0].value[before], parent.curves[0].value[:n])


def test_wsdcon_names_a_rate_not_a_length(runs: dict[str, Run]) -> None:
    run = runs["25M_wsdcon_9"]
    assert run.train_steps is None
    assert run.status is None
    assert run.final_step == 14_144


def test_the_metric_is_neither_called_train_nor_validation(runs: dict[str, Run]) -> None:
    for run in runs.values():
        assert run.final_loss_metric == "loss"
        assert run.metrics is not None
        assert all(metric.get("split") is None for metric in run.metrics)


def test_shipped_copy_holds_27_curves_of_6265_points() -> None:
    found = shipped()
    assert len(found) == 27
    assert sum(len(run.curves[0].step) for run in found) == 6_265
    branches = [run for run in found if run.schedule in ("wsd", "piecewise")]
    assert len(branches) == 15
    assert all(run.parent_run_id for run in branches)
    early = [run.run_id for run in branches if run.branch_step == 16_000]
    assert early == ["multipower/400M_wsd_20000_24000", "multipower/400M_wsdld_20000_24000"]


def test_a_cut_file_is_refused_with_its_name() -> None:
    contents = fixture_contents()
    name = "loss_curve_repo/csv_25/cosine_24000.csv"
    contents[name] = contents[name].replace(b"\n2288,", b"\n100,", 1)
    with pytest.raises(RawFileError, match=r"cosine_24000\.csv.*steps must increase"):
        list(read(contents))
