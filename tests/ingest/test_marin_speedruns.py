"""Marin speedruns: bits per byte, vocabulary by arithmetic, warm-up in steps or a share."""

from __future__ import annotations

from pathlib import Path

import pytest

from ncpl_data.catalog.record import Run, Skipped
from ncpl_data.ingest.sources.marin_speedruns import SOURCE

FOLDER = Path(__file__).parents[1] / "fixtures" / "marin_speedruns"


@pytest.fixture(scope="module")
def items() -> list[Run | Skipped]:
    """Return what the fixture's files give."""
    origin = SOURCE.origins[0]
    return list(origin.read({file.name: FOLDER / file.name for file in origin.files}))


@pytest.mark.parametrize(
    ("run_id", "field", "value"),
    [
        ("adamc_llama_scaling/130m", "final_loss", 1.186086654663086),
        ("adamc_llama_scaling/130m", "final_loss_unit", "bits_per_byte"),
        ("adamc_llama_scaling/130m", "warmup_steps", 2000),
        ("adamc_llama_scaling/130m", "optimizer", "adamc"),
        ("adamc_llama_scaling/130m", "vocab_size", 128256),
        ("muon_llama_scaling/300m", "optimizer", "muon"),
        ("muon_llama_scaling/300m", "warmup_steps", 0),
        ("llama_30m", "schedule", None),
        ("llama_30m", "optimizer", None),
        ("moe_300m_activated", "vocab_size", None),
        ("moe_300m_activated", "params_active", None),
    ],
)
def test_values_are_those_of_the_file(
    items: list[Run | Skipped], run_id: str, field: str, value: object
) -> None:
    """Read by eye in the original."""
    (run,) = (i for i in items if isinstance(i, Run) and i.run_id == f"marin_speedruns/{run_id}")
    assert getattr(run, field) == value


def test_no_person_is_named(items: list[Run | Skipped]) -> None:
    """Authors and their buckets are left out."""
    for run in items:
        assert isinstance(run, Run)
        assert "author" not in str(run.raw_config)
        assert "gs://" not in str(run.extra)
