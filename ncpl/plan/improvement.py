"""Our strategy for the best run: what a run may still gain over the best one, for its cost.

A budget that pays a small part of the candidates goes where results point; a larger one pays the
model's best runs in full, in their order, and leaves only those that have no chance any more: it
then finds what whole runs by prediction find, or more.

Errors of predictions go together: of one group by a level, which changes no choice, and smoothly
over settings, which a few results tell. So each result moves the forecasts of runs like it.

Legend: A arms.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ncpl.model.intervals import Z90
from ncpl.plan.arms import Arms, ArmsProgress, Array
from ncpl.plan.forecasts import Forecaster
from ncpl.plan.orders import Order

Places = npt.NDArray[np.int64]
LEVEL, SMOOTH, OWN = 0.1, 0.6, 0.3
"""Shares of the variance of errors: of all arms alike, smooth over settings, of each run alone."""
LENGTH = 0.3
"""Of the smooth part, each setting over 0-1."""
STOPS = (0.3, 0.5, 0.8, 1.0)
"""Shares of a run at which it is asked again whether it is worth its rest."""
RUN_NOISE = 1e-4
"""Nats by which a measured final loss may be off."""
FEW = 1 / 6
"""Budget, as a share of what all candidates cost, from which on the model's best runs are paid."""
NO_CHANCE = 0.005
"""Chance of a run to end below the best one, under which it is left there."""
FAR = 4.0
"""Standard deviations from which on a run counts as one that left its course."""
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


def standing(
    progress: ArmsProgress, forecaster: Forecaster, places: Places | None = None
) -> Standing:
    """Return what results so far say of arms: of finished runs, and of those on the way.

    `places` are the arms asked for, rising; all if not given.
    """
    arms = progress.arms
    if places is None:
        places = np.arange(len(arms))
    if "covariance" not in progress.cache:  # of five thousand arms 200 MB: once a progress
        progress.cache["covariance"] = error_covariance(arms)
    covariance: Array = progress.cache["covariance"]
    seen = np.flatnonzero(progress.share > 0)
    if not len(seen):
        return Standing(arms.loss[places], np.sqrt(np.diag(covariance))[places])
    done = progress.finished[seen]
    mean, sd = progress.final[seen].copy(), np.full(len(seen), RUN_NOISE)
    if not done.all():  # what is finished needs no forecast
        mean[~done], sd[~done] = _forecasts(progress, seen[~done], forecaster)
    prior = np.diag(covariance)[seen]
    # A forecast of variance v from a prior p is an observation of noise 1 / (1 / v - 1 / p).
    told = np.maximum(1 / np.maximum(np.square(sd), 1e-12) - 1 / prior, 1e-9)
    noise = 1 / told
    shift = (mean - arms.loss[seen]) * (prior + noise) / prior
    noise = np.where(done, RUN_NOISE**2, noise)
    shift = np.where(done, progress.final[seen] - arms.loss[seen], shift)
    # A run that left its course says less of those like it the farther it lies off.
    noise = np.maximum(noise, np.square(shift / FAR) - prior)
    gram = covariance[np.ix_(seen, seen)] + np.diag(noise)
    across = covariance[np.ix_(places, seen)]
    both = np.linalg.solve(gram, np.column_stack([shift, across.T]))
    found = arms.loss[places] + across @ both[:, 0]
    variance = np.diag(covariance)[places] - np.einsum("ak,ka->a", across, both[:, 1:])
    spread = np.sqrt(np.maximum(variance, 1e-12))
    far = (np.abs(shift) > FAR * np.sqrt(prior)) & np.isin(seen, places)
    own = np.searchsorted(places, seen[far])
    found[own], spread[own] = mean[far], sd[far]
    return Standing(found, spread)


def _forecasts(
    progress: ArmsProgress, going: Places, forecaster: Forecaster
) -> tuple[Array, Array]:
    """Return what a forecaster says of runs on the way; of one that went no further, once."""
    told: dict[tuple[int, float], tuple[float, float]] = progress.cache.setdefault("forecasts", {})
    keys = [(int(arm), float(progress.share[arm])) for arm in going]
    new = [key for key in keys if key not in told]
    if new:
        places = [arm for arm, _ in new]
        mean, sd = forecaster(progress.arms, places, [progress.prefix[arm] for arm in places])
        told.update(zip(new, zip(mean.tolist(), sd.tolist(), strict=True), strict=True))
    found = np.array([told[key] for key in keys])
    return found[:, 0], found[:, 1]


