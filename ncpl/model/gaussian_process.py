"""A Gaussian process on what the surface leaves over: the member that remembers single runs.

    kernel = s^2 Matern(x, x') + drift + same optimizer * (t^2 Matern(x / 1.5, x' / 1.5) + drift)
             + u^2 same optimizer, size and data

x holds size, data, the distances to the surface's optimum and every other recipe number as the
encoder gives it (0, its usual value, where absent). The drift is linear in log N and log D. Size
and data stop at the border of the training runs: beyond it the surface alone extrapolates. Whether
what the process says of a typical run of the largest size holds for larger ones, or only how runs
differ from it, is chosen by left-out sizes (`carries_level`). The last term is what the runs of one
cell share and no other cell can know: without it single cells bend what is shared. Where all
training runs have one optimizer, the terms of one optimizer are left out. How the process is
fitted: `train.gaussian_process`.

For predictions, whatever in the mean does not depend on the run asked for is summed once, by
optimizer and by cell; only Matern's part is left for each pair, in single precision, and summed in
double: the same to 1e-6 nats.

Legend: n training runs, m runs asked for, B runs, C cells, F features.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np

from ncpl.model.arrays import Array, integers, module_of
from ncpl.model.encoder import Encoder
from ncpl.model.inputs import DATA, PLACE, SIZE, Inputs
from ncpl.model.response_surface import Surface, distances
from ncpl.model.seen import LAW_FIELDS

REACH = 4.0
"""Standard deviations at which a recipe number stops: further out it says the same."""
WIDER = 1.5
"""Length scales of one optimizer's own part, as a multiple of the shared ones."""
FADE = 0.7
"""Logs beyond the largest training size over which what is said beside the surface falls to 1/e:
runs at the border tell less and less of larger ones, and their noise would be carried with them."""
DRIFT = 0.3
"""Prior size of the shared drift, in units of the residual."""


class Features(NamedTuple):
    """What the kernel compares; the same for training runs and for those asked for."""

    x: Array
    """(n, F)"""
    drift: Array
    """(n, 2) scaled log N and log D."""
    place: Array
    """(n,) place of the optimizer; -1 for one training has not seen."""
    sizes: Array
    """(n, 2) scaled log N and log D as they are: `drift` stops at the border."""

    def take(self, rows: Array) -> Features:
        """Return some runs."""
        return Features(*(column[rows] for column in self))


@dataclass(frozen=True)
class Scales:
    """How features are made of inputs: fixed by the training runs."""

    columns: Array
    """Columns of the encoded numbers that are compared."""
    spread: Array
    """Standard deviation of each."""
    low: Array
    """(2,) smallest scaled log N and log D of the training runs."""
    high: Array

    def features(self, inputs: Inputs, surface: Surface) -> Features:
        """Return the features of encoded runs, in double precision."""
        free_B2 = inputs.law[:, SIZE : DATA + 1].astype(np.float64)
        sizes_B2 = np.clip(free_B2, self.low, self.high)
        away_B2 = distances(surface.coefficients(inputs.law), inputs.law).astype(np.float64)
        given = inputs.codes[:, self.columns] == 1
        recipe = inputs.numbers[:, self.columns].astype(np.float64) / self.spread
        x = np.concatenate([sizes_B2, away_B2, recipe.clip(-REACH, REACH) * given], axis=1)
        place = integers(np.nan_to_num(inputs.law[:, PLACE], nan=-1.0))
        return Features(x, sizes_B2, place, free_B2)


def columns_of(encoder: Encoder) -> list[int]:
    """Return the columns of encoded numbers that are compared: the recipe outside the surface."""
    recipe = range(len(encoder.context), len(encoder.fields))
    return [j for j in recipe if encoder.fields[j] not in LAW_FIELDS]


