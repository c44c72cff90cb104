"""Step Law: the learning rate and batch size that give the lowest loss at a size and a budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ncpl.laws.base import Array


@dataclass(frozen=True)
class StepLaw:
    """Two power laws, on raw counts: lr = a N^p D^q and batch tokens = b D^r."""

    learning_rate: tuple[float, float, float]
    """a, exponent of N, exponent of D."""
    batch_tokens: tuple[float, float]
    """b, exponent of D."""

    def optimum(
        self, params_non_embedding: npt.ArrayLike, train_tokens: npt.ArrayLike
    ) -> tuple[Array, Array]:
        """Return the best peak learning rate and the best batch size in tokens."""
        n = np.asarray(params_non_embedding, dtype=np.float64)
        d = np.asarray(train_tokens, dtype=np.float64)
        a, p, q = self.learning_rate
        b, r = self.batch_tokens
        return np.asarray(a * n**p * d**q), np.asarray(b * d**r)

    def distance(
        self,
        params_non_embedding: npt.ArrayLike,
        train_tokens: npt.ArrayLike,
        learning_rate: npt.ArrayLike,
        batch_tokens: npt.ArrayLike,
    ) -> Array:
        """Return how far runs are from the optimum, in log learning rate and log batch size.

        The run of a group with the smallest distance is the law's choice among what was measured.
        """
        best_rate, best_batch = self.optimum(params_non_embedding, train_tokens)
        return np.hypot(
            np.log(np.asarray(learning_rate) / best_rate),
            np.log(np.asarray(batch_tokens) / best_batch),
        )


# Li et al. 2025, arXiv 2503.04715, equation 1. Fitted on every group of the study: where the held-
# out groups are from that study too, the constants have seen them.
PUBLISHED = StepLaw(learning_rate=(1.79, -0.713, 0.307), batch_tokens=(0.58, 0.571))


def fit(
    params_non_embedding: Array,
    train_tokens: Array,
    learning_rate: Array,
    batch_tokens: Array,
    loss: Array,
    groups: Sequence[str | None],
    *,
    near_best: float = 0.0025,
) -> StepLaw:
    """Return the law refitted on groups of (N, D) with many (learning rate, batch size) runs.

    A group's optimum is the mean (in logs) of its runs within `near_best` of its lowest loss,
    weighted towards the lowest: a single best grid point is mostly chance. Raises ValueError with
    fewer than 4 groups of at least 10 runs.
    """
    names = np.array([g or "" for g in groups])
    points = []
    for name in sorted(set(names.tolist()) - {""}):
        rows = np.flatnonzero(names == name)
        if len(rows) < 10:
            continue
        excess = loss[rows] / loss[rows].min() - 1
        near = excess <= near_best
        weight = 1 - excess[near] / (near_best * (1 + 1e-9))
        weight = weight / weight.sum()
        points.append(
            (
                np.log(params_non_embedding[rows[0]]),
                np.log(train_tokens[rows[0]]),
                float(weight @ np.log(learning_rate[rows][near])),
                float(weight @ np.log(batch_tokens[rows][near])),
            )
        )
    if len(points) < 4:
        raise ValueError(f"the Step Law needs 4 groups of at least 10 runs, found {len(points)}")
    n, d, rate, batch = np.array(points).T
    one = np.ones_like(n)
    (log_a, p, q), *_ = np.linalg.lstsq(np.stack([one, n, d], 1), rate, rcond=None)
    (log_b, r), *_ = np.linalg.lstsq(np.stack([one, d], 1), batch, rcond=None)
    return StepLaw((float(np.exp(log_a)), float(p), float(q)), (float(np.exp(log_b)), float(r)))
