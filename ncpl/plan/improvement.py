"""Our strategy for the best run: what a run may still gain over the best one, for its cost.

Errors of predictions go together: of one group by a level, which changes no choice, and smoothly
over settings, which a few results tell. So each result moves the forecasts of runs like it.

Legend: A arms.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ncpl.plan.arms import Arms, ArmsProgress, Array
from ncpl.plan.forecasts import Forecaster
from ncpl.plan.orders import Order, affordable

LEVEL, SMOOTH, OWN = 0.1, 0.6, 0.3
"""Shares of the variance of errors: of all arms alike, smooth over settings, of each run alone."""
LENGTH = 0.3
"""Of the smooth part, each setting over 0-1."""
STOPS = (0.5, 0.8, 1.0)
"""Shares of a run at which it is asked again whether it is worth its rest."""
RUN_NOISE = 1e-4
"""Nats by which a measured final loss may be off."""
LEAST_GAIN = 1e-6
"""Nats of expected improvement below which nothing is worth its cost."""


@dataclass(frozen=True)
class Standing:
    """What is expected of the final loss of every arm, nats."""

    mean: Array
    sd: Array


def error_covariance(arms: Arms) -> Array:
    """Return the covariance (A, A) of the errors of predictions."""
    own = arms.features
    square = np.square(own).sum(1)
    far = np.maximum(square[:, None] + square[None] - 2 * own @ own.T, 0.0)
    kernel = LEVEL + SMOOTH * np.exp(-far / (2 * LENGTH**2))
    kernel[np.diag_indices(len(arms))] += OWN
    return np.asarray(kernel * np.outer(arms.sd, arms.sd))


def standing(progress: ArmsProgress, forecaster: Forecaster) -> Standing:
    """Return what results so far say of every arm: of finished runs, and of those on the way."""
    arms = progress.arms
    if "covariance" not in progress.cache:  # of five thousand arms 200 MB: once a progress
        progress.cache["covariance"] = error_covariance(arms)
    covariance: Array = progress.cache["covariance"]
    seen = np.flatnonzero(progress.share > 0)
    if not len(seen):
        return Standing(arms.loss, np.sqrt(np.diag(covariance)))
    mean, sd = forecaster(arms, seen.tolist(), [progress.prefix[i] for i in seen])
    prior = np.diag(covariance)[seen]
    # A forecast of variance v from a prior p is an observation of noise 1 / (1 / v - 1 / p).
    told = np.maximum(1 / np.maximum(np.square(sd), 1e-12) - 1 / prior, 1e-9)
    noise = 1 / told
    shift = (mean - arms.loss[seen]) * (prior + noise) / prior
    done = progress.finished[seen]
    noise = np.where(done, RUN_NOISE**2, noise)
    shift = np.where(done, progress.final[seen] - arms.loss[seen], shift)
    gram = covariance[np.ix_(seen, seen)] + np.diag(noise)
    across = covariance[:, seen]
    both = np.linalg.solve(gram, np.column_stack([shift, across.T]))
    mean = arms.loss + across @ both[:, 0]
    variance = np.diag(covariance) - np.einsum("ak,ka->a", across, both[:, 1:])
    return Standing(mean, np.sqrt(np.maximum(variance, 1e-12)))


def improvement(mean: Array, sd: Array, best: float) -> Array:
    """Return the expected improvement over a loss, nats."""
    from scipy.special import ndtr

    z = (best - mean) / sd
    density = np.exp(-0.5 * np.square(z)) / np.sqrt(2 * np.pi)
    return np.asarray(sd * (z * ndtr(z) + density))


def best_of_model(
    forecaster: Forecaster, stops: tuple[float, ...] = STOPS
) -> Callable[[ArmsProgress], list[Order]]:
    """Return the strategy: always the arm with the largest expected improvement a FLOP left.

    The first run is the one with the lowest predicted loss; a run stops for good where another one
    promises more for what is left of the budget.
    """

    def ask(progress: ArmsProgress) -> list[Order]:
        arms = progress.arms
        open_arms = [
            a for a in range(len(arms)) if not progress.finished[a] and affordable(progress, a)
        ]
        if not open_arms:
            return []
        now = standing(progress, forecaster)
        places = np.array(open_arms)
        if not progress.finished.any():
            at = int(places[np.argmin(now.mean[places])])
        else:
            best = float(np.nanmin(progress.final))
            gain = improvement(now.mean[places], now.sd[places], best)
            rest = np.array([progress.cost(a, 1.0) for a in open_arms])
            if gain.max() < LEAST_GAIN:
                return []
            at = int(places[np.argmax(gain / rest)])
        after = float(progress.share[at])
        stop = next(s for s in stops if s > after + 1e-9)
        return [Order(at, stop)]

    return ask
