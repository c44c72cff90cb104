"""Joining the segments of a restarted run; the laws hold for any order of the segments."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ncpl_data.ingest.segments import joined


@pytest.mark.parametrize(
    ("steps", "kept"),
    [
        ([1, 2, 3], [0, 1, 2]),
        ([1, 2, 3, 3, 4], [0, 1, 3, 4]),  # restarted at 3: the run that went on counts
        ([3, 4, 5, 1, 2, 3, 4], [3, 4, 0, 1, 2]),  # the last segment is printed first
        ([5, 6, 3, 4, 5, 1, 2, 3], [5, 6, 2, 3, 0, 1]),
        ([7], [0]),
    ],
)
def test_the_segment_that_reaches_furthest_wins(steps: list[int], kept: list[int]) -> None:
    assert joined(np.asarray(steps, dtype=np.int64)).tolist() == kept


@given(st.lists(st.integers(0, 50), min_size=1, max_size=60))
def test_steps_increase_and_the_last_is_never_lost(steps: list[int]) -> None:
    array = np.asarray(steps, dtype=np.int64)
    found = array[joined(array)]
    assert np.all(np.diff(found) > 0)
    assert found[-1] == array.max()
