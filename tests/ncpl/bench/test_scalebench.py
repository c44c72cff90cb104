"""ScaleBench's task: its score, its own form, and what a snapshot must hold."""

import numpy as np
import pytest

from ncpl.bench.scalebench import ScaleBenchRow, markdown, r_squared, submission, task_of
from ncpl.errors import SnapshotError

ROWS = [ScaleBenchRow(s, ["a"], s, r, 0.01, 0.9, [2.0]) for s, r in ((0.01, 0.1), (0.05, 0.5))]


@pytest.mark.parametrize(
    ("predicted", "score"), [([1.0, 2.0, 3.0], 1.0), ([2.0, 2.0, 2.0], 0.0), ([9.0, 9.0, 9.0], -1)]
)
def test_a_score_is_clipped_as_theirs(predicted, score) -> None:
    assert r_squared(np.array([1.0, 2.0, 3.0]), np.array(predicted)) == pytest.approx(score)


def test_a_result_has_the_form_of_their_runner() -> None:
    found = submission(ROWS)
    assert found["r2_mean"] == [0.1, 0.5]
    assert found["log_auc_mean"] == pytest.approx(0.3)


def test_the_papers_rows_stand_beside() -> None:
    assert "| theirs | -0.66 | 0.00 | 0.22 |" in markdown(ROWS)


def test_a_snapshot_without_the_pool_is_told(fixture_snapshot) -> None:
    with pytest.raises(SnapshotError, match="of the 2,702 and 117"):
        task_of(fixture_snapshot)
