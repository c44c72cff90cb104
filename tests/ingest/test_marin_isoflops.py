"""Marin isoFLOP tables: the shape by arithmetic, a rate under two names."""

from __future__ import annotations

from pathlib import Path

import pytest

from ncpl_data.catalog.record import Run, Skipped
from ncpl_data.ingest.sources.marin_isoflops import SOURCE

FOLDER = Path(__file__).parents[1] / "fixtures" / "marin_isoflops"


@pytest.fixture(scope="module")
def items() -> list[Run | Skipped]:
    """Return what the fixture's files give."""
    origin = SOURCE.origins[0]
    return list(origin.read({file.name: FOLDER / file.name for file in origin.files}))


@pytest.mark.parametrize(
    ("run_id", "field", "value"),
    [
        (
            "comma_exp2166-scaling-ladder-comma-validation-optimal-3e+19-5b04fb",
            "params_non_embedding",
            340825088,
        ),
        (
            "comma_exp2166-scaling-ladder-comma-validation-optimal-3e+19-5b04fb",
            "sequence_length",
            4096,
        ),
        (
            "comma_exp2166-scaling-ladder-comma-validation-optimal-3e+19-5b04fb",
            "learning_rate",
            0.0014584077361972543,
        ),
        ("dclm_isoflop-6e+19-d2304-L23-B64-dclm-default", "final_loss", 3.0450022220611572),
        ("dclm_isoflop-6e+19-d2304-L23-B64-dclm-default", "d_ff", 9216),
        (
            "nemotron_exp2166-scaling-ladder-nemotron-validation-optimal-6e+18-30cde8",
            "learning_rate",
            0.33 * 4 / 1024,
        ),
        ("dclm_isoflop-6e+19-d2304-L23-B64-dclm-default", "warmup_steps", 4_261),
        ("dclm_isoflop-6e+19-d2304-L23-B64-dclm-default", "decay_steps", 8_522),
        (
            "nemotron_exp2166-scaling-ladder-nemotron-validation-optimal-6e+18-30cde8",
            "dataset",
            "nemotron",
        ),
    ],
)
def test_values_are_those_of_the_file(
    items: list[Run | Skipped], run_id: str, field: str, value: object
) -> None:
    """Read by eye in the original."""
    (run,) = (i for i in items if isinstance(i, Run) and i.run_id == f"marin_isoflops/{run_id}")
    assert getattr(run, field) == value
