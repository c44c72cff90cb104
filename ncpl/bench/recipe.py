"""A recipe as columns: what trees, processes and structured fits of the board read.

The columns are chosen, centred and scaled on training rows, and applied to any rows.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ncpl.bench.part import HYPER_FIELDS, Part
from ncpl.laws import steplaw
from ncpl.laws.powerlines import timescale

Array = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
CLIP = 6.0
"""Standard deviations: a run far outside the training rows must not dominate."""
MAIN = ("learning_rate", "batch", "weight_decay", "timescale", "warmup")
MIN_KNOWN = 10


def _log(floor: float) -> Callable[[Array], Array]:
    return lambda v: np.log(np.maximum(np.abs(v), floor))


def _scaled(values: Array) -> Array:
    return np.log(np.abs(values) + 1e-15)


def _memory(beta: Array) -> Array:
    """Return the log of an average's memory in steps, 1 / (1 - beta)."""
    return -np.log(np.maximum(1 - beta, 1e-6))


HIDDEN: dict[str, Callable[[Array], Array]] = {
    "momentum": _memory,
    "decay_frac": lambda v: v,
    "block_size": _log(1e-30),
    "normalize_grads": lambda v: v,
    "partition_grads_into_blocks": lambda v: v,
    "preconditioner_init_scale": _log(1e-30),
    "preconditioner_lr": _log(1e-30),
    "preconditioner_update_probability": _log(1e-30),
    "update_prob_flat_start": _log(1e-30),
    "precondition_frequency": _log(1e-30),
    "shampoo_beta": _memory,
    "gamma": _log(1e-30),
    "muon_epsilon": _log(1e-30),
    "muon_to_adam_lr": _log(1e-30),
    "scion_epsilon": _log(1e-30),
    "scion_to_signum_lr": _log(1e-30),
}
"""Fields of single optimizers (`optimizer_extra`, momentum, decay) that some publications of these
runs leave out: two runs may differ in nothing else."""


def hidden_columns(part: Part) -> dict[str, Array]:
    """Return the hidden fields on their scales; NaN where a run has none."""
    rows = []
    for config in part.runs.configs:
        extra = config.get("optimizer_extra") or {}
        known = json.loads(extra) if isinstance(extra, str) else dict(extra)
        known["momentum"] = config.get("momentum")
        if config.get("decay_steps") and config.get("train_steps"):
            known["decay_frac"] = config["decay_steps"] / config["train_steps"]
        rows.append(known)
    columns = {}
    for name, scale in HIDDEN.items():
        values = [row.get(name) for row in rows]
        numbers = [float(v) if isinstance(v, int | float) else np.nan for v in values]
        columns[name] = scale(np.array(numbers))
    return columns


@dataclass(frozen=True)
class Recipe:
    """Which columns there are and how they are scaled; made from training rows."""

    law: steplaw.StepLaw | None
    """Where there is one optimizer: learning rate and batch are read relative to its optimum. None
    where groups are too small to refit it."""
    optimizers: tuple[str, ...]
    median_rate: dict[str, float]
    """Median log learning rate of each optimizer."""
    has_hidden: bool
    names: tuple[str, ...]
    """Of the standardized columns."""
    centre: Array
    spread: Array
    hyper: tuple[str, ...]
    """Fields that vary and that most runs state: columns of trees and processes."""
    median: dict[str, float]
    """Of these, scaled: for silent runs (processes only; trees read NaN)."""

    @classmethod
    def of(cls, train: Part, *, hidden: bool = False) -> Recipe:
        """Return the columns that vary in these rows."""
        optimizers = tuple(sorted(set(train.optimizer)))
        law = refit_step_law(train) if len(optimizers) == 1 else None
        names, centre, spread = [], [], []
        for name, values in _raw(train, law, hidden=hidden).items():
            known = values[np.isfinite(values)]
            if len(known) < MIN_KNOWN:
                continue
            middle = float(np.median(known))
            width = float((known - middle).std())
            if width > 1e-9:
                names.append(name)
                centre.append(middle)
                spread.append(width)
        median = {}
        for name in HYPER_FIELDS:
            values = train.column(name)
            known = values[np.isfinite(values)]
            if len(known) > len(values) / 2 and len(np.unique(known)) > 1:
                median[name] = float(np.median(_scaled(known)))
        rate, named = np.log(train.learning_rate), np.array(train.optimizer)
        return cls(
            law, optimizers, {o: float(np.nanmedian(rate[named == o])) for o in optimizers}, hidden,
            tuple(names), np.array(centre), np.array(spread), tuple(median), median,
        )  # fmt: skip

    def columns(self, part: Part) -> Array:
        """Return standardized columns, 0 where a run does not say, shape (n, F)."""
        raw = _raw(part, self.law, hidden=self.has_hidden)
        values = np.stack([raw[name] for name in self.names], axis=1)
        scaled = (values - self.centre) / self.spread
        return np.clip(np.where(np.isfinite(scaled), scaled, 0.0), -CLIP, CLIP)

    def kind(self, part: Part) -> Codes:
        """Return the code of each run's optimizer; -1 where training never saw it."""
        code = {name: i for i, name in enumerate(self.optimizers)}
        return np.array([code.get(name, -1) for name in part.optimizer], dtype=np.int64)

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
        is_it = self.kind(part)[:, None] == np.arange(len(self.optimizers))
        return np.asarray(is_it, dtype=np.float64)

    def for_trees(self, part: Part, *, physics: bool) -> Array:
        """Return the tree's columns: base, optimizer, hypers, and with `physics` ratios of them."""
        base = self.base(part)
        columns = [base, self.kind(part)[:, None].astype(np.float64), self.hypers(part, fill=False)]
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


def _raw(part: Part, law: steplaw.StepLaw | None, *, hidden: bool) -> dict[str, Array]:
    d = np.log(part.sizes[1])
    rate, batch = np.log(part.learning_rate), np.log(part.batch_tokens)
    decay = np.maximum(part.column("weight_decay"), 1e-3)
    best_rate, best_batch = (0.0, 0.0) if law is None else np.log(law.optimum(*part.sizes))
    share = part.column("warmup_steps") / np.exp(d - batch)
    columns = {
        "learning_rate": rate - best_rate,
        "batch": batch - best_batch,
        "weight_decay": np.log(decay),
        "timescale": np.log(timescale(part.batch_tokens, part.learning_rate, decay, part.sizes[1])),
        "beta1": _memory(part.column("adam_beta1")),
        "beta2": _memory(part.column("adam_beta2")),
        "warmup": np.log(share + 1e-3),
        "min_rate": np.log(part.column("min_learning_rate") / part.learning_rate + 1e-3),
        "clip": _log(0.05)(part.column("grad_clip_norm")),
        "epsilon": _log(1e-30)(part.column("adam_epsilon")),
    }
    return columns | hidden_columns(part) if hidden else columns


def refit_step_law(train: Part) -> steplaw.StepLaw | None:
    """Return the Step Law of the training groups, or None where too few are large enough."""
    try:
        return steplaw.fit(
            *train.sizes, train.learning_rate, train.batch_tokens, train.loss, train.runs.group
        )
    except ValueError:
        return None
