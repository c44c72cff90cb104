"""The OLMo ladder, against values read in the original exports by eye."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from ncpl_data.catalog.errors import RawFileError
from ncpl_data.catalog.record import Run
from ncpl_data.ingest.sources.olmo_ladder import SOURCE, read

FIXTURE = Path(__file__).parents[1] / "fixtures" / "olmo_ladder"


def fixture_contents() -> dict[str, bytes]:
    contents = {}
    for path in FIXTURE.rglob("*.zst"):
        with pa.input_stream(path, compression="zstd") as file:
            contents[path.relative_to(FIXTURE).as_posix().removesuffix(".zst")] = file.read()
    return contents


@pytest.fixture(scope="module")
def runs() -> dict[str, Run]:
    items = list(read(fixture_contents()))
    return {i.run_id.removeprefix("olmo_ladder/"): i for i in items if isinstance(i, Run)}


@pytest.fixture(scope="module")
def shipped() -> list[Run]:
    origin = SOURCE.origins[0]
    paths = origin.bundled_paths()
    assert paths is not None
    return [item for item in origin.read(paths) if isinstance(item, Run)]


@pytest.mark.parametrize(
    ("run", "field", "value"),
    [
        ("190M-1xC", "final_loss", 3.600973129272461),
        ("190M-1xC", "final_step", 7_272),
        ("190M-1xC", "train_steps", 7_272),
        ("190M-1xC", "train_tokens", 3_812_622_336),
        ("190M-1xC", "learning_rate", 0.000972728518721015),
        ("190M-1xC", "min_learning_rate", 9.72728518721015e-05),
        ("190M-1xC", "d_model", 768),
        ("190M-1xC", "status", "finished"),
        ("190M-1xC", "batch_size_sequences", None),
        ("190M-1xC", "params_total", 190_354_176 + 768 * 100_352),
        ("190M-1xC", "params_non_embedding", 190_354_176 - 768 * 100_352),
        ("peteish13", "params_total", 13_716_198_400),
        ("190M-1xC", "flags", ("superseded_by_rerun",)),
        ("peteish13", "learning_rate", None),
        ("peteish13", "flags", ("two_peak_rates",)),
        ("peteish13", "d_model", 5120),
    ],
)
def test_values_are_those_of_the_export(
    runs: dict[str, Run], run: str, field: str, value: object
) -> None:
    assert getattr(runs[run], field) == value


def test_logged_rates_lie_on_the_declared_warmup(shipped: list[Run]) -> None:
    """At step 200 of 363 the rate is 200/363 of the peak, to a step."""
    ramps = 0
    for run in shipped:
        rate = next((c for c in run.curves if c.metric == "train/learning_rate"), None)
        if rate is None or run.warmup_steps is None or rate.step[0] >= run.warmup_steps:
            continue
        ramps += 1
        assert run.learning_rate is not None
        assert float(rate.value[0]) / run.learning_rate == pytest.approx(
            int(rate.step[0]) / run.warmup_steps, abs=1 / run.warmup_steps
        )
    assert ramps >= 20


def test_task_scores_are_not_losses(runs: dict[str, Run]) -> None:
    run = runs["190M-1xC"]
    scores = {(e.task, e.kind): e for e in run.evals}
    assert scores["hellaswag_val_rc", "bpb"].value == 0.9800465703010559
    assert scores["hellaswag_val_rc", "len_norm"].value == 0.30521807074546814
    assert scores["hellaswag_val_rc", "bpb"].n_shots == 5
    assert all(m["unit"] in ("nats_per_token", "other") for m in run.metrics or ())


def test_eleven_validation_sets_stay_apart(runs: dict[str, Run]) -> None:
    curves = {c.metric: c for c in runs["190M-1xC"].curves}
    assert sum(metric.startswith("validation/") for metric in curves) == 11
    assert float(curves["validation/pile"].value[-1]) == 3.0059151649475098
    first = curves["validation/c4_en"]
    assert (int(first.step[0]), float(first.value[0])) == (200, 6.029934883117676)
    assert first.tokens is not None
    assert int(first.tokens[0]) == 104_857_600  # as throughput/total_tokens says


def test_shipped_copy_holds_33_runs_of_3947_points(shipped: list[Run]) -> None:
    assert len(shipped) == 33
    points = [c for run in shipped for c in run.curves if c.metric == "validation/c4_en"]
    assert sum(len(c.step) for c in points) == 3_947
    settings = {run.run_id.removesuffix("-rerun") for run in shipped if "xC" in run.run_id}
    assert len(settings) == 25


def test_a_broken_export_is_refused_with_its_name() -> None:
    contents = fixture_contents()
    name = "ladder-runs/190M-1xC.csv"
    with pytest.raises(RawFileError, match=r"190M-1xC\.csv: expected a CSV export"):
        list(read({name: contents[name].replace(b"6.029934883117676", b"six")}))
    with pytest.raises(RawFileError, match="expected a name like"):
        list(read({"ladder-runs/17M-1xC.csv": contents[name]}))