@dataclass(frozen=True)
class Process(Scales):
    """The fitted process of one family."""

    logs: Array
    """Logs of the length scales (F), then of the shared scale, an optimizer's own scale, slope and
    level, a cell's level, and the noise."""
    unit: Array
    """Nats of one unit of the residual."""
    x: Array
    drift: Array
    place: Array
    solved: Array
    """(n,) the covariance's inverse times the residuals of the training runs."""
    typical: Array
    """(F - 2,) features of a typical run, size and data left out."""
    carries_level: Array
    """Whether the level at the largest size holds beyond it."""
    fades: Array
    """Whether what is said beside the surface fades beyond the largest size: see `kept`."""

    @classmethod
    def of_state(cls, state: Mapping[str, Array]) -> Self:
        """Return the process of named arrays.

        Raises KeyError where one is missing, ValueError where their shapes do not agree.
        """
        found = cls(**{field.name: state[field.name] for field in fields(cls)})
        n_runs, n_features = len(found.solved), 4 + len(found.columns)
        shapes = {
            "spread": (n_features - 4,), "low": (2,), "high": (2,), "logs": (n_features + 6,),
            "x": (n_runs, n_features), "drift": (n_runs, 2), "place": (n_runs,),
            "typical": (n_features - 2,),
        }  # fmt: skip
        for name, shape in shapes.items():
            if state[name].shape != shape:
                raise ValueError(f"{name} has the shape {state[name].shape}, expected {shape}")
        return found

    def state(self) -> dict[str, Array]:
        """Return every array by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def kept(self, size_B: Array) -> Array:
        """Return the share (B) of what is said beside the surface that holds at a size."""
        beyond_B = np.maximum(size_B - self.high[0], 0.0) * bool(self.fades)
        return np.exp(-beyond_B / FADE).astype(np.float32)

    @property
    def has_own(self) -> bool:
        """Return whether training runs differ in their optimizer."""
        return bool((self.place != self.place[0]).any())

    @property
    def known(self) -> Features:
        """Return the features of the training runs: none lies beyond the border."""
        return Features(self.x, self.drift, self.place, self.drift)

    def nearest(self, inputs: Inputs, surface: Surface, count: int) -> tuple[Array, Array]:
        """Return the `count` training runs most like each run asked for, and how far they are.

        Places (B, count) and distances (B, count) in length scales of the kernel; runs of another
        optimizer come after all of the same one.
        """
        asked = self.features(inputs, surface)
        free = asked._replace(x=np.concatenate([asked.sizes, asked.x[:, 2:]], axis=1))  # as is
        far = scaled_distance(free, self.known, self.logs)
        other = asked.place[:, None] != self.place[None]
        order = np.argsort(far + 1e3 * other, axis=1, kind="stable")[:, :count]
        return order, np.take_along_axis(far, order, 1)

    def mean(self, inputs: Inputs, surface: Surface) -> Array:
        """Return what the surface leaves over (B,), nats, for encoded runs."""
        asked = self.features(inputs, surface)
        left = self.left_over(asked)
        beyond = asked.sizes[:, 0] > self.high[0]
        if not self.carries_level and beyond.any():
            some = asked.take(beyond)
            typical = np.broadcast_to(self.typical, (len(some.x), len(self.typical)))
            left[beyond] -= self.left_over(
                some._replace(x=np.concatenate([some.drift, typical], axis=1))
            )
        return (left * self.unit).astype(np.float32)

    def left_over(self, asked: Features) -> Array:
        """Return the mean at runs asked for (m,), in units of the residual."""
        sums = self.sums
        x_mF = asked.x / sums.length_F
        square_mn = (x_mF**2).sum(1)[:, None] + sums.square_n - 2 * x_mF @ sums.x_nF.T
        far_mn = np.sqrt(np.maximum(square_mn.astype(np.float32), 1e-12))
        left = matern(far_mn) @ sums.weight_n + asked.drift @ sums.drift_2 + sums.level
        for own in sums.own:
            rows = np.flatnonzero(asked.place == own.place)
            if len(rows):
                left[rows] += own.left_over(asked.take(rows), far_mn[rows, own.columns])
        return left

    @cached_property
    def sums(self) -> Sums:
        """Return what does not depend on the runs asked for; made once."""
        return Sums.of(self)


class Own(NamedTuple):
    """What the training runs of one optimizer say of others of it."""

    place: int
    columns: slice
    """Where they stand among the training runs, which are sorted by optimizer."""
    weight: Array
    drift_2: Array
    level: float
    cells_C2: Array
    weight_C: Array

    def left_over(self, asked: Features, far: Array) -> Array:
        """Return the mean at runs asked for, in units of the residual."""
        one_cell = (asked.sizes[:, None] == self.cells_C2).all(-1)
        by_size = asked.drift @ self.drift_2 + one_cell @ self.weight_C
        return matern(far / WIDER) @ self.weight + by_size + self.level


class Sums(NamedTuple):
    """Sums over the training runs, those of one optimizer side by side."""

    length_F: Array
    x_nF: Array
    square_n: Array
    weight_n: Array
    drift_2: Array
    level: float
    own: list[Own]

    @classmethod
    def of(cls, process: Process) -> Self:
        """Return the sums of a process."""
        order = np.argsort(process.place, kind="stable")
        known, solved = process.known.take(order), process.solved[order]
        n_features = known.x.shape[1]
        length_F = np.exp(process.logs[:n_features])
        scale, own_scale, slope, level, cell, _ = np.exp(process.logs[n_features:])
        own = []
        for place in np.unique(known.place).tolist() if process.has_own else []:
            at = np.flatnonzero(known.place == place)
            columns = slice(int(at[0]), int(at[-1]) + 1)
            mine = solved[columns]
            cells, cell_of = np.unique(known.sizes[columns], axis=0, return_inverse=True)
            own.append(
                Own(
                    place,
                    columns,
                    own_scale**2 * mine,
                    slope**2 * (known.drift[columns].T @ mine),
                    float(level**2 * mine.sum()),
                    cells,
                    np.bincount(cell_of.reshape(-1), cell**2 * mine, len(cells)),
                )
            )
        x_nF = known.x / length_F
        drift_2 = DRIFT**2 * (known.drift.T @ solved)
        total = float(DRIFT**2 * solved.sum())
        return cls(length_F, x_nF, (x_nF**2).sum(1), scale**2 * solved, drift_2, total, own)


def kernel(a: Features, b: Features, logs: Array, *, has_own: bool) -> Array:
    """Return the covariance (n, m) of two sets of runs, in units of the residual squared."""
    xp = module_of(logs)
    far = scaled_distance(a, b, logs)
    scale, own_scale, slope, level, cell, _ = (xp.exp(log) for log in logs[a.x.shape[1] :])
    drift = a.drift @ b.drift.T
    shared = scale**2 * matern(far) + DRIFT**2 * (drift + 1)
    if not has_own:
        return shared
    same = (a.place[:, None] == b.place) & (a.place >= 0)[:, None]
    one_cell = (a.sizes[:, None] == b.sizes).all(-1)
    own = own_scale**2 * matern(far / WIDER) + slope**2 * drift + level**2 + cell**2 * one_cell
    return shared + own * same


def scaled_distance(a: Features, b: Features, logs: Array) -> Array:
    """Return how far runs are apart (n, m), in length scales."""
    length = module_of(logs).exp(logs[: a.x.shape[1]])
    return distance(a.x / length, b.x / length)


def distance(a_nF: Array, b_mF: Array) -> Array:
    """Return Euclidean distances (n, m)."""
    square = (a_nF**2).sum(1)[:, None] + (b_mF**2).sum(1)[None] - 2 * a_nF @ b_mF.T
    xp = module_of(square)
    return xp.sqrt(xp.clip(square, 1e-12, None))


def matern(far: Array) -> Array:
    """Return the Matern-5/2 correlation at distances in length scales."""
    scaled = math.sqrt(5) * far
    return (1 + scaled + scaled**2 / 3) * module_of(far).exp(-scaled)
