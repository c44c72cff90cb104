"""What the model reads of B runs: three arrays with named columns, checked once.

Legend: B runs, F fields.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Self

import numpy as np

from ncpl.model.arrays import Array
from ncpl.model.encoder import Encoded
from ncpl.model.seen import LAW_FIELDS

SIZE, DATA, RATE, BATCH, RATIO, PLACE = range(len(LAW_FIELDS) + 1)
"""Columns of the law's inputs: scaled logs of LAW_FIELDS, then the optimizer's place."""


class Inputs(NamedTuple):
    """Encoded runs, in single precision."""

    numbers: Array
    """(B, F) scaled values; 0 for categories and absent fields."""
    codes: Array
    """(B, F) 0 absent, 1 a number, 2.. a category's place in the vocabulary."""
    law: Array
    """(B, 6) by SIZE to PLACE; NaN where absent, but size and data count as their centre then."""

    @classmethod
    def of(cls, encoded: Encoded) -> Self:
        """Return the inputs of encoded configurations, as NumPy arrays."""
        law = encoded.law.astype(np.float32)
        assert encoded.numbers.shape == encoded.codes.shape
        assert law.shape == (len(encoded), PLACE + 1)
        law[:, : DATA + 1] = np.nan_to_num(law[:, : DATA + 1])
        return cls(encoded.numbers, encoded.codes, law)

    def map(self, change: Callable[[Array], Array]) -> Self:
        """Return the inputs with each array changed."""
        return type(self)(*(change(array) for array in self))

    def take(self, rows: Array) -> Self:
        """Return some runs, by place, slice or mask."""
        return self.map(lambda array: array[rows])
