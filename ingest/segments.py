"""Logs of restarted runs: overlapping segments made into one history."""

from __future__ import annotations

from typing import Any

import numpy as np


def joined(steps: np.ndarray[Any, np.dtype[np.int64]]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the positions of the points that make one history, in order of step.

    A run that was restarted from its own checkpoint logs several segments, in either order, that
    overlap. The segment that reaches furthest is the one that lived on; the others give the
    points before its first step.
    """
    cuts = np.flatnonzero(np.diff(steps) <= 0) + 1
    segments = np.split(np.arange(len(steps)), cuts)
    segments.sort(key=lambda s: (-int(steps[s[-1]]), int(steps[s[0]])))
    kept: list[Any] = []
    first = np.iinfo(np.int64).max
    for segment in segments:
        part = segment[steps[segment] < first]
        if len(part):
            kept.append(part)
            first = int(steps[part[0]])
    return np.concatenate(kept[::-1])
