"""Takano's example: sizes, tokens and losses, and nothing more."""

from __future__ import annotations

from pathlib import Path

import pytest

from ncpl_data.catalog.record import Run, Skipped
from ncpl_data.ingest.sources.kyo_takano import SOURCE

FOLDER = Path(__file__).parents[1] / "fixtures" / "kyo_takano"


@pytest.fixture(scope="module")
def items() -> list[Run | Skipped]:
    """Return what the fixture's files give."""
    origin = SOURCE.origins[0]
    return list(origin.read({file.name: FOLDER / file.name for file in origin.files}))


@pytest.mark.parametrize(
    ("run_id", "field", "value"),
    [
        ("row_000", "params_total", 73824672),
        ("row_000", "nominal_train_tokens", 3154403320),
        ("row_000", "final_loss", 3.405928),
        ("row_001", "final_loss", 2.077394),
        ("row_000", "params_non_embedding", None),
        ("row_000", "learning_rate", None),
    ],
)
def test_values_are_those_of_the_file(
    items: list[Run | Skipped], run_id: str, field: str, value: object
) -> None:
    """Read by eye in the original."""
    (run,) = (i for i in items if isinstance(i, Run) and i.run_id == f"kyo_takano/{run_id}")
    assert getattr(run, field) == value
