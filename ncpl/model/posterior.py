"""What a family's runs say of its law, given a population: modes, evidence and draws.

Errors follow a Student-t law whose scale is inferred; so is how far the family may lie from the
population. For every pair of the two on a grid the mode and its Laplace evidence are found; draws
are fits of perturbed losses from perturbed starts ("randomize, then optimize"), exact where the law
is linear.

Legend: S draws, B runs, P parameters, G pairs on the grid.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ncpl.model.family_law import Design, evaluate
from ncpl.model.law_inputs import Array

FREEDOM = 4.0
"""Degrees of freedom of an error: outliers are tolerated."""
NOISES = np.geomspace(0.0015, 0.12, 5)
"""Scales of an error a family may have, nats."""
REACHES = {1.0: 0.6, 2.0: 0.25, 5.0: 0.15}
"""How far a family may lie from the population, as a factor on its law's spread -> probability."""
N_REACHING = 5
"""The first parameters are those the factor is on: size, data and floor."""


@dataclass(frozen=True)
class Prior:
    """What is known of a family's parameters before its runs are seen."""

    mean: Array
    covariance: Array
    log_noise: tuple[float, float] = (np.log(0.01), 0.9)
    """Mean and spread of the log of the scale of errors."""


def descend(
    theta_SP: Array,
    centre_SP: Array,
    precision_PP: Array,
    x: Design,
    loss_SB: Array,
    trust: Callable[[Array], Array],
    *,
    rounds: int,
) -> Array:
    """Return the minimum of trust times squared error and distance from the centre, per draw.

    Levenberg-Marquardt in one batch; `trust` returns the weight of each error (S, B) from errors.
    """
    theta = theta_SP.copy()
    damping = np.full(len(theta), 1e-3)
    diagonal = np.arange(theta.shape[1])

    def value(at: Array, error: Array, weight: Array) -> Array:
        away = at - centre_SP
        return np.asarray(
            (weight * np.square(error)).sum(1) + np.einsum("sp,pq,sq->s", away, precision_PP, away)
        )

    found = evaluate(theta, x)
    for _ in range(rounds):
        error = found.loss - loss_SB
        weight = trust(error)
        gram = np.einsum("sbp,sb,sbq->spq", found.slope, weight, found.slope, optimize=True)
        gram += precision_PP
        gradient = np.einsum("sbp,sb->sp", found.slope, weight * error)
        gradient += (theta - centre_SP) @ precision_PP
        gram[:, diagonal, diagonal] *= 1 + damping[:, None]
        step = np.linalg.solve(gram, gradient[:, :, None])[:, :, 0]
        step *= np.minimum(1.0, 3.0 / np.maximum(np.abs(step).max(1), 1e-12))[:, None]
        new = theta - step
        tried = evaluate(new, x)
        better = value(new, tried.loss - loss_SB, weight) < value(theta, error, weight)
        theta = np.where(better[:, None], new, theta)
        found.loss[better] = tried.loss[better]
        found.slope[better] = tried.slope[better]
        damping = np.where(better, damping / 4, np.minimum(damping * 8, 1e6))
        if np.abs(step[better]).max(initial=0.0) < 1e-4 and (damping[~better] >= 1e5).all():
            break
    return theta


def student_trust(noise_S: Array, weight_B: Array) -> Callable[[Array], Array]:
    """Return weights of errors under a Student-t law of the given scales (S,)."""
    scale_SB = noise_S[:, None] / np.sqrt(weight_B)

    def trust(error_SB: Array) -> Array:
        ratio = np.square(error_SB / scale_SB)
        return np.asarray((FREEDOM + 1) / (FREEDOM + ratio) / np.square(scale_SB))

    return trust


def fixed(trust_SB: Array) -> Callable[[Array], Array]:
    """Return weights that do not depend on errors."""
    return lambda _: trust_SB


