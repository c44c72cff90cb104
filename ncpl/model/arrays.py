"""One code for two kinds of array: NumPy's for predictions, torch's while something is fitted.

Both name most operations alike, `axis` and `keepdims` included. Nothing here imports torch: whoever
holds a tensor has done so.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

Array = Any
"""A NumPy array or a tensor; its shape is told by its name (x_BF) or in words."""


def module_of(array: Array) -> Any:
    """Return the module whose functions take this array: numpy or torch."""
    return np if isinstance(array, np.ndarray | np.generic) else sys.modules["torch"]


def integers(array: Array) -> Array:
    """Return an array's numbers as 64-bit integers, for use as places."""
    return array.astype(np.int64) if isinstance(array, np.ndarray) else array.long()


def constant(array: Array) -> Array:
    """Return an array through which no gradient flows."""
    return array if isinstance(array, np.ndarray) else array.detach()
