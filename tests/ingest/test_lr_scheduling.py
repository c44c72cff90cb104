"""The learning-rate schedule logs, against values read in the original JSON by eye."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ncpl_data.catalog.curate import curate
from ncpl_data.catalog.curve import Curve
from ncpl_data.catalog.errors import RawFileError
from ncpl_data.catalog.record import Run
from ncpl_data.ingest.sources import lr_scheduling as source
from ncpl_data.ingest.studies import lr_scheduling_logs as logs

FIXTURE = Path(__file__).parents[1] / "fixtures" / "lr_scheduling" / "runs.jsonl.zst"
TAIL = "_bs50x2_ws2_seed0_data_seed1337"
PARENT = f"openwebtext2_llama_norm_nlayers10_nhead8_lr0.001_sched_wsd_warmup300_iter17500{TAIL}"
CHILD = (
    f"ann0.2_openwebtext2_llama_norm_nlayers10_nhead8_lr0.001_sched_wsd_warmup300_iter12500{TAIL}"
)
COSINE = f"openwebtext2_llama_norm_nlayers12_nhead14_lr0.001_sched_cos_warmup300_iter15000{TAIL}"


@pytest.fixture(scope="module")
def runs() -> dict[str, Run]:
    items = list(source.read_jsonl({"runs.jsonl.zst": FIXTURE}))
    return {
        item.run_id.removeprefix("lr_scheduling/"): item for item in items if isinstance(item, Run)
    }


@pytest.fixture(scope="module")
def shipped() -> dict[str, Run]:
    origin = source.SOURCE.origins[0]
    paths = origin.bundled_paths()
    assert paths is not None
    return {item.run_id: item for item in origin.read(paths) if isinstance(item, Run)}


def curve(run: Run, metric: str) -> Curve:
    return next(c for c in run.curves if c.metric == metric)


@pytest.mark.parametrize(
    ("run", "field", "value"),
    [
        (CHILD, "final_loss", 3.300356864929199),
        (CHILD, "learning_rate", 0.001),
        (CHILD, "schedule", "wsd"),
        (CHILD, "decay_steps", 2_500),
        (CHILD, "min_learning_rate", 0.0),
        (CHILD, "train_steps", 12_500),
        (CHILD, "batch_size_sequences", 200),
        (CHILD, "train_tokens", 12_500 * 200 * 512),
        (CHILD, "params_total", 59_845_120),
        (CHILD, "params_non_embedding", 59_845_120 - 50_304 * 512),
        (CHILD, "d_ff", 1_536),
        (CHILD, "weight_decay", 0.1),
        (CHILD, "dataset", "openwebtext2"),
        (PARENT, "schedule", "constant"),
        (PARENT, "min_learning_rate", 0.001),
        (COSINE, "final_loss", 3.0977706909179688),
        (COSINE, "min_learning_rate", 0.0001),
        (COSINE, "status", "finished"),
    ],
)
def test_values_are_those_of_the_file(
    runs: dict[str, Run], run: str, field: str, value: object
) -> None:
    assert getattr(runs[run], field) == value


def test_resumed_run_is_joined_to_its_parent(runs: dict[str, Run]) -> None:
    """It logs its tail only: the first step is 50 after the parent's checkpoint."""
    child = runs[CHILD]
    assert child.parent_run_id == runs[PARENT].run_id
    assert child.branch_step == 10_000
    assert int(curve(child, "train/loss").step[0]) == 10_050


def test_restarted_segments_become_one_history(runs: dict[str, Run]) -> None:
    """The log holds 3050..15000, 3050..3950, 2050..3800, 50..3800: in this order, overlapping."""
    run = runs[COSINE]
    train = curve(run, "train/loss")
    assert np.array_equal(train.step, np.arange(50, 15_001, 50))
    assert run.flags == ("segments_joined",)
    at = dict(zip(train.step.tolist(), train.value.tolist(), strict=True))
    assert at[3_050] == 3.5687077045440674  # the first line of the log, which reached the end
    assert at[2_050] == 3.6556029319763184
    assert at[50] == 7.981856346130371


def test_tokens_are_batch_x_accumulation_x_devices_x_sequence(runs: dict[str, Run]) -> None:
    train = curve(runs[CHILD], "train/loss")
    assert train.tokens is not None
    assert np.array_equal(train.tokens, train.step * 50 * 2 * 2 * 512)


def test_the_three_validation_losses_stay_apart(runs: dict[str, Run]) -> None:
    metrics = {m["name"]: m for m in runs[CHILD].metrics or ()}
    assert metrics["validation/final_loss"]["value"] == 3.300356864929199
    assert metrics["validation/loss"]["value"] != metrics["validation/final_loss"]["value"]
    assert metrics["train/loss"]["split"] == "train"


def test_shipped_table_gives_the_same_runs(runs: dict[str, Run], tmp_path: Path) -> None:
    text = pa.input_stream(FIXTURE, compression="zstd").read()
    path = tmp_path / "lr_scheduling.parquet"
    logs.write_compact([json.loads(line) for line in text.splitlines()], path)
    again = [r for r in source.read_shipped({path.name: path}) if isinstance(r, Run)]
    assert [r.content_hash() for r in again] == [r.content_hash() for r in runs.values()]


def test_shipped_table_holds_235_runs_with_both_curves(shipped: dict[str, Run]) -> None:
    assert len(shipped) == 235
    for run in shipped.values():
        metrics = {c.metric for c in run.curves}
        assert {"train/loss", "train/learning_rate", "validation/loss"} <= metrics
    resumed = [run for run in shipped.values() if run.parent_run_id]
    assert len(resumed) == 145
    assert all(run.parent_run_id in shipped for run in resumed)
    points = sum(len(curve(run, "train/loss").step) for run in shipped.values())
    assert points == 134_202  # of 134,685 logged; the rest repeats a step


def test_logs_that_hold_the_tail_only_are_flagged_as_resumed(shipped: dict[str, Run]) -> None:
    """145 runs continue another; 36 of them from its step 0, so their own log is whole."""
    branches = [run for run in shipped.values() if run.parent_run_id is not None]
    resumed = [run for run in branches if "resumed" in (curate(run).flags or ())]
    assert (len(branches), len(resumed)) == (145, 109)
    assert sum(run.branch_step == 0 for run in branches) == 36
    assert all((run.branch_step or 0) > 0 for run in resumed)
    flagged = Counter(f for run in shipped.values() for f in curate(run).flags or ())
    assert flagged == {"resumed": 109, "segments_joined": 57, "diverged": 1}


def test_the_run_that_rose_again_is_a_diverged_one(shipped: dict[str, Run]) -> None:
    diverged = [run for run in shipped.values() if run.status == "diverged"]
    assert [(run.learning_rate, run.final_loss) for run in diverged] == [(0.005, 7.585032939910889)]
    assert all(run.status == "finished" for run in shipped.values() if run not in diverged)


def test_a_damaged_log_is_refused_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl.zst"
    path.write_bytes(FIXTURE.read_bytes()[:5_000])
    with pytest.raises(RawFileError, match=r"runs\.jsonl\.zst"):
        list(source.read_jsonl({path.name: path}))
