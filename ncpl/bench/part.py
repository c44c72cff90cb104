"""One part of one family's runs, as the columns that laws and baselines read."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ncpl.data.snapshot import Runs, sizes

Array = npt.NDArray[np.float64]
HYPER_FIELDS = (
    "weight_decay",
    "adam_beta1",
    "adam_beta2",
    "adam_epsilon",
    "grad_clip_norm",
    "momentum",
    "warmup_steps",
    "min_learning_rate",
)
"""Beyond size, data, learning rate and batch: read by trees and processes where they vary."""


@dataclass(frozen=True)
class Part:
    """Runs of one comparable-loss family and one split, all with a loss."""

    runs: Runs

    def __len__(self) -> int:
        """Return the number of runs."""
        return len(self.runs)

    @property
    def loss(self) -> Array:
        """Return measured final losses, nats per token."""
        return self.runs.loss

    @cached_property
    def sizes(self) -> tuple[Array, Array]:
        """Return non-embedding parameters and nominal training tokens."""
        return sizes(self.runs)

    def column(self, name: str) -> Array:
        """Return one numeric field; NaN where the source does not say."""
        return np.array(
            [
                float(value) if isinstance(value, int | float) else np.nan
                for value in (config.get(name) for config in self.runs.configs)
            ]
        )

    @cached_property
    def learning_rate(self) -> Array:
        """Return peak learning rates."""
        return self.column("learning_rate")

    @cached_property
    def batch_tokens(self) -> Array:
        """Return tokens per step."""
        return self.column("batch_size_sequences") * self.column("sequence_length")

    @cached_property
    def optimizer(self) -> list[str]:
        """Return optimizer names; empty where the source does not say."""
        return [str(config.get("optimizer") or "") for config in self.runs.configs]

    def take(self, keep: npt.NDArray[np.bool_]) -> Part:
        """Return the runs where `keep` is true."""
        return Part(self.runs.take(keep))

    @cached_property
    def has_recipe(self) -> npt.NDArray[np.bool_]:
        """Return which runs state size, data, learning rate and batch."""
        n, d = self.sizes
        columns: list[Any] = [n, d, self.learning_rate, self.batch_tokens]
        return np.asarray(np.all([np.isfinite(c) & (c > 0) for c in columns], axis=0))
