"""The methods of the curve board: each fits on points of training curves and predicts others."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from ncpl.bench.curve_points import CurvePoints
from ncpl.bench.learners import Base, NotApplicableError, Predictor
from ncpl.bench.rates import schedule_columns
from ncpl.bench.recipe import Recipe
from ncpl.errors import ConfigError
from ncpl.laws import chinchilla
from ncpl.laws.base import Inputs, Law, Parameter
from ncpl.laws.fitting import fit_law
from ncpl.laws.schedules import Curves
from ncpl.model.bundle import Bundle

Array = npt.NDArray[np.float64]
CurvePredictor = Callable[[CurvePoints], Array]
LAW_RUNS = 80
"""Training runs the curve laws with a size term are fitted on: nine numbers need no more."""
LAW_STARTS = 6
SHAPE_TREES = 1200


def average_shape(train: CurvePoints, final: Predictor) -> CurvePredictor:
    """Return the final loss plus the median distance of training runs from theirs, by fraction."""
    above = train.loss - train.part.loss[train.run]
    edges = np.linspace(0, 1, 41)
    middle = (edges[1:] + edges[:-1]) / 2
    cell = np.clip(np.digitize(train.fraction, edges) - 1, 0, 39)
    known = np.array([c for c in range(40) if (cell == c).any()])
    shape = np.array([np.median(above[cell == c]) for c in known])
    return lambda points: (
        final(points.part).loss[points.run] + np.interp(points.fraction, middle[known], shape)
    )


class Trees:
    """Boosted trees over (configuration, fraction, schedule so far), one fit a target."""

    def __init__(self, train: CurvePoints, seed: int) -> None:
        """Raise NotApplicableError without LightGBM."""
        try:
            import lightgbm
        except ModuleNotFoundError as error:
            raise NotApplicableError("needs LightGBM: pip install ncpl-data[bench]") from error
        self.lightgbm = lightgbm
        self.design = Recipe.of(train.part)
        self.train = train
        self.settings: dict[str, Any] = {
            "objective": "l1", "num_leaves": 31, "learning_rate": 0.05, "seed": seed,
            "deterministic": True, "force_row_wise": True, "num_threads": 1, "verbosity": -1,
        }  # fmt: skip

    def rows(self, points: CurvePoints) -> Array:
        """Return the columns of each point."""
        whole = self.design.for_trees(points.part, physics=True)[points.run]
        schedule = np.empty((len(points), 3))
        for run in np.unique(points.run):
            mine = points.run == run
            config = points.part.runs.configs[run]
            schedule[mine] = schedule_columns(config, points.step[mine].astype(np.float64))
        return np.column_stack([whole, points.fraction, np.log(points.step + 1.0), schedule])

    def fit(self, target: Array) -> CurvePredictor:
        """Return trees for a target at the training points."""
        data = self.lightgbm.Dataset(self.rows(self.train), target, categorical_feature=[4])
        model = self.lightgbm.train(self.settings, data, num_boost_round=SHAPE_TREES)
        return lambda points: np.asarray(model.predict(self.rows(points)))


def tree_shape(
    train: CurvePoints, finals: list[tuple[str, Predictor]], seed: int
) -> list[tuple[str, CurvePredictor]]:
    """Return, for each final-loss predictor, its loss plus trees for the distance from it."""
    shape = Trees(train, seed).fit(train.loss - train.part.loss[train.run])

    def on(final: Predictor) -> CurvePredictor:
        return lambda points: final(points.part).loss[points.run] + shape(points)

    return [(name, on(final)) for name, final in finals]


def tree_residual(
    train: CurvePoints, law: chinchilla.Chinchilla, *, seen: bool, seed: int
) -> CurvePredictor:
    """Return trees on what Chinchilla leaves over, at the final data or at the data seen so far."""

    def base(points: CurvePoints) -> Array:
        n, d = points.part.sizes
        tokens = d[points.run] * (points.fraction if seen else 1.0)
        return law.predict(n[points.run], tokens)

    residual = Trees(train, seed).fit(train.loss - base(train))
    return lambda points: base(points) + residual(points)


def deep_power_law(train: CurvePoints, seed: int) -> CurvePredictor:
    """Return deep power laws of the configuration, in the share of the run."""
    from ncpl.laws.dpl import fit_dpl

    design = Recipe.of(train.part)

    def rows(points: CurvePoints) -> Array:
        return design.for_process(points.part, centred=False)[points.run]

    fitted = fit_dpl(rows(train), train.fraction, train.loss, seed=seed)
    return lambda points: fitted.predict(rows(points), points.fraction)[0]


def curve_law(make: Callable[[Curves], Law], train: CurvePoints, seed: int) -> CurvePredictor:
    """Return a curve law with a size term, one fit for the whole source, in tokens.

    The term B (N/1e8)^-beta is Chinchilla's; the papers of these laws fit one size, one batch size
    and nearly one peak rate at a time, in steps.
    Raises NotApplicableError where runs do not state their schedule.
    """
    fitted_on = train.late().of_runs(LAW_RUNS, seed)
    curves, rows = _curves(fitted_on)
    law = sized(make(curves), _sizes(fitted_on, curves))
    values = fit_law(law, rows, fitted_on.loss, seed=seed, n_starts=LAW_STARTS).values

    def predict(points: CurvePoints) -> Array:
        found, wanted = _curves(points)
        return sized(make(found), _sizes(points, found)).predict(values, wanted)

    return predict


def _curves(points: CurvePoints) -> tuple[Curves, dict[str, Array]]:
    silent = [run for run in np.unique(points.run).tolist() if run not in points.paths]
    if silent:
        raise NotApplicableError(f"{len(silent)} runs do not state their whole schedule")
    return points.curves(in_tokens=True)


def _sizes(points: CurvePoints, curves: Curves) -> Array:
    return points.part.sizes[0][curves.curve]


def sized(law: Law, params_n: Array) -> Law:
    """Return the law with a Chinchilla term of model size added."""
    n_own = len(law.parameters)
    log_n = np.log(params_n / 1e8)

    def loss(theta_KP: Array, inputs: Inputs) -> Array:
        row = inputs["row"].astype(np.int64)
        amplitude, exponent = theta_KP[..., n_own, None], theta_KP[..., n_own + 1, None]
        own = law.function(theta_KP[..., :n_own], inputs)
        return np.asarray(own + amplitude * np.exp(-exponent * log_n[row]))

    extra = (
        Parameter("B_N", "nats per token at N = 1e8", 1e-3, 1e2, (0.1, 2.0), "log"),
        Parameter("beta_N", "", 1e-3, 2.0, (0.1, 0.6)),
    )
    return dataclasses.replace(law, parameters=(*law.parameters, *extra), function=loss)


def of_bundle(bundle: Bundle, train: CurvePoints) -> CurvePredictor:
    """Return the curves of an NCPL bundle.

    Raises NotApplicableError where it has no member for these runs, or none with curves.
    """
    from ncpl.data.fields import derive

    family = train.part.runs.family[0]
    mine = [fit for fit in bundle.fits if fit.family == family]
    if not mine:
        raise NotApplicableError(f"the bundle has no member for {family[0]}")
    if mine[0].heads is None:
        raise NotApplicableError(f"the bundle's member for {family[0]} was trained without curves")

    def predict(points: CurvePoints) -> Array:
        runs, place = np.unique(points.run, return_inverse=True)
        rows = [derive(points.part.runs.configs[run]) for run in runs]
        # every run at its own shares, in rows of one length
        order = np.arange(len(points)) - np.searchsorted(points.run, runs)[place]
        share = np.ones((len(runs), int(order.max()) + 1))
        share[place, order] = points.fraction
        return np.asarray(bundle.curves_of(mine[0], rows, share)[place, order])

    return predict


def of_file(file: Path) -> CurvePredictor:
    """Return predictions read from a CSV or Parquet file: run_id, step, prediction.

    Raises ConfigError where a scored point is missing; `ncpl bench curves --points` lists them.
    """
    try:
        table = pq.read_table(file) if file.suffix == ".parquet" else pa.csv.read_csv(file)
        keys = zip(table["run_id"].to_pylist(), table["step"].to_pylist(), strict=True)
        values = dict(zip(keys, table["prediction"].to_pylist(), strict=True))
    except (OSError, KeyError, pa.ArrowException) as error:
        raise ConfigError(f"{file}: expected columns run_id, step, prediction ({error})") from error

    def predict(points: CurvePoints) -> Array:
        ids = points.part.runs.run_ids
        keys = [(ids[r], int(s)) for r, s in zip(points.run, points.step, strict=True)]
        missing = [key for key in keys if key not in values]
        if len(missing) == len(keys):
            raise NotApplicableError("predicts no point of this part")
        if missing:
            raise ConfigError(
                f"{file} lacks {len(missing)} of {len(keys)} scored points, first {missing[0][0]} "
                f"step {missing[0][1]}; list them with: ncpl bench curves --points points.csv"
            )
        found = np.array([values[key] for key in keys], dtype=np.float64)
        if not np.isfinite(found).all():
            raise ConfigError(f"{file} holds a prediction that is not a number")
        return found

    return predict


def final_methods() -> list[tuple[str, Base]]:
    """Return the final-loss methods that shapes are put on, by their names on the curve board."""
    from ncpl.bench.methods import METHODS

    wanted = {
        "Boosted trees + physics, on Chinchilla": "boosted trees",
        "Mean of baselines, on Chinchilla": "mean of baselines on Chinchilla",
        "Mean of baselines, on size x data": "mean of baselines on size x data",
    }
    return [(wanted[m.name], m.fit) for m in METHODS if m.name in wanted]
