"""A family's law with a process for what it misses: what some runs say of larger ones.

The law's numbers are normal about the population and linear where they are likely; what the law
misses is smooth over size, data and recipe. Both are inferred together, so that many small runs do
not talk the law into more than its form can know, and near runs count for more than far ones.

Legend: P parameters, K known runs, B runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from ncpl.data.fields import Config
from ncpl.model.family_law import Design, Effects, evaluate
from ncpl.model.law_inputs import Array
from ncpl.model.population import Population
from ncpl.model.posterior import infer

SIZE_SCALES, RECIPE_SCALES = (1.0, 2.0, 4.0, 8.0), (0.7, 1.5, 3.0)
"""Log units of size and data, and of learning rate and batch, over which what is missed changes."""
AMPLITUDES, NOISES = (0.005, 0.01, 0.02, 0.04, 0.08), (0.002, 0.005, 0.012)
"""Nats: of what is missed, and of a run alone."""
LEAST_KNOWN = 6
"""Known runs from which the scales are told by them."""
ROUNDS = 2


@dataclass(frozen=True)
class LawScales:
    """What the process is like."""

    size: float = 2.0
    recipe: float = 1.5
    amplitude: float = 0.015
    noise: float = 0.005


@dataclass(frozen=True)
class Reading:
    """What is read of B runs: how losses move with the law's numbers, and where the runs lie."""

    loss: Array
    """(B,) of the law at its likely numbers, nats."""
    slope: Array
    """(B, P)"""
    place: Array
    """(B, 4)"""


@dataclass(frozen=True)
class LawProcess:
    """What is known of a family."""

    effects: Effects
    mean: Array
    """(P,) before any run."""
    covariance: Array
    """(P, P) before any run."""
    theta: Array
    """(P,) likely numbers, where the law is taken as linear."""
    scales: LawScales
    known: Reading
    error: Array
    """(K,) measured losses less those expected before any run, nats."""
    root: Array
    """(K, K) Cholesky factor of the covariance of measured losses."""

    @classmethod
    def of(
        cls,
        population: Population,
        effects: Effects,
        rows: Sequence[Config] = (),
        loss: Sequence[float] | Array = (),
    ) -> LawProcess:
        """Return what a population and known runs, derived configurations with losses, say."""
        prior = population.prior(effects)
        x, y = Design.of(rows, effects), np.asarray(loss, dtype=np.float64)
        theta = prior.mean
        if len(y):
            theta = infer(prior, x, y).moments()[0]
        empty = Reading(np.empty(0), np.empty((0, len(theta))), np.empty((0, 4)))
        found = cls(
            effects, prior.mean, prior.covariance, theta, LawScales(), empty, y, np.empty((0, 0))
        )
        for i in range(ROUNDS if len(y) else 0):
            known = found.read(rows)
            error = y - found.expected(known)
            law = known.slope @ found.covariance @ known.slope.T
            scales = found.scales
            if i == 0 and len(y) >= LEAST_KNOWN:
                scales = likeliest(law, known.place, error)
            both = law + process(known.place, known.place, scales) + _noise(len(y), scales)
            root = np.asarray(np.linalg.cholesky(both), dtype=np.float64)
            found = replace(found, scales=scales, known=known, error=error, root=root)
            if i + 1 < ROUNDS:
                moved = found.covariance @ (known.slope.T @ found.weights)
                found = replace(found, theta=found.mean + moved)
        return found

    @property
    def weights(self) -> Array:
        """Return what each known run's error counts (K,)."""
        return np.asarray(np.linalg.solve(self.root.T, np.linalg.solve(self.root, self.error)))

    def read(self, rows: Sequence[Config]) -> Reading:
        """Return what is read of derived configurations."""
        x = Design.of(rows, self.effects)
        found = evaluate(self.theta[None], x)
        return Reading(found.loss[0], found.slope[0], places_of(x))

    def expected(self, at: Reading) -> Array:
        """Return the losses (B,) expected before any run is known."""
        return np.asarray(at.loss + at.slope @ (self.mean - self.theta))

    def shared(self, one: Reading, other: Reading) -> Array:
        """Return the covariance of losses of two lots of runs before any is known."""
        law = one.slope @ self.covariance @ other.slope.T
        return np.asarray(law + process(one.place, other.place, self.scales))

    def variance(self, at: Reading) -> Array:
        """Return the variances (B,) of losses before any run is known, without a run's own error.

        The process's is its amplitude, squared.
        """
        law = np.einsum("bp,pq,bq->b", at.slope, self.covariance, at.slope)
        return np.asarray(law + self.scales.amplitude**2)

    def predict(self, rows: Sequence[Config]) -> tuple[Array, Array]:
        """Return losses (B,) and the standard deviations of their errors, nats."""
        at = self.read(rows)
        loss, variance = self.expected(at), self.variance(at)
        if len(self.error):
            across = self.shared(at, self.known)
            loss = loss + across @ self.weights
            half = np.linalg.solve(self.root, across.T)
            variance = variance - np.square(half).sum(0)
        return loss, np.sqrt(np.maximum(variance, 0.0) + self.scales.noise**2)


def places_of(x: Design) -> Array:
    """Return where runs lie, (B, 4): log size and data, log rate and batch."""
    return np.column_stack([x.n, x.d, x.rate, x.batch])


def process(one: Array, other: Array, scales: LawScales) -> Array:
    """Return the covariance of what the law misses: a Matern kernel of smoothness 3/2."""
    unit = np.full(one.shape[1], scales.recipe)
    unit[:2] = scales.size
    a, b = one / unit, other / unit
    far = np.square(a).sum(1)[:, None] + np.square(b).sum(1)[None] - 2 * a @ b.T
    root = np.sqrt(3 * np.maximum(far, 0.0))
    return np.asarray(scales.amplitude**2 * (1 + root) * np.exp(-root))


def _noise(count: int, scales: LawScales) -> Array:
    return np.asarray(scales.noise**2 * np.eye(count))


def likeliest(law_KK: Array, place: Array, error: Array) -> LawScales:
    """Return the scales of the grid under which measured losses are likeliest."""
    best, chosen = -np.inf, LawScales()
    for size, recipe in product(SIZE_SCALES, RECIPE_SCALES):
        unit = process(place, place, LawScales(size, recipe, 1.0))
        for amplitude, noise in product(AMPLITUDES, NOISES):
            scales = LawScales(size, recipe, amplitude, noise)
            root = np.linalg.cholesky(law_KK + amplitude**2 * unit + _noise(len(error), scales))
            half = np.linalg.solve(root, error)
            evidence = -0.5 * float(half @ half) - float(np.log(np.diag(root)).sum())
            if evidence > best:
                best, chosen = evidence, scales
    return chosen
