"""The response surface: a Chinchilla law under a bowl in learning rate and batch.

    loss = a n^-alpha + b n^gamma D^-beta + c + exp(height) * Q(log lr - u, log batch - v)
    n    = N exp(-w max(0, log(d_ff / 4 d_model))^2)

Q is a quartic without constant and linear terms; height, u and v are affine in log n and log D. n
is the effective size: feed-forward layers wider than four times the model cost parameters that give
little (Kaplan et al. 2020, figure 5: flat up to a ratio of 4, then rising). gamma lets the data
term depend on size. With gamma = w = 0 and Q = 0 this is Chinchilla. The network adds small
corrections to the local coefficients (level, height, u, v and Q), so the form extrapolates in N and
D as its few global numbers do.

Each optimizer has offsets of its own to level, height and u, drawn to zero: they are what carries
over between its sizes. How the surface is fitted: `train.response_surface`.

Legend: B runs (or M members by B runs), K local coefficients, O optimizers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np

from ncpl.laws.chinchilla import Chinchilla
from ncpl.model.arrays import Array, integers, module_of
from ncpl.model.inputs import BATCH, DATA, PLACE, RATE, RATIO, SIZE

POWERS = tuple((i, j) for i in range(5) for j in range(5) if 2 <= i + j <= 4)
LOCAL = ("level", "height", "u", "v", *(f"q{i}{j}" for i, j in POWERS))
K = len(LOCAL)
CORRECTION_SCALE = (0.01, 0.2, 0.2, 0.2, *(0.004 / 2 ** (i + j - 2) for i, j in POWERS))
"""Size of one unit of the network's correction to each local coefficient."""
# Start: a Chinchilla law with the exponents of the public fits, in the table's coordinates.
START_BASE = (0.15, math.log(0.13), -1.25, math.log(0.33), 0.9, 0.0, math.log(0.3))
# Start: the published Step Law (arXiv 2503.04715), lr ~ N^-0.713 D^0.307, batch ~ D^0.571, over a
# round bowl; rows height, u, v; columns 1, log N, log D in the table's coordinates.
START_AFFINE = ((0.0, 0.0, 0.0), (0.0, -0.713, 0.307), (0.0, 0.0, 0.571))
START_POWERS = tuple(0.02 if power in ((2, 0), (0, 2)) else 0.0 for power in POWERS)
OFFSET_SCALE = (0.02, 0.3, 0.3)
"""Size of one unit of an optimizer's offset to level (nats), height and u (logs)."""
REACH = 3.0
"""Distance to the optimum, in logs, that distances bend towards."""
MARGIN = 0.5
"""How far beyond the distances of training runs, in logs, the bowl still rises."""
SINK = 0.02
"""Most that the bowl takes from the level, nats at a height of one."""


