"""What the checks of one document share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

Section = Mapping[str, Any]
NOTHING: Section = {}

TOKENS_TOLERANCE = 0.01
"""Relative. A last partial batch and rounding stay below it."""


def section(document: Section, name: str) -> Section:
    """Return one section of a document, empty if absent."""
    return document.get(name) or NOTHING


def tokens_hint(ratio: float, sequence: int) -> str | None:
    """Return what a wrong product most likely means."""
    if math.isclose(ratio * sequence, 1, rel_tol=TOKENS_TOLERANCE):
        return (
            "The batch seems to be given in tokens: batch_size_sequences counts sequences, "
            "divide it by sequence_length."
        )
    for unit, name in ((1e-6, "millions"), (1e-9, "billions"), (1e-12, "trillions")):
        if 0.9 <= ratio / unit <= 1.1:
            return f"The tokens seem to be given in {name}; write them out."
    if ratio > 1 and math.isclose(ratio, round(ratio), rel_tol=TOKENS_TOLERANCE):
        return (
            f"They differ by a factor {round(ratio)}: does batch_size_sequences cover one device "
            "or one accumulation step only? It counts all of them."
        )
    return "If the batch grew during the run, state it in batch_ramp."
