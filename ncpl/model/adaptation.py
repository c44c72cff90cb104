"""Answers in a set-up of one's own: the population and a handful of runs, no training.

Legend: S draws, B runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ncpl.data.fields import Config
from ncpl.data.sizes import FLOP_PER_PARAMETER_TOKEN, size_of, worth_of
from ncpl.model.family_law import Design, Effects, losses
from ncpl.model.law_inputs import Array
from ncpl.model.population import Population
from ncpl.model.posterior import FREEDOM, infer

DRAWS = 96
LOW, MIDDLE, HIGH = 0.05, 0.5, 0.95
DOUBT = 0.02
"""Half width, nats, for each log unit of compute above the largest run known: the draws know no
other law than their own."""
BLOCK = 2000
"""Configurations answered at once: every draw is kept for each."""


@dataclass(frozen=True)
class Answers:
    """Losses of B configurations with 90% intervals, nats per token."""

    loss: Array
    low: Array
    high: Array

    def widened(self, factor: float) -> Answers:
        """Return the same with half widths times a factor."""
        low = self.loss - factor * (self.loss - self.low)
        return Answers(self.loss, low, self.loss + factor * (self.high - self.loss))

    def covers(self, loss: Array) -> npt.NDArray[np.bool_]:
        """Return which measured losses (B,) lie inside the intervals."""
        return np.asarray((self.low <= loss) & (loss <= self.high))

    @property
    def width(self) -> float:
        """Return the mean width of the intervals, nats."""
        return float((self.high - self.low).mean())


@dataclass(frozen=True)
class Adapted:
    """What a population and some runs of one family say."""

    population: Population
    effects: Effects
    theta: Array
    """(S, P) draws of the family's parameters."""
    noise: Array
    """(S,) scale of errors in each draw, nats."""
    n_runs: int
    """Number of known runs."""
    seed: int = 0
    most_compute: float = 0.0
    """Of the known runs, FLOP; zero where none is known."""

    @classmethod
    def of(
        cls,
        population: Population,
        rows: Sequence[Config],
        loss: Array,
        *,
        weight: Array | None = None,
        seed: int = 0,
        draws: int = DRAWS,
    ) -> Adapted:
        """Return the family of these runs: derived configurations with size and data, and losses.

        `weight` is the trust in each loss; 1 where it is not given. No run at all is allowed: then
        only what families have in common is known.
        """
        effects = Effects.of(rows)
        prior = population.prior(effects)
        x, y = Design.of(rows, effects), np.asarray(loss, dtype=float)
        theta, noise = infer(prior, x, y, weight).draw(draws, np.random.default_rng(seed))
        n_runs = len(rows) if weight is None else int((weight >= 1.0).sum())
        most = max(compute_of(rows).tolist(), default=0.0)
        return cls(population, effects, theta, noise, n_runs, seed, most)

    def losses(self, rows: Sequence[Config]) -> Array:
        """Return the losses (S, B) of configurations in every draw, nats, without run-to-run error.

        A choice that no known run made has the effect it had elsewhere, drawn with its spread.
        """
        effects = self.effects.with_choices(rows)
        theta = self.theta
        further = len(effects.parameters) - theta.shape[1]
        if further:
            prior = self.population.prior(effects)
            spread = np.sqrt(np.diag(prior.covariance)[-further:])
            normal = np.random.default_rng(self.seed + 1).standard_normal((len(theta), further))
            theta = np.column_stack([theta, prior.mean[-further:] + spread * normal])
        parts = [
            losses(theta, Design.of(rows[i : i + BLOCK], effects))
            for i in range(0, len(rows), BLOCK)
        ]
        return np.concatenate(parts, axis=1) if parts else np.empty((len(theta), 0))

    def differences(self, rows: Sequence[Config]) -> Answers:
        """Return how much configurations lose more than the first of them, with 90% intervals.

        What a family does not know of its level is common to both and falls out. Nats, without
        run-to-run error.
        """
        found = self.losses(rows)
        low, middle, high = np.quantile(found - found[:, :1], [LOW, MIDDLE, HIGH], axis=0)
        factor = self.population.width_factor(self.n_runs)
        return Answers(middle, low, high).widened(factor)

    @cached_property
    def _errors(self) -> Array:
        """Return quantile levels (Q, S) of the error in each draw, nats."""
        from scipy.stats import t

        levels = (np.arange(9) + 0.5) / 9
        return np.asarray(t.ppf(levels, FREEDOM)[:, None] * self.noise)

    def predict(self, rows: Sequence[Config]) -> Answers:
        """Return losses and 90% intervals of derived configurations."""
        found = self.losses(rows)
        middle = np.quantile(found, MIDDLE, axis=0)
        low, high = np.empty_like(middle), np.empty_like(middle)
        for i in range(0, len(rows), BLOCK):  # every draw with every error: take it in parts
            part = found[:, i : i + BLOCK]
            spread = (part[None] + self._errors[:, :, None]).reshape(-1, part.shape[1])
            low[i : i + BLOCK], high[i : i + BLOCK] = np.quantile(spread, [LOW, HIGH], axis=0)
        factor = self.population.width_factor(self.n_runs)
        doubt = DOUBT * self.beyond(rows)
        low = middle - factor * np.hypot(middle - low, doubt)
        return Answers(
            middle, np.maximum(low, 0.0), middle + factor * np.hypot(high - middle, doubt)
        )

    def beyond(self, rows: Sequence[Config]) -> Array:
        """Return the log of compute over the most known, (B,); zero within it or where none is."""
        if not self.most_compute:
            return np.zeros(len(rows))
        return np.maximum(np.log(compute_of(rows) / self.most_compute), 0.0)


def compute_of(rows: Sequence[Config]) -> Array:
    """Return 6 N D of configurations, FLOP."""
    return np.array([FLOP_PER_PARAMETER_TOKEN * size_of(row) * worth_of(row) for row in rows])
