"""A curve: one metric over the steps of a run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
INT64, FLOAT64 = np.dtype("<i8"), np.dtype("<f8")


@dataclass(frozen=True, eq=False)
class Curve:
    """One metric over the steps of a run."""

    metric: str
    step: IntArray
    """Shape (points,), strictly increasing."""
    value: FloatArray
    """Shape (points,), finite."""
    tokens: IntArray | None = None
    """Tokens seen at each step, shape (points,)."""

    def __post_init__(self) -> None:
        """Refuse points that break the laws of a curve."""
        if not len(self.step) == len(self.value) or len(self.step) == 0:
            raise ValueError(
                f"curve {self.metric}: {len(self.step)} steps and {len(self.value)} values; "
                "expected as many of both, and at least one"
            )
        if self.tokens is not None and len(self.tokens) != len(self.step):
            raise ValueError(
                f"curve {self.metric}: {len(self.tokens)} token counts for {len(self.step)} steps"
            )
        falls = self.step[1:] <= self.step[:-1]
        if falls.any():
            at = int(falls.argmax()) + 1
            raise ValueError(
                f"curve {self.metric}: step {self.step[at]} follows step {self.step[at - 1]}; "
                "steps must increase"
            )
        is_finite = np.isfinite(self.value)
        if not is_finite.all():
            at = int(is_finite.argmin())
            raise ValueError(
                f"curve {self.metric}: the value at step {self.step[at]} is not finite"
            )

    def update(self, digest: hashlib._Hash) -> None:
        """Feed the curve's content into a hash."""
        digest.update(self.metric.encode() + b"\0")
        for array, kind in ((self.step, INT64), (self.tokens, INT64), (self.value, FLOAT64)):
            if array is None:
                digest.update(b"-")
            else:
                digest.update(len(array).to_bytes(8, "little"))
                digest.update(np.ascontiguousarray(array, dtype=kind).data)


def curve_document(curve: Curve) -> dict[str, Any]:
    """Return a curve as the schema writes it."""
    document: dict[str, Any] = {"metric": curve.metric, "step": curve.step.tolist()}
    if curve.tokens is not None:
        document["tokens"] = curve.tokens.tolist()
    document["value"] = curve.value.tolist()
    return document


def curve_of(document: Mapping[str, Any]) -> Curve:
    """Return the curve of a valid document."""
    tokens = document.get("tokens")
    return Curve(
        metric=document["metric"],
        step=np.asarray(document["step"], dtype=np.int64),
        value=np.asarray(document["value"], dtype=np.float64),
        tokens=None if tokens is None else np.asarray(tokens, dtype=np.int64),
    )