@dataclass(frozen=True)
class Surface:
    """The global numbers of the surface."""

    base: Array
    """(7,) log of the model term and its exponent, of the data term and its exponent; c; gamma;
    log w."""
    affine: Array
    """(3, 3) rows height, u, v; columns 1, log N, log D."""
    powers: Array
    """Coefficients of Q, by POWERS."""
    offsets: Array
    """(O, 3) of each optimizer, in units of OFFSET_SCALE."""
    start: Array
    """(7,) what `base` is drawn to."""
    ffn_range: Array
    """(2,) scaled feed-forward ratios beyond which the discount stays as it is at the border."""
    nearest: Array
    """(2,) smallest distances of training runs to the best learning rate and batch."""
    farthest: Array
    """(2,) largest ones."""
    lowest: Array
    """What the best tenth of training runs lies above the level, nats: where the bowl has its
    bottom is not always known, since no run need have been there."""

    @classmethod
    def initial(cls, n_optimizers: int) -> Self:
        """Return the surface a fit begins with, in single precision."""
        base, affine, powers = (
            np.array(values, dtype=np.float32)
            for values in (START_BASE, START_AFFINE, START_POWERS)
        )
        offsets = np.zeros((n_optimizers, len(OFFSET_SCALE)), dtype=np.float32)
        ffn_range = np.array([-np.inf, np.inf], dtype=np.float32)
        nearest, farthest = (np.full(2, sign * np.inf, dtype=np.float32) for sign in (-1, 1))
        lowest = np.zeros((), dtype=np.float32)
        return cls(base, affine, powers, offsets, base.copy(), ffn_range, nearest, farthest, lowest)

    @classmethod
    def of_state(cls, state: Mapping[str, Array]) -> Self:
        """Return the surface of named arrays.

        Raises KeyError where one is missing, ValueError where one has another shape.
        """
        own = {field.name: state[field.name] for field in fields(cls)}
        for name, array in cls.initial(len(own["offsets"])).state().items():
            if own[name].shape != array.shape:
                raise ValueError(f"{name} has the shape {own[name].shape}, expected {array.shape}")
        return cls(**own)

    def state(self) -> dict[str, Array]:
        """Return every array by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def map(self, change: Callable[[Array], Array]) -> Self:
        """Return the surface with each array changed."""
        return type(self)(**{name: change(array) for name, array in self.state().items()})

    @property
    def n_optimizers(self) -> int:
        """Return how many optimizers it knows."""
        return len(self.offsets)

    def flattened(self, law: Chinchilla) -> Self:
        """Return the plain law as a surface: no interaction, no discount, no bowl."""
        xp = module_of(self.base)
        model = math.log(law.a * 250**-law.alpha), math.log(law.alpha)
        data = math.log(law.b * 15**-law.beta), math.log(law.beta)
        base = xp.asarray([*model, *data, law.c, 0.0, -30.0], dtype=self.base.dtype)
        zeros = {
            name: xp.zeros_like(getattr(self, name))
            for name in ("affine", "powers", "offsets", "lowest")
        }
        return replace(self, base=base, **zeros)

    def effective_size(self, law_B6: Array) -> Array:
        """Return scaled log n (B): log N less the discount for wide feed-forward layers."""
        xp = module_of(law_B6)
        ratio = xp.nan_to_num(law_B6[..., RATIO])
        excess = xp.maximum(xp.minimum(ratio, self.ffn_range[1]), self.ffn_range[0])
        return law_B6[..., SIZE] - xp.exp(self.base[6]) * xp.clip(excess, 0.0, None) ** 2

    def level(self, n: Array, d: Array) -> Array:
        """Return the loss at the best learning rate and batch size (B) at scaled sizes and data."""
        xp = module_of(n)
        model, alpha, data, beta, c, gamma = (self.base[i] for i in range(6))
        return xp.exp(model - xp.exp(alpha) * n) + xp.exp(data - xp.exp(beta) * d + gamma * n) + c

    def coefficients(self, law_B6: Array) -> Array:
        """Return the local coefficients (B, K) at each run's size and data."""
        xp = module_of(law_B6)
        n, d = self.effective_size(law_B6), law_B6[..., DATA]
        level, height, u = self.offsets_of(law_B6[..., PLACE])
        affine = xp.stack([xp.ones_like(n), n, d], axis=-1) @ self.affine.T
        first = [self.level(n, d) + level, affine[..., 0] + height, affine[..., 1] + u]
        powers = xp.broadcast_to(self.powers, (*n.shape, len(POWERS)))
        own = xp.stack([*first, affine[..., 2]], axis=-1)
        return xp.concatenate([own, powers], axis=-1)

    def offsets_of(self, place_B: Array) -> tuple[Array, Array, Array]:
        """Return each run's offsets to level, height and u (B); zero for an unknown optimizer."""
        xp = module_of(place_B)
        unknown = xp.zeros((1, len(OFFSET_SCALE)), dtype=self.offsets.dtype)
        table = xp.concatenate([self.offsets, unknown], axis=0)
        own = table[integers(xp.nan_to_num(place_B, nan=float(self.n_optimizers)))]
        level, height, u = (own[..., i] * scale for i, scale in enumerate(OFFSET_SCALE))
        return level, height, u

    def value(self, coefficients_BK: Array, law_B6: Array, *, stops: bool = True) -> Array:
        """Return losses (B), nats. A missing learning rate or batch counts as the best one.

        A quartic runs away where no run lies: distances bend towards REACH, and beyond those of the
        training runs they end within MARGIN; with `stops` what the bowl takes from the level ends
        at SINK.
        """
        xp = module_of(law_B6)
        away_B2 = distances(coefficients_BK, law_B6)
        seen_B2 = xp.minimum(xp.maximum(away_B2, self.nearest), self.farthest)
        beyond_B2 = MARGIN * xp.tanh((away_B2 - seen_B2) / MARGIN)
        bent_B2 = REACH * xp.tanh((seen_B2 + beyond_B2) / REACH)
        x, y = (powers_of(bent_B2[..., i]) for i in (0, 1))
        bowl = sum(coefficients_BK[..., 4 + k] * x[i] * y[j] for k, (i, j) in enumerate(POWERS))
        if stops:
            bowl = xp.where(bowl > 0, bowl, SINK * xp.expm1(xp.clip(bowl, None, 0.0) / SINK))
        return coefficients_BK[..., 0] + xp.exp(coefficients_BK[..., 1]) * bowl

    def set_seen(self, law_B6: Array, loss_B: Array) -> Self:
        """Return the surface that knows where these training runs lie: distances and level."""
        xp = module_of(law_B6)
        coefficients_BK = self.coefficients(law_B6)
        away_B2 = distances(coefficients_BK, law_B6)
        return replace(
            self,
            nearest=xp.amin(away_B2, axis=0),
            farthest=xp.amax(away_B2, axis=0),
            lowest=xp.quantile(loss_B - coefficients_BK[:, 0], 0.1),
        )


def distances(coefficients_BK: Array, law_B6: Array) -> Array:
    """Return log lr - u and log batch - v (B, 2); zero where the configuration does not say."""
    own = law_B6[..., RATE : BATCH + 1]
    return module_of(law_B6).nan_to_num(own - coefficients_BK[..., 2:4])


def powers_of(x: Array) -> list[Array]:
    """Return the powers 0 to 4 of numbers."""
    square = x * x
    return [module_of(x).ones_like(x), x, square, square * x, square * square]
