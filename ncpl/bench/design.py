"""Feature matrices for trees and processes, fixed on the training rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ncpl.bench.part import HYPER_FIELDS, Part
from ncpl.laws import steplaw

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class DesignColumns:
    """Which columns there are; made from training rows, applied to any rows."""

    optimizers: tuple[str, ...]
    hyper: tuple[str, ...]
    median: dict[str, float]
    """Of the training rows, for silent fields (processes only; trees read NaN)."""
    median_rate: dict[str, float]
    """Median log learning rate of each optimizer in the training rows."""
    law: steplaw.StepLaw | None
    """Refitted on the training rows; None where groups are too small for it."""

    @classmethod
    def of(cls, train: Part) -> DesignColumns:
        """Return the design of these training rows: only fields that vary there."""
        hyper, median = [], {}
        for name in HYPER_FIELDS:
            values = train.column(name)
            known = values[np.isfinite(values)]
            if len(known) > len(values) / 2 and len(np.unique(known)) > 1:
                hyper.append(name)
                median[name] = float(np.median(_scaled(known)))
        optimizers = tuple(sorted(set(train.optimizer)))
        rate = np.log(train.learning_rate)
        named = np.array(train.optimizer)
        return cls(
            optimizers=optimizers,
            hyper=tuple(hyper),
            median=median,
            median_rate={o: float(np.nanmedian(rate[named == o])) for o in optimizers},
            law=refit_step_law(train) if len(optimizers) == 1 else None,
        )

    def base(self, part: Part) -> Array:
        """Return log N, log D, log lr, log batch: what every method sees, shape (n, 4)."""
        n, d = part.sizes
        return np.log(np.stack([n, d, part.learning_rate, part.batch_tokens], axis=1))

    def centred(self, part: Part) -> Array:
        """Return log lr and log batch relative to the best (or usual) ones, shape (n, 2)."""
        rate, batch = np.log(part.learning_rate), np.log(part.batch_tokens)
        if self.law is not None:
            best_rate, best_batch = self.law.optimum(*part.sizes)
            return np.stack([rate - np.log(best_rate), batch - np.log(best_batch)], axis=1)
        fallback = float(np.median(list(self.median_rate.values())))
        usual = np.array([self.median_rate.get(o, fallback) for o in part.optimizer])
        return np.stack([rate - usual, batch], axis=1)

    def hypers(self, part: Part, *, fill: bool) -> Array:
        """Return the other varying fields on a log scale where they span one, shape (n, h)."""
        columns = []
        for name in self.hyper:
            values = _scaled(part.column(name))
            columns.append(
                np.where(np.isfinite(values), values, self.median[name]) if fill else values
            )
        return np.stack(columns, axis=1) if columns else np.empty((len(part), 0))

    def one_hot(self, part: Part) -> Array:
        """Return one column an optimizer; none where there is only one, shape (n, k)."""
        if len(self.optimizers) < 2:
            return np.empty((len(part), 0))
        names = np.array(part.optimizer)
        return np.stack([(names == o).astype(np.float64) for o in self.optimizers], axis=1)

    def for_trees(self, part: Part, *, physics: bool) -> Array:
        """Return the tree's columns: base, optimizer, hypers, and with `physics` ratios of them."""
        base = self.base(part)
        codes = np.array(
            [self.optimizers.index(o) if o in self.optimizers else -1 for o in part.optimizer]
        )
        columns = [base, codes[:, None].astype(np.float64), self.hypers(part, fill=False)]
        if physics:
            n, d, rate, batch = base.T
            decay = np.log(np.maximum(part.column("weight_decay"), 1e-12))
            ratios = [d - n, rate - batch, d - batch, rate + d - batch, batch - rate - decay - d]
            if "warmup_steps" in self.hyper:
                ratios.append(part.column("warmup_steps") / np.exp(d - batch))
            columns += [self.centred(part), np.stack(ratios, axis=1)]
        return np.concatenate(columns, axis=1)

    def for_process(self, part: Part, *, centred: bool) -> Array:
        """Return the process's columns: size, data, rate, batch, hypers, one-hot optimizers."""
        base = self.base(part)
        recipe = self.centred(part) if centred else base[:, 2:]
        return np.concatenate(
            [base[:, :2], recipe, self.hypers(part, fill=True), self.one_hot(part)], axis=1
        )


def _scaled(values: Array) -> Array:
    return np.log(np.abs(values) + 1e-15)


def refit_step_law(train: Part) -> steplaw.StepLaw | None:
    """Return the Step Law of the training groups, or None where too few are large enough."""
    try:
        return steplaw.fit(
            *train.sizes, train.learning_rate, train.batch_tokens, train.loss, train.runs.group
        )
    except ValueError:
        return None
