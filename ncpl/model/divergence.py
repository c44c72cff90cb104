"""The risk that a run diverges: a logistic law around the best learning rate and batch.

    log odds = w . (1, n, d, x, y, x^2, y^2, xy, recipe...) + one offset an optimizer

n and d are scaled logs of size and data, x and y the distances of learning rate and batch to the
surface's optimum, the recipe the numbers the Gaussian process compares. No loss regressor sees a
run that diverged; this law does. How it is fitted: `train.divergence`.

Legend: n runs, F features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ncpl.model.arrays import Array, module_of
from ncpl.model.gaussian_process import Features, Process
from ncpl.model.inputs import Inputs
from ncpl.model.response_surface import Surface


@dataclass(frozen=True)
class Risk:
    """Weights of the logistic law; needs the process for its features."""

    weights: Array
    offsets: Array
    """One an optimizer; the last, of any other, is zero."""

    def state(self) -> dict[str, Array]:
        """Return every array by name."""
        return {"weights": self.weights, "offsets": self.offsets}

    def log_odds(self, runs: Features) -> Array:
        """Return log odds of divergence (n,)."""
        xp = module_of(runs.x)
        x, y = runs.x[:, 2], runs.x[:, 3]
        more = xp.stack([xp.ones_like(x), x**2, y**2, x * y], axis=1)
        # Place -1, an optimizer training has not seen, takes the last offset.
        return xp.concatenate([runs.x, more], axis=1) @ self.weights + self.offsets[runs.place]

    def __call__(self, inputs: Inputs, process: Process, surface: Surface) -> Array:
        """Return probabilities of divergence (n,)."""
        odds = self.log_odds(process.features(inputs, surface))
        return 0.5 * (1 + np.tanh(odds / 2))  # the logistic function; it can not overflow
