"""Seeded runs out of many: what a choice, a spread or a law needs no more of."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def drawn(count: int, most: int, *, seed: int) -> npt.NDArray[np.int64]:
    """Return places of at most `most` of so many runs, in order; all where there are no more."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).permutation(count)[:most])


def is_drawn(count: int, most: int, *, seed: int) -> npt.NDArray[np.bool_]:
    """Return the same as a mask."""
    found = np.zeros(count, dtype=bool)
    found[drawn(count, most, seed=seed)] = True
    return found