def improvement(mean: Array, sd: Array, best: float) -> Array:
    """Return the expected improvement over a loss, nats."""
    from scipy.special import ndtr

    z = (best - mean) / sd
    density = np.exp(-0.5 * np.square(z)) / np.sqrt(2 * np.pi)
    return np.asarray(sd * (z * ndtr(z) + density))


def best_of_model(
    forecaster: Forecaster, stops: tuple[float, ...] = STOPS, few: float = FEW
) -> Callable[[ArmsProgress], list[Order]]:
    """Return the strategy: what promises most where the budget is small, else the best predicted.

    Small: the arm with the largest expected improvement a FLOP left, first the one with the lowest
    predicted loss; a run stops for good where another one promises more for what is left. Else: in
    the order of predicted losses; a run stops only where it has no chance any more.
    """

    def ask(progress: ArmsProgress) -> list[Order]:
        rest_A = (1 - progress.share) * progress.arms.flop
        is_open = ~progress.finished & (rest_A <= progress.left * (1 + 1e-9))
        open_A = np.flatnonzero(is_open)
        if not len(open_A):
            return []
        is_small = progress.budget < few * float(progress.arms.flop.sum())
        choose = most_promising if is_small else next_predicted
        at = choose(progress, forecaster, open_A)
        if at is None:
            return []
        after = float(progress.share[at])
        return [Order(at, next(s for s in stops if s > after + 1e-9))]

    return ask


def most_promising(progress: ArmsProgress, forecaster: Forecaster, open_A: Places) -> int | None:
    """Return the arm with the largest expected improvement a FLOP left; None where none is left."""
    now = standing(progress, forecaster, open_A)
    if not progress.finished.any():
        return int(open_A[np.argmin(now.mean)])
    gain = improvement(now.mean, now.sd, float(np.nanmin(progress.final)))
    if gain.max() < LEAST_GAIN:
        return None
    rest_A = (1 - progress.share[open_A]) * progress.arms.flop[open_A]
    return int(open_A[np.argmax(gain / rest_A)])


def next_predicted(progress: ArmsProgress, forecaster: Forecaster, open_A: Places) -> int | None:
    """Return the next arm by predicted loss; one that has begun goes on while it has a chance.

    A chance is that to end below the best finished run; before there is one, below what another arm
    is almost sure to reach. None where only runs without a chance are left.
    """
    is_begun = progress.share[open_A] > 0
    begun, left = open_A[is_begun], open_A[~is_begun]
    if len(begun):
        going = begun[_chances(progress, forecaster, open_A, begun) >= NO_CHANCE]
        if len(going):
            return int(going[np.argmin(progress.arms.loss[going])])
    return int(left[np.argmin(progress.arms.loss[left])]) if len(left) else None


def _chances(
    progress: ArmsProgress, forecaster: Forecaster, open_A: Places, begun: Places
) -> Array:
    """Return the chance of each open arm that has begun."""
    if progress.finished.any():
        now = standing(progress, forecaster, begun)
        best = np.full(len(begun), float(np.nanmin(progress.final)))
        return chance_below(best, now.mean, Z90 * now.sd)
    now = standing(progress, forecaster, open_A)
    sure = now.mean + Z90 * now.sd
    others = np.full(len(open_A), np.inf)
    if len(open_A) > 1:
        first, second = np.partition(sure, 1)[:2]
        others = np.where(sure == first, second, first)
    return chance_below(others, now.mean, Z90 * now.sd)[np.isin(open_A, begun)]


def chance_below(best: Array, mean: Array, half: Array) -> Array:
    """Return the chance to end below a loss, arm by arm; `half` is that of 90% intervals, nats.

    Errors of forecasts have heavy tails: a tenth of a Laplace distribution lies beyond 90%.
    """
    tail = 0.5 * 10 ** (-np.abs(best - mean) / half)
    return np.asarray(np.where(best > mean, 1 - tail, tail))
