"""(Mis)fitting: sizes of both kinds, batches from tokens and steps."""

from __future__ import annotations

from pathlib import Path

import pytest

from ncpl_data.catalog.record import Run, Skipped
from ncpl_data.ingest.sources.misfitting import SOURCE

FOLDER = Path(__file__).parents[1] / "fixtures" / "misfitting"


@pytest.fixture(scope="module")
def items() -> list[Run | Skipped]:
    """Return what the fixture's files give."""
    origin = SOURCE.origins[0]
    return list(origin.read({file.name: FOLDER / file.name for file in origin.files}))


@pytest.mark.parametrize(
    ("run_id", "field", "value"),
    [
        ("35m_16000_lr0.002_2", "params_non_embedding", 35842752),
        ("35m_16000_lr0.002_2", "params_total", 93940416),
        ("35m_16000_lr0.002_2", "batch_size_sequences", 512),
        ("35m_16000_lr0.002_2", "d_model", 576),
        ("35m_16000_lr0.002_2", "final_loss", 3.287519883364439),
        ("12m_200_lr0.002_3", "train_steps", 200),
        ("12m_200_lr0.002_3", "status", "finished"),
    ],
)
def test_values_are_those_of_the_file(
    items: list[Run | Skipped], run_id: str, field: str, value: object
) -> None:
    """Read by eye in the original."""
    (run,) = (i for i in items if isinstance(i, Run) and i.run_id == f"misfitting/{run_id}")
    assert getattr(run, field) == value


def test_both_tables_are_counted_in_the_total(items: list[Run | Skipped]) -> None:
    """N - N_no_emb is 2 x 50,432 x width."""
    for run in items:
        assert isinstance(run, Run)
        assert run.params_total is not None
        assert run.params_non_embedding is not None
        assert run.d_model is not None
        assert run.params_total - run.params_non_embedding == 2 * 50_432 * run.d_model
