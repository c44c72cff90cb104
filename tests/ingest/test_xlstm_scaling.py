"""xLSTM scaling laws: the longest attempt stands, contexts are apart, schedules are text."""

from __future__ import annotations

from pathlib import Path

import pytest

from ncpl_data.catalog.record import Run, Skipped
from ncpl_data.ingest.sources.xlstm_scaling import SOURCE

FOLDER = Path(__file__).parents[1] / "fixtures" / "xlstm_scaling"


@pytest.fixture(scope="module")
def items() -> list[Run | Skipped]:
    """Return what the fixture's files give."""
    origin = SOURCE.origins[0]
    return list(origin.read({file.name: FOLDER / file.name for file in origin.files}))


@pytest.mark.parametrize(
    ("run_id", "field", "value"),
    [
        (
            "dclm_llama_1.4B_ctx16384_lr0.0008_steps2200_nb24_ed2048_hd128_gbs64",
            "source_run",
            "og29wvjb",
        ),
        (
            "dclm_llama_1.4B_ctx16384_lr0.0008_steps2200_nb24_ed2048_hd128_gbs64",
            "final_loss",
            3.2753186,
        ),
        (
            "dclm_llama_1.4B_ctx16384_lr0.0008_steps2200_nb24_ed2048_hd128_gbs64",
            "learning_rate",
            0.0008,
        ),
        (
            "dclm_llama_1.4B_ctx16384_lr0.0008_steps2200_nb24_ed2048_hd128_gbs64",
            "warmup_steps",
            750,
        ),
        (
            "dclm_llama_1.4B_ctx16384_lr0.0008_steps2200_nb24_ed2048_hd128_gbs64",
            "sequence_length",
            16384,
        ),
        (
            "dclm_llama_1.4B_ctx16384_lr0.0008_steps2200_nb24_ed2048_hd128_gbs64",
            "params_total",
            1420396544,
        ),
        (
            "dclm_llama_1.4B_ctx16384_lr0.0008_steps2200_nb24_ed2048_hd128_gbs64",
            "final_loss_metric",
            "validation/dclm_ctx16384",
        ),
        (
            "dclm_mLSTMv1_1.4B_ctx16384_lr0.002_steps2600_nb33_ed2048_nh8_pf2.667_gbs64",
            "architecture",
            "recurrent",
        ),
        (
            "dclm_mLSTMv1_1.4B_ctx16384_lr0.002_steps2600_nb33_ed2048_nh8_pf2.667_gbs64",
            "params_non_embedding",
            1670881808,
        ),
    ],
)
def test_values_are_those_of_the_file(
    items: list[Run | Skipped], run_id: str, field: str, value: object
) -> None:
    """Read by eye in the original."""
    (run,) = (i for i in items if isinstance(i, Run) and i.run_id == f"xlstm_scaling/{run_id}")
    assert getattr(run, field) == value


def test_an_attempt_without_a_loss_is_skipped(items: list[Run | Skipped]) -> None:
    """The run has one that ended."""
    (skipped,) = (item for item in items if isinstance(item, Skipped))
    assert skipped.reason == "no validation loss"
    assert skipped.payload == {"id": "v57ztygq"}
