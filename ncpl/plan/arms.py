"""Runs that a budget may buy, what is predicted of each, and what is known of each so far.

Legend: A arms, G shares of the grid, F features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ncpl.data.fields import FIELDS, Config, derive
from ncpl.data.sizes import FLOP_PER_PARAMETER_TOKEN
from ncpl.errors import ConfigError
from ncpl.model.intervals import Z90
from ncpl.model.predictor import Predictor

Array = npt.NDArray[np.float64]
GRID = np.concatenate([[0.02, 0.035, 0.05], np.linspace(0.075, 1.0, 38)])
"""Shares of a run at which predicted curves are kept."""
BLIND = frozenset({"train_steps", "train_tokens", "nominal_train_tokens", "batch_size_sequences"})
"""Fields that say what data and batch in tokens say already."""


@dataclass(frozen=True)
class Arms:
    """Candidate runs: what each costs and what a model predicts of it; losses in nats."""

    names: Sequence[str]
    rows: Sequence[Config]
    """Derived configurations."""
    flop: Array
    """(A,) of a whole run, 6 x parameters x tokens."""
    loss: Array
    """(A,) predicted final losses."""
    sd: Array
    """(A,) standard deviations of their errors."""
    curve: Array
    """(A, G) predicted losses along each run; NaN where a model knows no curve."""
    source: Sequence[str] = ()
    """Whose losses each is comparable with; none where nobody said."""

    def __len__(self) -> int:
        """Return the number of arms."""
        return len(self.rows)

    @classmethod
    def predicted(
        cls, bundle: Predictor, configs: Sequence[Mapping[str, Any]], names: Sequence[str] = ()
    ) -> Arms:
        """Return arms with what a bundle says of them; without names they are numbered.

        Raises ConfigError, naming the configuration, for one that the bundle refuses.
        """
        found = bundle.predict(list(configs))
        try:
            curve = np.asarray(bundle.curves(list(configs), GRID.tolist()), dtype=np.float64)
        except ConfigError:  # a community bundle knows final losses only
            curve = np.full((len(configs), len(GRID)), np.nan)
        rows = [derive(config) for config in configs]
        return cls(
            list(names) or [str(i) for i in range(1, len(rows) + 1)],
            rows,
            np.array([flop_of(row) for row in rows]),
            np.array([p.loss for p in found]),
            np.array([(p.high - p.low) / (2 * Z90) for p in found]),
            curve,
            [p.source for p in found],
        )

    def take(self, at: Sequence[int] | npt.NDArray[np.int64]) -> Arms:
        """Return the arms at these places."""
        places = list(at)
        return Arms(
            [self.names[i] for i in places],
            [self.rows[i] for i in places],
            self.flop[places],
            self.loss[places],
            self.sd[places],
            self.curve[places],
            [self.source[i] for i in places] if self.source else (),
        )

    def along(self, arm: int, share: Array) -> Array:
        """Return the predicted losses of one arm at shares of its run; NaN without a curve."""
        return np.asarray(np.interp(share, GRID, self.curve[arm]))

    @cached_property
    def features(self) -> Array:
        """Return what tells the arms apart, (A, F): numbers and names that differ, each over 0-1.

        A number that an arm does not state is in the middle.
        """
        columns: list[Array] = []
        for name, entry in FIELDS.items():
            values = [row.get(name) for row in self.rows]
            if name in BLIND or len({v for v in values if v is not None}) < 2:
                continue
            if entry.kind == "category":
                kinds = sorted({str(v) for v in values})
                columns += [np.array([float(str(v) == kind) for v in values]) for kind in kinds[1:]]
                continue
            columns.append(_scaled(values, is_log=entry.transform == "log"))
        return np.stack(columns, axis=1) if columns else np.zeros((len(self), 1))


def _scaled(values: Sequence[Any], *, is_log: bool) -> Array:
    number = np.array([np.nan if v is None else float(v) for v in values])
    if is_log:
        positive = number[number > 0]
        if not len(positive):
            return np.zeros(len(number))
        number = np.log(np.where(number > 0, number, np.where(number == 0, positive.min(), np.nan)))
    low, high = np.nanmin(number), np.nanmax(number)
    if not high > low:
        return np.zeros(len(number))
    return np.asarray(np.nan_to_num((number - low) / (high - low), nan=0.5))


def flop_of(row: Config) -> float:
    """Return 6 N D of a derived configuration, FLOP."""
    return FLOP_PER_PARAMETER_TOKEN * float(row["params_non_embedding"]) * float(row["data_tokens"])


@dataclass(frozen=True)
class Prefix:
    """Losses of one run so far, in order."""

    share: Array
    """Of the run, in (0, 1]."""
    loss: Array

    def until(self, share: float) -> Prefix:
        """Return the part up to a share of the run."""
        keep = self.share <= share + 1e-9
        return Prefix(self.share[keep], self.loss[keep])


NOTHING = Prefix(np.empty(0), np.empty(0))


@dataclass
class ArmsProgress:
    """What is known while a budget is spent."""

    arms: Arms
    budget: float
    """FLOP in all."""
    share: Array
    """(A,) how much of each run is done."""
    final: Array
    """(A,) final losses; NaN where a run is not finished."""
    prefix: list[Prefix]
    seed: int = 0
    """Of what a strategy draws at random."""
    cache: dict[Any, Any] = field(default_factory=dict)
    """What a strategy wants to keep between two questions."""

    @classmethod
    def start(cls, arms: Arms, budget: float, seed: int = 0) -> ArmsProgress:
        """Return the state before any run."""
        n = len(arms)
        return cls(arms, budget, np.zeros(n), np.full(n, np.nan), [NOTHING] * n, seed)

    @property
    def spent(self) -> float:
        """Return the FLOP spent so far."""
        return float(self.share @ self.arms.flop)

    @property
    def left(self) -> float:
        """Return the FLOP left, never below zero."""
        return max(self.budget - self.spent, 0.0)

    @property
    def finished(self) -> npt.NDArray[np.bool_]:
        """Return which arms have their final loss."""
        return np.isfinite(self.final)

    def cost(self, arm: int, until: float) -> float:
        """Return the FLOP from where a run stands to a share of it."""
        return max(until - float(self.share[arm]), 0.0) * float(self.arms.flop[arm])
