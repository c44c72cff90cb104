"""The methods of the board: each fits on training rows and predicts others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ncpl.bench import learners
from ncpl.bench.learners import NotApplicableError, PredictedLosses, Predictor
from ncpl.bench.part import Part
from ncpl.bench.recipe import refit_step_law
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
REFERENCE_SAW = "possibly: constants of the NCPL repository, rows not stated"
SEEN_DRIFT = "its drift: one of three, chosen after Marin's OOD errors were seen"
SEEN_COLUMNS = "its columns: cut after held-out errors were seen; shrunk on training groups"
SEEN_FORM = "its form: written after Marin's OOD errors were seen; fitted on the training rows"


@dataclass(frozen=True)
class Method:
    """One row of the board."""

    name: str
    kind: str
    """law, choice, trees, process, regression, mean, ncpl, or joined."""
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
    return lambda part: PredictedLosses(law.predict(*part.sizes))


def chinchilla_refit(train: Part, seed: int) -> Predictor:
    """Return Chinchilla fitted on the training rows."""
    law = chinchilla.fit(*train.sizes, train.loss, seed=seed)
    return lambda part: PredictedLosses(law.predict(*part.sizes))


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
        return lambda part: PredictedLosses(fitted.predict(_law_inputs(part)))

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
    return lambda part: PredictedLosses(
        law.distance(*part.sizes, part.learning_rate, part.batch_tokens)
    )


def interaction_law(train: Part, seed: int) -> Predictor:
    """Return the law with literature priors, following near-best runs."""
    try:
        fitted = interaction.fit(*train.sizes, train.loss, train.runs.group, seed=seed)
    except ValueError as error:
        raise NotApplicableError(str(error)) from error
    return lambda part: PredictedLosses(
        fitted.predict(dict(zip(fitted.law.inputs, part.sizes, strict=True)))
    )


LAW = learners.shared(chinchilla_refit)
SIZE_X_DATA = learners.shared(interaction_law)


def _learners(name: str, saw_test: str, base: learners.Base) -> tuple[Method, ...]:
    """Return the learned baselines on one base law, and their mean."""
    trees = learners.shared(learners.trees(physics=True, on=base))
    hidden = learners.shared(learners.trees(physics=True, on=base, hidden=True))
    centred = learners.process(centred=True, on=base)
    drift = learners.shared(learners.drift_process(on=base))
    structured = learners.shared(learners.structured(on=base))
    mean = learners.mean_of([drift, learners.first_of([hidden, trees]), structured])
    drift_seen = SEEN_DRIFT if saw_test == OWN_FIT else saw_test
    columns_seen = SEEN_COLUMNS if saw_test == OWN_FIT else saw_test
    return (
        Method(f"Boosted trees + physics, {name}", "trees", saw_test, trees),
        Method(f"Boosted trees + physics + hidden fields, {name}", "trees", saw_test, hidden),
        Method(f"Gaussian process + centred recipe, {name}", "process", saw_test, centred),
        Method(f"Gaussian process + quadratic drift, {name}", "process", drift_seen, drift),
        Method(f"Structured regression, {name}", "regression", columns_seen, structured),
        Method(f"Mean of baselines, {name}", "mean", drift_seen, mean),
    )


METHODS: tuple[Method, ...] = (
    Method(
        "Chinchilla, reference constants",
        "law",
        REFERENCE_SAW,
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
    Method("Boosted trees, raw loss", "trees", OWN_FIT, learners.trees(physics=False, on=None)),
    Method("Boosted trees, on Chinchilla", "trees", OWN_FIT, learners.trees(physics=False, on=LAW)),
    Method(
        "Gaussian process, on Chinchilla",
        "process",
        OWN_FIT,
        learners.process(centred=False, on=LAW),
    ),
    Method(
        "Gaussian process + quadratic drift, on reference constants",
        "process",
        REFERENCE_SAW + "; " + SEEN_DRIFT,
        learners.drift_process(on=chinchilla_reference),
    ),
    *_learners("on Chinchilla", OWN_FIT, LAW),
    *_learners("on size x data", SEEN_FORM, SIZE_X_DATA),
)
