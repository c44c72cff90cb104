"""QuEST: precision is a field of its own, sizes are those of the shape."""

from __future__ import annotations

from pathlib import Path

import pytest

from ncpl_data.catalog.complete import complete
from ncpl_data.catalog.record import Run, Skipped
from ncpl_data.ingest.sources.quest import SOURCE

FOLDER = Path(__file__).parents[1] / "fixtures" / "quest"


@pytest.fixture(scope="module")
def items() -> list[Run | Skipped]:
    """Return what the fixture's files give."""
    origin = SOURCE.origins[0]
    return list(origin.read({file.name: FOLDER / file.name for file in origin.files}))


@pytest.mark.parametrize(
    ("run_id", "field", "value"),
    [
        ("50M_101tpp_w16a16_NoQuantizer", "final_loss", 3.0677576065063477),
        ("50M_101tpp_w16a16_NoQuantizer", "weight_bits", 16),
        ("30M_98tpp_w1a1_ClipQuantizer", "weight_bits", 1),
        ("30M_98tpp_w1a1_ClipQuantizer", "activation_bits", 1),
        ("30M_98tpp_w1a1_ClipQuantizer", "batch_size_sequences", 512),
        ("50M_101tpp_w4a4_TrustQuantizer", "batch_size_sequences", 512),
        ("50M_101tpp_w16a16_NoQuantizer", "warmup_steps", 1907),
        ("50M_101tpp_w16a16_NoQuantizer", "learning_rate", 0.0012),
    ],
)
def test_values_are_those_of_the_file(
    items: list[Run | Skipped], run_id: str, field: str, value: object
) -> None:
    """Read by eye in the original."""
    (run,) = (i for i in items if isinstance(i, Run) and i.run_id == f"quest/{run_id}")
    assert getattr(run, field) == value


def test_the_shape_gives_the_files_own_count(items: list[Run | Skipped]) -> None:
    """non_embedding_parameters, to the last one."""
    for run in items:
        assert isinstance(run, Run)
        bare = run.with_values(params_non_embedding=None)
        assert complete(bare).params_non_embedding == run.params_non_embedding


def test_bits_are_one_family_that_varies_in_precision(items: list[Run | Skipped]) -> None:
    """The losses compare; what differs is a setting."""
    runs = [complete(run) for run in items if isinstance(run, Run)]
    assert len({run.loss_family for run in runs}) == 1
    assert {run.weight_bits for run in runs} == {1, 4, 16}
