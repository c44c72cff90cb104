"""What the start of a run tells, as numbers: residuals to a predicted curve, in windows.

A residual is a measured loss less the predicted one at the same share of the run. Windows reach
back from the cut by a share of what is known; nearer points weigh more.

Legend: B runs, P points, K features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ncpl.data.columns import column
from ncpl.data.fields import Config
from ncpl.data.schedules import FIRST, Array, Schedules

WINDOWS = (0.05, 0.2, 0.6)
"""Reach of the windows, as shares of the cut."""
RESIDUALS = ("last", "recent", "whole", "slope", "noise", "rise")
"""Features that vanish where a run goes as predicted."""
CONTEXT = (
    "params", "tokens", "learning_rate", "batch", "rate", "lowest", "decay", "cosine", "drop",
    "loss", "points", "age",
)  # fmt: skip
RISE = 0.05
"""Nats above the lowest loss so far from which a point belongs to a spike."""
FEW = 10
"""Up to so many points tell no noise: their steps are those of the curve, and of the spike."""


@dataclass(frozen=True)
class Prefixes:
    """Starts of B runs: what was measured up to the cut, beside what was predicted."""

    frac: Array
    """(B, P) shares of the run, rising; NaN fills the rest of a row."""
    loss: Array
    """(B, P) measured, nats."""
    predicted: Array
    """(B, P) by the configuration alone, nats."""
    at_cut: Array
    """(B,) the predicted loss at the cut, nats."""
    final: Array
    """(B,) the predicted final loss, nats."""

    def up_to(self, cut: float) -> npt.NDArray[np.bool_]:
        """Return which points (B, P) count at a cut: after FIRST, and up to it."""
        return np.asarray((self.frac > FIRST) & (self.frac <= cut + 1e-9))


def features(prefixes: Prefixes, rows: Sequence[Config], cut: float) -> tuple[Array, Array]:
    """Return residual features (B, len(RESIDUALS)) and those of the context (B, len(CONTEXT)).

    Residual features are zero for a run of which no point counts.
    """
    known = prefixes.up_to(cut)
    residual_BP = np.where(known, prefixes.loss - prefixes.predicted, 0.0)
    back_BP = np.where(known, (cut - prefixes.frac) / cut, 0.0)
    last, recent, whole = (_mean(residual_BP, known * np.exp(-back_BP / h)) for h in WINDOWS)
    noise_B, rise_B = noise_and_rise(prefixes.loss, known)
    n_B = known.sum(1)
    age_B = np.where(n_B > 0, np.min(np.where(known, back_BP, 1.0), axis=1), 1.0)
    told = np.stack([last, recent, whole, last - whole, noise_B, rise_B], axis=1)
    schedules = Schedules.of(rows)
    rate_B = schedules.rate(np.full((len(rows), 1), cut))[:, 0]
    names = ("params_non_embedding", "data_tokens", "learning_rate", "batch_tokens")
    logs = [np.nan_to_num(np.log(column(rows, name))) for name in names]
    drop_B = prefixes.at_cut - prefixes.final
    shape = [rate_B, schedules.lowest, schedules.decay, schedules.is_cosine.astype(np.float64)]
    context = [*logs, *shape, drop_B, prefixes.final, np.log1p(n_B), age_B]
    return told, np.stack(context, axis=1)


def noise_and_rise(loss_BP: Array, known_BP: npt.NDArray[np.bool_]) -> tuple[Array, Array]:
    """Return the usual step between points off their own trend, and the largest rise, (B,), nats.

    The rise is that above the lowest loss before it.
    """
    noise_B, rise_B = np.zeros(len(loss_BP)), np.zeros(len(loss_BP))
    for i, known in enumerate(known_BP):
        own = loss_BP[i, known]
        if len(own) > 1:
            rise_B[i] = max(0.0, float((own[1:] - np.minimum.accumulate(own)[:-1]).max()))
        if len(own) > 3:
            noise_B[i] = float(np.median(np.abs(np.diff(own, 2)))) / np.sqrt(6) / 0.6745
    return noise_B, rise_B


def least_rise(loss_P: Array) -> float:
    """Return the rise from which on it is a spike of a run with these points, nats.

    RISE, or what so many noisy points span by chance. Noise is read off the calmest quarter of
    second differences: spikes, and the bend of an early curve, are in the others.
    """
    if len(loss_P) <= FEW:
        return RISE
    calm = float(np.quantile(np.abs(np.diff(loss_P, 2)), 0.25)) / np.sqrt(6) / 0.3186  # of a normal
    span = 2 * float(np.sqrt(2 * np.log(len(loss_P))))
    return float(max(RISE, span * calm))


def is_spiky(loss_BP: Array, known_BP: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return which runs (B,) rose by more than RISE and than noise explains."""
    _, rise_B = noise_and_rise(loss_BP, known_BP)
    least = [least_rise(loss[known]) for loss, known in zip(loss_BP, known_BP, strict=True)]
    return np.asarray(rise_B > np.array(least))


def _mean(values_BP: Array, weight_BP: npt.NDArray[Any]) -> Array:
    total_B = weight_BP.sum(1)
    return np.where(total_B > 0, (values_BP * weight_BP).sum(1) / np.maximum(total_B, 1e-300), 0.0)
