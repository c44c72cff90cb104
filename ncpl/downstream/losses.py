"""Losses of models that were not trained yet, from a law of size and data in each family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ncpl.downstream.table import Array, TaskTable
from ncpl.errors import ConfigError
from ncpl.laws import chinchilla
from ncpl.laws.base import Law, LawFit
from ncpl.laws.fitting import fit_law
from ncpl.laws.overtraining import LAW as OVERTRAINING
from ncpl.laws.overtraining import inputs_from

FEWEST_POINTS = 6
N_STARTS = 8
Inputs = Mapping[str, Array]


@dataclass(frozen=True)
class LossLaws:
    """One law a family and loss; what a table lacks can not be predicted and stays NaN."""

    fits: Mapping[tuple[str, str], LawFit]
    """(family, name of the loss) -> fitted law."""

    @classmethod
    def fit(cls, table: TaskTable) -> LossLaws:
        """Return the laws of every family with enough models and every loss of the table.

        The over-training law where sizes are tied to data by few ratios, as its paper has it;
        Chinchilla's form elsewhere. Raises ConfigError where no family has enough models.
        """
        fits = {}
        for family in sorted(set(table.family)):
            mine = table.take(np.array([f == family for f in table.family]))
            usable = np.isfinite(mine.params) & np.isfinite(mine.tokens)
            for name, loss in mine.losses.items():
                keep = usable & np.isfinite(loss)
                if keep.sum() >= FEWEST_POINTS:
                    law = law_for(mine.name)
                    inputs = inputs_for(law, mine.params[keep], mine.tokens[keep])
                    fits[family, name] = fit_law(law, inputs, loss[keep], n_starts=N_STARTS)
        if not fits:
            raise ConfigError(
                f"{table.name}: no family has {FEWEST_POINTS} models with size, tokens and loss; "
                "give the loss of the model to be predicted"
            )
        return cls(fits)

    def predict(self, table: TaskTable) -> TaskTable:
        """Return the table with its losses replaced by what the laws say."""
        losses = {}
        for name in dict.fromkeys(name for _, name in self.fits):
            values = np.full(len(table), np.nan)
            for i, family in enumerate(table.family):
                fit = self.fits.get((family, name))
                if fit is not None:
                    at = slice(i, i + 1)
                    inputs = inputs_for(fit.law, table.params[at], table.tokens[at])
                    values[i] = fit.predict(inputs)[0]
            losses[name] = values
        return replace(table, losses=losses)


def law_for(source: str) -> Law:
    """Return the law of size and data that fits a source's losses."""
    return OVERTRAINING if source == "overtraining" else chinchilla.LAW


def inputs_for(law: Law, params: Array, tokens: Array) -> Inputs:
    """Return a law's inputs from counts of parameters and tokens."""
    if law is OVERTRAINING:
        return inputs_from(params, tokens)
    return {"params_non_embedding": params, "train_tokens": tokens}
