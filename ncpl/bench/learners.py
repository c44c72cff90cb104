"""Learned baselines: trees, processes and regressions on what a law leaves over, and their mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ncpl.bench.part import Part
from ncpl.bench.recipe import Recipe, hidden_columns

if TYPE_CHECKING:
    from ncpl.bench.processes import FittedProcess

Array = npt.NDArray[np.float64]
TREES = 900
TREE_SEEDS = 3
SHARE = 0.9


@dataclass(frozen=True)
class PredictedLosses:
    """Predicted losses, nats per token, with 90% intervals where the method has them."""

    loss: Array
    low: Array | None = None
    high: Array | None = None


Predictor = Callable[[Part], PredictedLosses]
Base = Callable[[Part, int], Predictor]
"""(training rows, seed) -> predictor; what trees and processes predict the residual of."""


class NotApplicableError(ValueError):
    """The method cannot be fitted to these runs; the message says why."""


def shared(fit: Base) -> Base:
    """Return the same method that remembers its last fit: several rows of the board share it."""
    last: list[tuple[Part, int, Predictor]] = []

    def fit_once(train: Part, seed: int) -> Predictor:
        if not (last and last[0][0] is train and last[0][1] == seed):
            last[:] = [(train, seed, fit(train, seed))]
        return last[0][2]

    return fit_once


def trees(*, physics: bool, on: Base | None, hidden: bool = False) -> Base:
    """Return boosted trees: 3 seeds of 900 x 15 leaves, absolute error (modeling notes)."""

    def fit(train: Part, seed: int) -> Predictor:
        try:
            import lightgbm
        except ModuleNotFoundError as error:
            raise NotApplicableError("needs LightGBM: pip install ncpl-data[bench]") from error
        if hidden and not any(np.isfinite(c).any() for c in hidden_columns(train).values()):
            raise NotApplicableError("no run states a field beyond those of its source's table")
        base = on(train, seed) if on else None
        design = Recipe.of(train)

        def columns(part: Part) -> Array:
            whole = design.for_trees(part, physics=physics)
            if not hidden:
                return whole
            return np.column_stack([whole, *hidden_columns(part).values()])

        target = train.loss - (base(train).loss if base else 0.0)
        members = [
            lightgbm.train(
                {
                    "objective": "l1",
                    "num_leaves": 15,
                    "learning_rate": 0.05,
                    "min_data_in_leaf": 10,
                    "bagging_fraction": 0.8,
                    "bagging_freq": 1,
                    "feature_fraction": 0.8,
                    "seed": seed + i,
                    "deterministic": True,
                    "force_row_wise": True,
                    "num_threads": 1,
                    "verbosity": -1,
                },
                lightgbm.Dataset(columns(train), target, categorical_feature=[4]),
                num_boost_round=TREES,
            )
            for i in range(TREE_SEEDS)
        ]

        def predict(part: Part) -> PredictedLosses:
            rows = columns(part)
            mean = np.mean([np.asarray(member.predict(rows)) for member in members], axis=0)
            return PredictedLosses(mean + (base(part).loss if base else 0.0))

        return predict

    return fit


def process(*, centred: bool, on: Base) -> Base:
    """Return a Gaussian process, its intervals scaled on left-out training groups."""

    def fit(train: Part, seed: int) -> Predictor:
        from ncpl.bench.processes import fit_gp

        base, design = on(train, seed), Recipe.of(train)

        def rows(part: Part) -> Array:
            return design.for_process(part, centred=centred)

        return with_intervals(
            fit_gp(rows(train), train.loss - base(train).loss, seed=seed), rows, base, train
        )

    return fit


def drift_process(*, on: Base) -> Base:
    """Return the process with a quadratic drift in size and data (modeling notes, section 6)."""

    def fit(train: Part, seed: int) -> Predictor:
        from ncpl.bench.processes import Rows, fit_drift_process

        base, recipe = on(train, seed), Recipe.of(train)

        def rows(part: Part) -> Rows:
            log_scale = np.log(np.stack(part.sizes, axis=1))
            return Rows(log_scale, recipe.columns(part), recipe.kind(part))

        return with_intervals(
            fit_drift_process(rows(train), train.loss - base(train).loss, seed=seed),
            rows, base, train,
        )  # fmt: skip

    return fit


def with_intervals(
    found: FittedProcess, rows: Callable[[Part], Any], base: Predictor, train: Part
) -> Predictor:
    """Return the predictor of a process on a base, its intervals scaled on left-out groups."""
    quantile = found.left_out_scale(train.runs.group, share=SHARE)

    def predict(part: Part) -> PredictedLosses:
        mean, deviation = found.predict(rows(part))
        loss = mean + base(part).loss
        return PredictedLosses(loss, loss - quantile * deviation, loss + quantile * deviation)

    return predict


def structured(*, on: Base) -> Base:
    """Return the robust polynomial regression, shared and per optimizer."""

    def fit(train: Part, seed: int) -> Predictor:
        from ncpl.bench.structured import fit_structured

        base = on(train, seed)
        found = fit_structured(train, train.loss - base(train).loss, train.runs.group)
        return lambda part: PredictedLosses(found.predict(part) + base(part).loss)

    return fit


def first_of(fits: Sequence[Base]) -> Base:
    """Return the first method that can be fitted to these runs."""

    def fit(train: Part, seed: int) -> Predictor:
        for candidate in fits[:-1]:
            try:
                return candidate(train, seed)
            except NotApplicableError:
                continue
        return fits[-1](train, seed)

    return fit


def mean_of(fits: Sequence[Base]) -> Base:
    """Return the mean of methods; its interval adds their spread to that of the first."""

    def fit(train: Part, seed: int) -> Predictor:
        members = [one(train, seed) for one in fits]

        def predict(part: Part) -> PredictedLosses:
            found = [member(part) for member in members]
            losses = np.stack([one.loss for one in found])
            middle = losses.mean(0)
            low, high = found[0].low, found[0].high
            if low is None or high is None:
                return PredictedLosses(middle)
            half = np.hypot((high - low) / 2, 1.645 * losses.std(0, ddof=1))
            return PredictedLosses(middle, middle - half, middle + half)

        return predict

    return fit
