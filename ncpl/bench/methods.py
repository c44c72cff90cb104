"""The methods of the board: each fits on training rows and predicts others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ncpl.bench.design import Design, refit_step_law
from ncpl.bench.part import Part
from ncpl.laws import (
    bnsl,
    chinchilla,
    farseer,
    interaction,
    kaplan_nsb,
    overtraining,
    power_const,
    steplaw,
)
from ncpl.laws.base import Law
from ncpl.laws.fitting import fit_law

Array = npt.NDArray[np.float64]
OWN_FIT = "no: fitted on the training rows"
SEEN_FORM = "its form: written after Marin's OOD errors were seen; fitted on the training rows"


@dataclass(frozen=True)
class Prediction:
    """Predicted losses, nats per token, with 90% intervals where the method has them."""

    loss: Array
    low: Array | None = None
    high: Array | None = None


Predictor = Callable[[Part], Prediction]


class NotApplicableError(ValueError):
    """The method cannot be fitted to these runs; the message says why."""


@dataclass(frozen=True)
class Method:
    """One row of the board."""

    name: str
    kind: str
    """law, choice, trees, process, ncpl, or joined."""
    saw_test: str
    """The leak column: whether its constants have seen held-out groups."""
    fit: Callable[[Part, int], Predictor]
    """(training rows, seed) -> predictor. Raises NotApplicableError."""
    reads_recipe: bool = True
    """False: one loss for each (N, D), so it ranks and chooses nothing inside a group."""
    predicts_loss: bool = True
    """False: it only says how far a run is from the best recipe."""


def chinchilla_reference(train: Part, seed: int) -> Predictor:
    """Return the reference constants of the runs' source."""
    del seed  # nothing is drawn
    source = train.runs.family[0][0]
    if source not in chinchilla.REFERENCE:
        raise NotApplicableError(f"no published constants for {source}")
    law = chinchilla.REFERENCE[source]
    return lambda part: Prediction(law.predict(*part.sizes))


def chinchilla_refit(train: Part, seed: int) -> Predictor:
    """Return Chinchilla fitted on the training rows."""
    law = chinchilla.fit(*train.sizes, train.loss, seed=seed)
    return lambda part: Prediction(law.predict(*part.sizes))


def _law_inputs(part: Part) -> dict[str, Array]:
    n, d = part.sizes
    return {
        "params_non_embedding": n,
        "train_tokens": d,
        "x": 6 * n * d,
        "batch_tokens": part.batch_tokens,
        "train_steps": d / part.batch_tokens,
        **overtraining.inputs_from(n, d),
    }


def of_law(choose: Callable[[dict[str, Array]], Law]) -> Callable[[Part, int], Predictor]:
    """Return the method that fits a law of (N, D, batch) on the training rows."""

    def fit(train: Part, seed: int) -> Predictor:
        inputs = _law_inputs(train)
        law = choose(inputs)
        fitted = fit_law(law, {name: inputs[name] for name in law.inputs}, train.loss, seed=seed)
        return lambda part: Prediction(fitted.predict(_law_inputs(part)))

    return fit


def step_law_published(train: Part, seed: int) -> Predictor:
    """Return the distance to the published optimum."""
    del train, seed  # the constants are given
    return _distance(steplaw.PUBLISHED)


def step_law_refit(train: Part, seed: int) -> Predictor:
    """Return the distance to the optimum refitted on the training groups."""
    del seed  # nothing is drawn
    law = refit_step_law(train)
    if law is None or len(set(train.optimizer)) > 1:
        raise NotApplicableError("needs 4 groups of 10 runs with one optimizer")
    return _distance(law)


def _distance(law: steplaw.StepLaw) -> Predictor:
    return lambda part: Prediction(law.distance(*part.sizes, part.learning_rate, part.batch_tokens))


def interaction_law(train: Part, seed: int) -> Predictor:
    """Return the law with literature priors, following near-best runs."""
    try:
        fitted = interaction.fit(*train.sizes, train.loss, train.runs.group, seed=seed)
    except ValueError as error:
        raise NotApplicableError(str(error)) from error
    return lambda part: Prediction(
        fitted.predict(dict(zip(fitted.law.inputs, part.sizes, strict=True)))
    )


Base = Callable[[Part, int], Predictor]
"""What trees and processes predict the residual of."""