@dataclass(frozen=True)
class Posterior:
    """Modes on the grid of noise and reach, with their probabilities."""

    prior: Prior
    x: Design
    loss: Array
    weight: Array
    noise: Array
    """(G,)"""
    reach: Array
    """(G,)"""
    modes: Array
    """(G, P)"""
    covariances: Array
    """(G, P, P), Laplace."""
    log_evidence: Array
    """(G,) up to a constant, the priors of noise and reach included."""

    @property
    def probability(self) -> Array:
        """Return the probability of each pair of the grid."""
        weight = np.exp(self.log_evidence - self.log_evidence.max())
        return np.asarray(weight / weight.sum())

    def moments(self) -> tuple[Array, Array, float]:
        """Return the mean (P,), covariance (P, P) and mean log noise of the whole posterior."""
        p = self.probability
        mean = p @ self.modes
        away = self.modes - mean
        spread = np.einsum("g,gpq->pq", p, self.covariances)
        return mean, spread + np.einsum("g,gp,gq->pq", p, away, away), float(p @ np.log(self.noise))

    def draw(self, count: int, generator: np.random.Generator) -> tuple[Array, Array]:
        """Return parameter vectors (S, P) and scales of errors (S,) from the posterior."""
        chosen = generator.choice(len(self.noise), size=count, p=self.probability)
        noise, reach = self.noise[chosen], self.reach[chosen]
        root = np.linalg.cholesky(self.prior.covariance)
        normal = generator.standard_normal((count, len(root)))
        centre = self.prior.mean + stretched(reach, len(root)) * (normal @ root.T)
        if not len(self.x):
            return centre, noise
        found = evaluate(self.modes, self.x)
        trust_GB = student_trust(self.noise, self.weight)(found.loss - self.loss)
        trust_SB = trust_GB[chosen]
        jitter = generator.standard_normal(trust_SB.shape) / np.sqrt(trust_SB)
        theta = np.empty_like(centre)
        inverse = np.linalg.inv(self.prior.covariance)
        for factor in np.unique(reach):
            own = reach == factor
            theta[own] = descend(
                self.modes[chosen][own],
                centre[own],
                inverse / np.outer(*2 * [stretched(factor, len(root))]),
                self.x,
                self.loss + jitter[own],
                fixed(trust_SB[own]),
                rounds=12,
            )
        return theta, noise


def stretched(reach: Array | float, n_parameters: int) -> Array:
    """Return the factor of a reach on each parameter (..., P)."""
    factor = np.ones((*np.shape(reach), n_parameters))
    factor[..., :N_REACHING] = np.asarray(reach)[..., None]
    return factor


def infer(
    prior: Prior,
    x: Design,
    loss: Array,
    weight: Array | None = None,
    *,
    noises: Array = NOISES,
    reaches: Mapping[float, float] = REACHES,
    rounds: int = 40,
) -> Posterior:
    """Return what runs say of their family's law."""
    weight = np.ones(len(loss)) if weight is None else weight
    inverse = np.linalg.inv(prior.covariance)
    _, log_det = np.linalg.slogdet(prior.covariance)
    n_parameters = len(prior.mean)
    parts = []
    for reach, chance in reaches.items():
        noise = noises
        stretch = stretched(reach, n_parameters)
        precision = inverse / np.outer(stretch, stretch)
        centre = np.tile(prior.mean, (len(noise), 1))
        target = np.tile(loss, (len(noise), 1))
        trust = student_trust(noise, weight)
        modes = centre
        if len(loss):
            modes = descend(centre, centre, precision, x, target, trust, rounds=rounds)
        found = evaluate(modes, x)
        error = found.loss - target
        weights = trust(error)
        gram = precision + np.einsum("sbp,sb,sbq->spq", found.slope, weights, found.slope)
        away = modes - centre
        scale = noise[:, None] / np.sqrt(weight)
        likelihood = -(
            (FREEDOM + 1) / 2 * np.log1p(np.square(error / scale) / FREEDOM) + np.log(scale)
        ).sum(1)
        of_prior = -0.5 * np.einsum("sp,pq,sq->s", away, precision, away)
        of_prior -= 0.5 * (log_det + 2 * N_REACHING * np.log(reach))
        width = -0.5 * np.linalg.slogdet(gram)[1]
        middle, spread = prior.log_noise
        of_noise = -0.5 * np.square((np.log(noise) - middle) / spread)
        parts.append(
            (
                noise, np.full(len(noise), reach), modes, np.linalg.inv(gram),
                likelihood + of_prior + width + of_noise + np.log(chance),
            )
        )  # fmt: skip
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    return Posterior(prior, x, loss, weight, *columns)
