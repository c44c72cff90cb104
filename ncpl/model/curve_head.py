"""Loss curves: the final loss plus a shape that knows the learning-rate schedule.

    loss(f) = final loss + sum_j a_j phi_j(f),  phi_j(1) = 0

The phi are the functions of `data.schedules`. The a_j come from a small network on top of what a
member's transformer read: a whole curve costs one pass and ends at the predicted final loss. How a
head is fitted: `train.curves`.

Legend: M members, B runs, J functions, W width, S inputs beside the transformer's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from ncpl.data.columns import column
from ncpl.data.fields import Config
from ncpl.data.schedules import Schedules
from ncpl.model.arrays import Array, module_of
from ncpl.model.inputs import PLACE, Inputs
from ncpl.model.network import Network

LATE = 0.1
"""Share from which on a point counts fully."""
N_SCHEDULE_INPUTS = 4
COEFFICIENT_SCALE = 0.1
"""Coefficients at one unit of the head, in units of a decorrelated function's spread."""
LAYERS = ("layers.0", "layers.2", "layers.4")
"""Names of the linear layers in a bundle; tanh stands between."""


@dataclass(frozen=True)
class CurveHeads:
    """From what each member has read to the coefficients of its curve's shape."""

    arrays: dict[str, Array]
    """By name in a bundle, the member axis first: weights and biases of LAYERS; `low` and `high`,
    between which inputs stay; `basis` (J, J), the decorrelated functions, one a column, from the
    functions as they are."""

    @classmethod
    def of_states(cls, states: Sequence[Mapping[str, Array]]) -> Self:
        """Return the heads of members kept apart, as a bundle keeps them."""
        return cls({name: np.stack([s[name] for s in states]) for name in states[0]})

    def states(self) -> list[dict[str, Array]]:
        """Return the named arrays of each member."""
        n_members = len(self.arrays["basis"])
        return [{name: a[i] for name, a in self.arrays.items()} for i in range(n_members)]

    def __call__(self, hidden_MBW: Array, inputs_BS: Array) -> Array:
        """Return coefficients (M, B, J) of the functions as they are."""
        found = self.decorrelated(hidden_MBW, inputs_BS)
        return found @ module_of(found).swapaxes(self.arrays["basis"], 1, 2)

    def decorrelated(self, hidden_MBW: Array, inputs_BS: Array) -> Array:
        """Return coefficients (M, B, J) of the decorrelated functions."""
        xp = module_of(hidden_MBW)
        low, high = (self.arrays[name][:, None] for name in ("low", "high"))
        x = xp.concatenate([hidden_MBW, xp.minimum(xp.maximum(inputs_BS[None], low), high)], axis=2)
        for name in LAYERS:
            weight, bias = self.arrays[f"{name}.weight"], self.arrays[f"{name}.bias"]
            x = x @ xp.swapaxes(weight, 1, 2) + bias[:, None]
            x = x if name == LAYERS[-1] else xp.tanh(x)
        return COEFFICIENT_SCALE * x


def head_inputs(
    network: Network, rows: Sequence[Config], inputs: Inputs, schedules: Schedules
) -> Array:
    """Return what a curve head reads beside the transformer (B, S).

    The numbers of the recipe, the schedule, the log of the number of steps, and the
    optimizer as one of the known ones.
    """
    numbers = inputs.numbers.copy()
    numbers[:, : network.n_fields] = network.seen(inputs)
    numbers *= inputs.codes == 1
    n_optimizers = network.surface.n_optimizers
    place = np.nan_to_num(inputs.law[:, PLACE], nan=n_optimizers).astype(np.int64)
    steps = np.nan_to_num(np.log(column(rows, "train_steps") / 1e4))
    optimizer = np.eye(n_optimizers + 1)[place]
    return np.column_stack([numbers, schedules.inputs(), steps, optimizer]).astype(np.float32)
