"""Takano's example: Chinchilla's points again, sizes by Chinchilla's table."""

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
        ("row_000", "params_non_embedding", 13 * 10 * 640**2),
        ("row_000", "learning_rate", None),
    ],
)
def test_values_are_those_of_the_file(
    items: list[Run | Skipped], run_id: str, field: str, value: object
) -> None:
    """Read by eye in the original."""
    (run,) = (i for i in items if isinstance(i, Run) and i.run_id == f"kyo_takano/{run_id}")
    assert getattr(run, field) == value


def test_each_row_is_a_point_of_chinchilla() -> None:
    """Size, tokens and loss of row 0 are those of data row 47 of Epoch's table, rounded."""
    origin = SOURCE.origins[0]
    runs = [run for run in origin.read(origin.bundled_paths() or {}) if isinstance(run, Run)]
    links = [run.same_as[0] for run in runs if run.same_as]
    assert links[0] == "chinchilla/point_047"
    assert len(set(links)) == len(runs) == 234
