"""The law of a family of comparable losses: size, data, recipe, and what tells settings apart.

L = exp(log_a - alpha n) + exp(log_b - beta d + gamma n) + E, n = log(N / 250M), d = log(D / 15B),
and above it bowls of the learning rate and the batch about an optimum that moves with size and
data, slopes in further fields, and an effect of each optimizer, schedule and model family. Every
number of it is a family's own; what they are like is what a population knows.

Legend: S parameter vectors, B runs, P parameters.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from ncpl.data.fields import Config
from ncpl.data.sizes import RATE_LEFT, useful_size_of, worth_of
from ncpl.model.law_inputs import (
    BATCH_REFERENCE,
    D_REFERENCE,
    N_REFERENCE,
    PLACES,
    RATE_REFERENCE,
    Array,
    fewness,
    habit_of,
    logs,
    nearby,
    numbers,
)

KNEE = 1.5
"""Distance from the best learning rate or batch, in log units, beyond which loss grows in
proportion to the distance and no longer to its square."""
LEAST_OFF_HABIT = 0.5
"""Distance from its rule, in log learning rate, up to which a run follows it."""
USUAL_N, USUAL_D, USUAL_BATCH = -0.4, 0.05, 0.3
"""How the best learning rate usually goes with size, data and batch, in logs."""
LAW = ("log_a", "log_alpha", "log_b", "log_beta", "log_floor", "gamma")
RATE = ("rate", "log_rate_curve", "rate_n", "rate_d", "rate_batch")
BATCH = ("batch", "log_batch_curve", "batch_d")
BENDS = ("size_bend", "data_bend")
SLOPES = (
    "weight_decay", "warmup", "decay", "experts", "experts_n", "shape", "aspect", "log_length",
    "rate_left", "few",
)  # fmt: skip
OFF_LAW = tuple(f"off_n{n:+g}_d{d:+g}" for n, d in PLACES)
"""How far losses lie off the law about each place in size and data, nats."""
BASE = (*LAW, *RATE, *BATCH, *BENDS, *SLOPES, *OFF_LAW)
KINDS = ("optimizer", "schedule", "model_family", "precision")
"""Named choices that have an effect of their own: on the level, and on the best learning rate."""
USUAL = {"optimizer": "adamw", "schedule": "cosine"}
"""The value of a choice the law is written for; others are told from it."""


@dataclass(frozen=True)
class Effects:
    """The named choices a family varies, in order; each has two parameters beside the base ones."""

    names: tuple[tuple[str, str], ...] = ()
    """(kind, value), the reference value of each kind left out."""
    references: Mapping[str, str] = field(default_factory=dict)
    """Kind -> the value that others are told from; a kind no run states has none."""
    habit: tuple[float, float, float] | None = None
    """Level, and slopes in n and d, of the rule by which the family sets its learning rate."""

    @property
    def parameters(self) -> tuple[str, ...]:
        """Return the names of all parameters in order."""
        own = [f"{what}:{kind}={value}" for kind, value in self.names for what in ("level", "rate")]
        return (*BASE, *own)

    @classmethod
    def of(cls, rows: Sequence[Config]) -> Effects:
        """Return the choices that differ among configurations, or differ from the usual one."""
        references: dict[str, str] = {}
        for kind in KINDS:
            counts = Counter(str(row[kind]) for row in rows if row.get(kind) is not None)
            usual = USUAL.get(kind)
            if usual is not None and (usual in counts or kind == "optimizer"):
                references[kind] = usual
            elif counts:
                references[kind] = max(sorted(counts), key=lambda value: counts[value])
        return cls((), references, habit_of(rows)).with_choices(rows)

    def with_choices(self, rows: Sequence[Config]) -> Effects:
        """Return the effects with those further ones that these configurations need."""
        names = list(self.names)
        for kind, reference in self.references.items():
            values = {str(row[kind]) for row in rows if row.get(kind) is not None}
            new = values - {reference} - {value for of, value in names if of == kind}
            names += [(kind, value) for value in sorted(new)]
        return replace(self, names=tuple(names))


@dataclass(frozen=True)
class Design:
    """What the law reads of B runs; zero where a run does not state it."""

    n: Array
    d: Array
    rate: Array
    """log(learning rate / 2e-3)."""
    has_rate: Array
    batch: Array
    has_batch: Array
    slopes: Array
    """(B, slopes and places off the law)."""
    effects: Array
    """(B, effects), 1 where the run has the choice."""

    def __len__(self) -> int:
        """Return the number of runs."""
        return len(self.n)

    @classmethod
    def of(cls, rows: Sequence[Config], effects: Effects) -> Design:
        """Return the inputs of derived configurations; size and data must be there."""
        size = np.array([useful_size_of(row) for row in rows], dtype=np.float64)
        data = np.array([worth_of(row) for row in rows], dtype=np.float64)
        rate = logs(rows, "learning_rate", RATE_REFERENCE)
        batch = logs(rows, "batch_tokens", BATCH_REFERENCE)
        n, d = np.log(size / N_REFERENCE), np.log(data / D_REFERENCE)
        has_rate = np.isfinite(rate)
        if effects.habit is not None:  # what follows the family's own rule counts as well chosen
            level, per_n, per_d = effects.habit
            off = rate - (level + per_n * n + per_d * d)
            rate = off + USUAL_N * n + USUAL_D * d + USUAL_BATCH * np.nan_to_num(batch)
            has_rate &= np.abs(np.nan_to_num(off)) > LEAST_OFF_HABIT
        experts = np.nan_to_num(logs(rows, "n_experts", 1.0))
        width, depth = logs(rows, "d_model", 1.0), logs(rows, "n_layers", 1.0)
        slopes = np.column_stack(
            [
                np.nan_to_num(np.clip(logs(rows, "weight_decay", 0.1), -3, 3)),
                np.nan_to_num(numbers(rows, "warmup_frac") - 0.05),
                np.nan_to_num(numbers(rows, "decay_frac") - 1.0),
                experts,
                experts * n,
                np.nan_to_num(np.clip(logs(rows, "ffn_ratio", 4.0), -2, 2)),
                np.nan_to_num(np.clip(width - depth - math.log(64), -2, 2)),
                np.nan_to_num(logs(rows, "sequence_length", 2048.0)),
                np.nan_to_num(numbers(rows, RATE_LEFT)),
                fewness(rows),
                nearby(n, d),
            ]
        )
        has = np.array(
            [[float(str(row.get(kind)) == value) for kind, value in effects.names] for row in rows]
        ).reshape(len(rows), len(effects.names))
        return cls(
            n,
            d,
            np.nan_to_num(rate),
            has_rate.astype(np.float64),
            np.nan_to_num(batch),
            np.isfinite(batch).astype(np.float64),
            slopes,
            has,
        )

    def take(self, at: npt.NDArray[np.int64]) -> Design:
        """Return the runs at these places."""
        return Design(**{name: values[at] for name, values in vars(self).items()})


def bowl(x: Array) -> tuple[Array, Array]:
    """Return a bowl, x^2 near its bottom and straight beyond the knee, and its slope."""
    root = np.sqrt(1 + np.square(x / KNEE))
    return 2 * KNEE**2 * (root - 1), 2 * x / root


@dataclass(frozen=True)
class Evaluated:
    """Losses (S, B) in nats and their derivatives (S, B, P)."""

    loss: Array
    slope: Array


PLACE: Mapping[str, int] = {name: i for i, name in enumerate(BASE)}
HIGHEST = 8.0
"""Largest exponent a step of a fit may visit."""


def losses(theta_SP: Array, x: Design) -> Array:
    """Return losses (S, B) of B runs under S parameter vectors, nats per token."""
    return evaluate(theta_SP, x, derivatives=False).loss


def evaluate(theta_SP: Array, x: Design, *, derivatives: bool = True) -> Evaluated:
    """Return losses of B runs under S parameter vectors, with derivatives unless not asked for."""
    at = {name: theta_SP[:, i, None] for name, i in PLACE.items()}
    own = theta_SP[:, len(BASE) :]
    level_SB = own[:, 0::2] @ x.effects.T
    moved_SB = own[:, 1::2] @ x.effects.T
    alpha, beta = np.exp(np.clip(at["log_alpha"], -6, 2)), np.exp(np.clip(at["log_beta"], -6, 2))
    model = np.exp(np.clip(at["log_a"] - alpha * x.n, -20, HIGHEST))
    data = np.exp(np.clip(at["log_b"] - beta * x.d + at["gamma"] * x.n, -20, HIGHEST))
    floor = np.exp(np.clip(at["log_floor"], -10, 3))
    off = (
        x.rate - at["rate"] - moved_SB - at["rate_n"] * x.n - at["rate_d"] * x.d
        - at["rate_batch"] * x.batch
    ) * x.has_rate  # fmt: skip
    off_batch = (x.batch - at["batch"] - at["batch_d"] * x.d) * x.has_batch
    rise, rise_slope = bowl(off)
    batch_rise, batch_slope = bowl(off_batch)
    curve = np.exp(np.clip(at["log_rate_curve"], -12, 1))
    batch_curve = np.exp(np.clip(at["log_batch_curve"], -12, 1))
    bends = np.stack([np.square(x.n) / 10, np.square(x.d) / 10])
    loss = (
        model + data + floor + curve * rise + batch_curve * batch_rise + level_SB
        + at["size_bend"] * bends[0] + at["data_bend"] * bends[1]
        + theta_SP[:, PLACE[SLOPES[0]] : len(BASE)] @ x.slopes.T
    )  # fmt: skip
    if not derivatives:
        return Evaluated(loss, np.empty((*loss.shape, 0)))
    slope = np.empty((*loss.shape, theta_SP.shape[1]))
    pull = curve * rise_slope * x.has_rate
    pull_batch = batch_curve * batch_slope * x.has_batch
    ones = np.ones_like(loss)
    for name, values in {
        "log_a": model,
        "log_alpha": -model * alpha * x.n,
        "log_b": data,
        "log_beta": -data * beta * x.d,
        "log_floor": floor * ones,
        "gamma": data * x.n,
        "rate": -pull,
        "log_rate_curve": curve * rise,
        "rate_n": -pull * x.n,
        "rate_d": -pull * x.d,
        "rate_batch": -pull * x.batch,
        "batch": -pull_batch,
        "log_batch_curve": batch_curve * batch_rise,
        "batch_d": -pull_batch * x.d,
        "size_bend": bends[0] * ones,
        "data_bend": bends[1] * ones,
    }.items():
        slope[:, :, PLACE[name]] = values
    slope[:, :, PLACE[SLOPES[0]] : len(BASE)] = x.slopes
    slope[:, :, len(BASE) :: 2] = x.effects
    slope[:, :, len(BASE) + 1 :: 2] = -pull[:, :, None] * x.effects
    return Evaluated(loss, slope)


def optimum_of(theta_P: Array, params: float, tokens: float) -> tuple[float, float]:
    """Return the best learning rate and batch in tokens of a size and data, by one law."""
    n, d = math.log(params / N_REFERENCE), math.log(tokens / D_REFERENCE)
    own = {name: float(theta_P[i]) for name, i in PLACE.items()}
    batch = own["batch"] + own["batch_d"] * d
    rate = own["rate"] + own["rate_n"] * n + own["rate_d"] * d + own["rate_batch"] * batch
    return RATE_REFERENCE * math.exp(rate), BATCH_REFERENCE * math.exp(batch)