def trees(*, physics: bool, on: Base | None) -> Callable[[Part, int], Predictor]:
    """Return boosted trees: 3 seeds of 900 x 15 leaves, absolute error (modeling notes)."""

    def fit(train: Part, seed: int) -> Predictor:
        try:
            import lightgbm
        except ModuleNotFoundError as error:
            raise NotApplicableError("needs LightGBM: pip install ncpl[bench]") from error
        base = on(train, seed) if on else None
        design = Design.of(train)
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
                lightgbm.Dataset(
                    design.for_trees(train, physics=physics), target, categorical_feature=[4]
                ),
                num_boost_round=900,
            )
            for i in range(3)
        ]

        def predict(part: Part) -> Prediction:
            rows = design.for_trees(part, physics=physics)
            mean = np.mean([np.asarray(member.predict(rows)) for member in members], axis=0)
            return Prediction(mean + (base(part).loss if base else 0.0))

        return predict

    return fit


def process(*, centred: bool, on: Base) -> Callable[[Part, int], Predictor]:
    """Return a Gaussian process, its intervals scaled on left-out training groups."""

    def fit(train: Part, seed: int) -> Predictor:
        from ncpl.laws.gp import fit_gp, left_out_scale

        base = on(train, seed)
        design = Design.of(train)
        rows = design.for_process(train, centred=centred)
        target = train.loss - base(train).loss
        found = fit_gp(rows, target, seed=seed)
        quantile = left_out_scale(found, target, train.runs.group, share=0.9)

        def predict(part: Part) -> Prediction:
            mean, deviation = found.predict(design.for_process(part, centred=centred))
            loss = mean + base(part).loss
            return Prediction(loss, loss - quantile * deviation, loss + quantile * deviation)

        return predict

    return fit


METHODS: tuple[Method, ...] = (
    Method(
        "Chinchilla, reference constants",
        "law",
        "possibly: constants of the NCPL repository, rows not stated",
        chinchilla_reference,
        reads_recipe=False,
    ),
    Method("Chinchilla, refit", "law", OWN_FIT, chinchilla_refit, reads_recipe=False),
    Method(
        "Power law in compute",
        "law",
        OWN_FIT,
        of_law(lambda _: power_const.LAW),
        reads_recipe=False,
    ),
    Method(
        "Broken power law in compute",
        "law",
        OWN_FIT,
        of_law(lambda inputs: bnsl.bnsl(inputs["x"])),
        reads_recipe=False,
    ),
    Method(
        "Over-training, L(C, M)",
        "law",
        OWN_FIT,
        of_law(lambda _: overtraining.LAW),
        reads_recipe=False,
    ),
    Method("Farseer, refit", "law", OWN_FIT, of_law(lambda _: farseer.LAW), reads_recipe=False),
    Method("Kaplan, size x steps x batch", "law", OWN_FIT, of_law(lambda _: kaplan_nsb.LAW)),
    Method(
        "Step Law, published",
        "choice",
        "yes on StepLaw: fitted on every group",
        step_law_published,
        predicts_loss=False,
    ),
    Method("Step Law, refit", "choice", OWN_FIT, step_law_refit, predicts_loss=False),
    Method("Size x data with priors", "law", SEEN_FORM, interaction_law, reads_recipe=False),
    Method("Boosted trees, raw loss", "trees", OWN_FIT, trees(physics=False, on=None)),
    Method(
        "Boosted trees, on Chinchilla", "trees", OWN_FIT, trees(physics=False, on=chinchilla_refit)
    ),
    Method(
        "Boosted trees + physics, on Chinchilla",
        "trees",
        OWN_FIT,
        trees(physics=True, on=chinchilla_refit),
    ),
    Method(
        "Boosted trees + physics, on size x data",
        "trees",
        SEEN_FORM,
        trees(physics=True, on=interaction_law),
    ),
    Method(
        "Gaussian process, on Chinchilla",
        "process",
        OWN_FIT,
        process(centred=False, on=chinchilla_refit),
    ),
    Method(
        "Gaussian process + centred recipe, on Chinchilla",
        "process",
        OWN_FIT,
        process(centred=True, on=chinchilla_refit),
    ),
    Method(
        "Gaussian process + centred recipe, on size x data",
        "process",
        SEEN_FORM,
        process(centred=True, on=interaction_law),
    ),
)
