"""Learn a population from families: each is fitted under it, and it moves to what they are like."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ncpl.data.families import FamilyRuns
from ncpl.model.family_law import BASE, LAW, Design, Effects
from ncpl.model.law_inputs import Array
from ncpl.model.population import LEVEL_EFFECT, RATE_EFFECT, START, Population
from ncpl.model.posterior import infer

ROUNDS = 4
PRIOR_WEIGHT = 3.0
"""How many families the assumption before any is seen is worth."""
MOST_RUNS = 200
"""A family's law is fitted to at most so many runs when the population is learned."""
TRAINING_NOISES = np.geomspace(0.002, 0.12, 4)
"""Scales of an error tried when the population is learned, nats."""


@dataclass(frozen=True)
class Position:
    """Where a family lies: moments of its parameters by name."""

    names: tuple[str, ...]
    mean: Array
    covariance: Array
    log_noise: float


def locate(family: FamilyRuns, population: Population, *, seed: int = 0) -> Position:
    """Return the position of a family under a population."""
    if len(family.rows) > MOST_RUNS:
        chosen = np.random.default_rng(seed).choice(len(family.rows), MOST_RUNS, replace=False)
        family = family.take(np.sort(chosen).tolist())
    effects = Effects.of(family.rows)
    found = infer(
        population.prior(effects),
        Design.of(family.rows, effects),
        family.loss,
        noises=TRAINING_NOISES,
        reaches={1.0: 1.0},
        rounds=20,
    )
    return Position(effects.parameters, *found.moments())


def fit_population(
    families: Sequence[FamilyRuns], *, rounds: int = ROUNDS, prior_weight: float = PRIOR_WEIGHT
) -> Population:
    """Return the population of these families: expectation and maximization, one vote a source."""
    population = Population.start()
    for _ in range(rounds):
        positions = [locate(family, population) for family in families]
        population = moved(population, families, positions, prior_weight)
    return population


def votes(families: Sequence[FamilyRuns]) -> Array:
    """Return the weight of each family: families that share a source share its vote by the root."""
    shared = Counter(tuple(sorted(family.sources)) for family in families)
    return np.array([shared[tuple(sorted(f.sources))] ** -0.5 for f in families])


def moved(
    population: Population,
    families: Sequence[FamilyRuns],
    positions: Sequence[Position],
    prior_weight: float = PRIOR_WEIGHT,
) -> Population:
    """Return the population after one step towards the positions of its families."""
    weight = votes(families)
    n_base = len(BASE)
    start_mean, start_spread = np.array([START[name] for name in BASE]).T
    means = np.array([p.mean[:n_base] for p in positions]).reshape(-1, n_base)
    covariances = np.array([p.covariance[:n_base, :n_base] for p in positions])
    # What a family says nothing about does not pull the mean: its position there is the mean.
    told = np.array([1 - np.diag(c) / np.diag(population.covariance) for c in covariances])
    told = np.clip(told, 0, 1) * weight[:, None]
    mean = (0.5 * start_mean + (told * means).sum(0)) / (0.5 + told.sum(0))
    away = means - mean
    scatter = np.einsum("f,fp,fq->pq", weight, away, away)
    scatter += np.einsum("f,fpq->pq", weight, covariances)
    covariance = (scatter + prior_weight * np.diag(np.square(start_spread))) / (
        weight.sum() + prior_weight
    )
    kept = np.eye(n_base, dtype=bool)
    kept[: len(LAW), : len(LAW)] = True
    covariance = np.where(kept, covariance, 0.0)
    noise = np.array([p.log_noise for p in positions])
    middle = float((weight * noise).sum() + np.log(0.01)) / float(weight.sum() + 1)
    spread = float((weight * np.square(noise - middle)).sum() + 0.9**2) / float(weight.sum() + 1)
    return Population(
        mean, covariance, (middle, float(np.sqrt(spread)) + 0.2), effects_of(positions, weight)
    )


def effects_of(positions: Sequence[Position], weight: Array) -> dict[str, tuple[float, float]]:
    """Return mean and spread of each named choice's effect over the families that had it."""
    seen: dict[str, list[tuple[float, float, float]]] = {}
    for position, vote in zip(positions, weight, strict=True):
        for i, name in enumerate(position.names[len(BASE) :], start=len(BASE)):
            spread = LEVEL_EFFECT if name.startswith("level:") else RATE_EFFECT
            variance = float(position.covariance[i, i])
            told = max(0.0, 1 - variance / spread**2) * float(vote)
            seen.setdefault(name, []).append((told, float(position.mean[i]), variance))
    effects = {}
    for name, found in seen.items():
        spread = LEVEL_EFFECT if name.startswith("level:") else RATE_EFFECT
        told = sum(t for t, _, _ in found)
        mean = sum(t * m for t, m, _ in found) / (told + 0.5)
        # Half the usual spread remains however often it was seen: set-ups differ.
        variance = spread**2 / (1 + told) + (0.5 * spread) ** 2 * told / (1 + told)
        effects[name] = (mean, float(np.sqrt(variance)))
    return effects
