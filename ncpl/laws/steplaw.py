"""Step Law: the learning rate and batch size that give the lowest loss at a size and a budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ncpl.laws.base import Array
from ncpl.laws.powerlines import timescale

NEAR_BEST = 0.0025
"""Share of excess loss within which runs count as optimal."""
MIN_GROUP = 10


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


# Li et al. 2025, arXiv 2503.04715, equation 1; checked against quotations of it, 25 November 2026
# (v7 of the paper). Fitted on every group of the study: where the held-
# out groups are from that study too, the constants have seen them.
PUBLISHED = StepLaw(learning_rate=(1.79, -0.713, 0.307), batch_tokens=(0.58, 0.571))


@dataclass(frozen=True)
class Optima:
    """The best measured recipe of each group of (N, D)."""

    params_non_embedding: Array
    train_tokens: Array
    learning_rate: Array
    batch_tokens: Array
    timescale: Array
    """AdamW's, as a share of the run; NaN where a run states no weight decay."""

    def __len__(self) -> int:
        """Return the number of groups."""
        return len(self.train_tokens)


def near_best(
    params_non_embedding: Array,
    train_tokens: Array,
    learning_rate: Array,
    batch_tokens: Array,
    loss: Array,
    groups: Sequence[str | None],
    *,
    weight_decay: Array | None = None,
) -> Optima:
    """Return the optimum of each group of at least 10 runs.

    It is the mean (in logs) of the runs within `NEAR_BEST` of the group's lowest loss, weighted
    towards the lowest: a single best grid point is mostly chance.
    """
    names = np.array([g or "" for g in groups])
    decay = np.full(len(loss), np.nan) if weight_decay is None else weight_decay
    tau = timescale(batch_tokens, learning_rate, np.where(decay > 0, decay, np.nan), train_tokens)
    points = []
    for name in sorted(set(names.tolist()) - {""}):
        rows = np.flatnonzero(names == name)
        if len(rows) < MIN_GROUP:
            continue
        excess = loss[rows] / loss[rows].min() - 1
        near = excess <= NEAR_BEST
        weight = 1 - excess[near] / (NEAR_BEST * (1 + 1e-9))
        weight = weight / weight.sum()
        means = [float(weight @ np.log(v[rows][near])) for v in (learning_rate, batch_tokens, tau)]
        points.append((params_non_embedding[rows[0]], train_tokens[rows[0]], *np.exp(means)))
    table = np.array(points).reshape(-1, 5)
    return Optima(*table.T)


def fit(
    params_non_embedding: Array,
    train_tokens: Array,
    learning_rate: Array,
    batch_tokens: Array,
    loss: Array,
    groups: Sequence[str | None],
) -> StepLaw:
    """Return the law refitted on groups of (N, D) with many (learning rate, batch size) runs.

    Raises ValueError with fewer than 4 groups of at least 10 runs.
    """
    return fit_optima(
        near_best(params_non_embedding, train_tokens, learning_rate, batch_tokens, loss, groups)
    )


def fit_optima(optima: Optima) -> StepLaw:
    """Return the law fitted to the groups' optima. Raises ValueError with fewer than 4."""
    if len(optima) < 4:
        raise ValueError(f"the Step Law needs 4 groups of at least 10 runs, found {len(optima)}")
    n, d = np.log(optima.params_non_embedding), np.log(optima.train_tokens)
    one = np.ones_like(n)
    rate, batch = np.log(optima.learning_rate), np.log(optima.batch_tokens)
    (log_a, p, q), *_ = np.linalg.lstsq(np.stack([one, n, d], 1), rate, rcond=None)
    (log_b, r), *_ = np.linalg.lstsq(np.stack([one, d], 1), batch, rcond=None)
    return StepLaw((float(np.exp(log_a)), float(p), float(q)), (float(np.exp(log_b)), float(r)))
