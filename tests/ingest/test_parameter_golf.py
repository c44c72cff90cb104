"""Parameter Golf, against values read in the original logs by eye."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ncpl_data.catalog.errors import RawFileError
from ncpl_data.catalog.record import Run, Skipped
from ncpl_data.ingest.sources.parameter_golf import FILE, SOURCE, read

FIXTURE = Path(__file__).parents[1] / "fixtures" / "parameter_golf" / FILE
TRACK = "parameter_golf/track_10min_16mb/"
LORA = TRACK + "2026-03-17_LoRA_TTT/train_v0"
TWO = TRACK + "2026-03-19_MixedQuant_Int6Int8_SlidingWindow/train"
GATE = TRACK + "2026-04-16_SmearGate_AttentionOutputGate_ScoreFirstTTT/train_seed0"
BARE = TRACK + "2026-04-13_VarLenAttn_PhasingTTT2000/logs/train0"
XNOR = "2026-04-05_118M_XNOR-Net_FP8_1024D_10L/log_10mins_seed-1337"


@pytest.fixture(scope="module")
def runs() -> dict[str, Run]:
    return {run.run_id: run for run in read({FILE: FIXTURE}) if isinstance(run, Run)}


@pytest.mark.parametrize(
    ("run", "field", "value"),
    [
        (LORA, "final_loss", 1.2199),
        (LORA, "final_loss_unit", "bits_per_byte"),
        (LORA, "params_total", 17_059_912),
        (LORA, "learning_rate", 0.04),
        (LORA, "sequence_length", 1024),
        (LORA, "batch_size_sequences", 512),  # 524,288 / 1,024
        (LORA, "final_step", 13_764),
        (LORA, "train_tokens", 13_764 * 524_288),
        (LORA, "wall_time_seconds", 600.061),
        (LORA, "dataset", "fineweb10B_sp1024"),
        (LORA, "n_devices", 8),
        (LORA, "n_layers", None),
        (GATE, "final_loss", 1.072),
        (GATE, "adam_beta2", 0.95),
        (GATE, "grad_clip_norm", 0.3),
        (GATE, "dataset", None),  # only paths of the author's machine
        (BARE, "final_loss", 1.0728),
        (BARE, "learning_rate", None),
    ],
)
def test_values_are_those_of_the_log(
    runs: dict[str, Run], run: str, field: str, value: object
) -> None:
    assert getattr(runs[run], field) == value


def test_a_limit_of_steps_and_a_warm_up_of_the_compiler_are_no_schedule(
    runs: dict[str, Run],
) -> None:
    run = runs[LORA]
    assert run.raw_config is not None
    assert (run.raw_config["iterations"], run.raw_config["warmup_steps"]) == ("20000", "20")
    assert (run.train_steps, run.warmup_steps, run.schedule) == (None, None, None)


def test_losses_in_nats_and_in_bits_stay_apart(runs: dict[str, Run]) -> None:
    last = {m["name"]: (m["value"], m["unit"]) for m in runs[LORA].metrics or ()}
    assert last == {
        "validation/loss": (2.0598, "nats_per_token"),
        "validation/bpb": (1.2199, "bits_per_byte"),
        "train/loss": (2.0827, "nats_per_token"),
    }
    (bare,) = (run for name, run in runs.items() if name.endswith(XNOR))
    assert {m["name"]: m["unit"] for m in bare.metrics or ()}["loss"] == "other"


def test_scores_after_quantisation_are_not_the_loss(runs: dict[str, Run]) -> None:
    """The log closes with 1.2284 after quantisation and 1.1935 after test-time training."""
    assert runs[LORA].final_loss == 1.2199


def test_a_rate_of_zero_is_a_group_that_is_not_there(runs: dict[str, Run]) -> None:
    groups = runs[LORA].learning_rate_groups or ()
    assert {g["group"]: g["learning_rate"] for g in groups} == {
        "matrix": 0.04,
        "embedding": 0.05,
        "scalar": 0.04,
    }


def test_the_end_of_another_run_in_a_log_is_left_out(runs: dict[str, Run]) -> None:
    run = runs[TWO]
    assert run.flags == ("segments_joined",)
    (curve,) = (c for c in run.curves if c.metric == "validation/bpb")
    assert curve.step.tolist()[:2] == [0, 2000]
    assert (curve.step[-1], curve.value[-1]) == (12_395, 1.195)
    assert curve.tokens is not None
    # The log prints both configurations: 393,216 tokens a step for the first run.
    assert np.array_equal(curve.tokens, curve.step * 524_288)


def test_a_folder_with_spaces_is_an_id_without(runs: dict[str, Run]) -> None:
    (name,) = (name for name in runs if "STE" in name)
    assert name == TRACK + "2026-03-19_int6_STE_QAT__MLP_bigram__U_Net/train"


def test_shipped_copy_holds_161_records() -> None:
    origin = SOURCE.origins[0]
    found = list(origin.read(origin.bundled_paths() or {}))
    assert len(found) == 161
    assert not any(isinstance(item, Skipped) for item in found)
    assert all(run.final_loss is not None and 1.0 < run.final_loss < 1.8 for run in found)  # type: ignore[union-attr]
    assert sum(len(c.step) for run in found for c in run.curves) > 12_000  # type: ignore[union-attr]


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / FILE
    path.write_bytes(FIXTURE.read_bytes()[:500])
    with pytest.raises(RawFileError, match="not compressed JSON lines"):
        list(read({FILE: path}))
    with pa.output_stream(path, compression="zstd") as file:
        file.write(b'{"path": "a.log", "blob": "b", "config_lines": [], "step_lines": ["x"]}\n')
    with pytest.raises(RawFileError, match='line 1: ValueError "x" is no step line'):
        list(read({FILE: path}))
