"""rig: rates by powers of two, the schedule read off its rates."""

from __future__ import annotations

from pathlib import Path

import pytest

from ncpl_data.catalog.complete import complete
from ncpl_data.catalog.record import Run, Skipped
from ncpl_data.ingest.sources.rig import SOURCE

FOLDER = Path(__file__).parents[1] / "fixtures" / "rig"


@pytest.fixture(scope="module")
def items() -> list[Run | Skipped]:
    """Return what the fixture's files give."""
    origin = SOURCE.origins[0]
    return list(origin.read({file.name: FOLDER / file.name for file in origin.files}))


@pytest.mark.parametrize(
    ("run_id", "field", "value"),
    [
        ("60m-5tpp-bs16-lr2e-10-s1337", "learning_rate", 0.0009765625),
        ("60m-5tpp-bs16-lr2e-10-s1337", "seed", 1337),
        ("60m-5tpp-bs16-lr2e-10-s1337", "final_loss", 4.224437057971954),
        ("60m-5tpp-bs16-lr2e-10-s1337", "warmup_steps", 229),
        ("60m-5tpp-bs16-lr2e-10-s1337", "schedule", "cosine"),
        ("60m-5tpp-bs16-lr2e-10-s1337", "train_tokens", 299630592),
        ("60m-5tpp-bs16-lr2e-10-s1337", "min_learning_rate", 9.765625145519152e-05),
    ],
)
def test_values_are_those_of_the_file(
    items: list[Run | Skipped], run_id: str, field: str, value: object
) -> None:
    """Read by eye in the original."""
    (run,) = (i for i in items if isinstance(i, Run) and i.run_id == f"rig/{run_id}")
    assert getattr(run, field) == value


def test_tokens_are_batch_by_context_by_steps(items: list[Run | Skipped]) -> None:
    """16 x 8,192 x 2,286."""
    (run,) = items
    assert isinstance(run, Run)
    assert run.train_tokens == 16 * 8192 * 2286
    assert {c.metric for c in run.curves} == {"validation/loss", "train/loss"}
    assert complete(run).params_non_embedding == 12 * (12 * 384**2 + 2 * 384) + 384
