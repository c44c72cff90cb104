"""Loss curves: the final loss plus a shape that knows the learning-rate schedule.

    loss(f) = final loss + sum_j a_j phi_j(f),  phi_j(1) = 0

f is the share of the run. The phi are functions of f, of the learning rate at f, and of its area so
far and still to come; hats over knots of that area carry what the smooth ones leave over. The a_j
come from a small network on top of what a member's transformer read, so that a whole curve costs
one pass and ends at the predicted final loss.

Legend: B runs, P points, J functions, G cells of the schedule's grid, W width, S schedule inputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ncpl.data.columns import column
from ncpl.data.fields import Config
from ncpl.model.response_surface import pseudo_huber

Array = npt.NDArray[np.float64]
GRID = 256
"""Cells in which the learning rate is summed up."""
FIRST = 0.02
"""Share of the run before which a curve is not predicted: losses fall from over ten."""
LATE = 0.1
"""Share from which on a point counts fully; before, a fifth."""
EARLY_WEIGHT = 0.2
KNOTS = (FIRST, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 1.0)
"""Shares of the learning rate's area between which hats are straight; each but the first and last
has one."""
N_FUNCTIONS = 12 + len(KNOTS) - 2
N_SCHEDULE_INPUTS = 4
HIDDEN = 64
COEFFICIENT_SCALE = 0.1
"""Coefficients at one unit of the head, in units of a decorrelated function's spread."""
DAMPING = 0.1
"""Variance added to every direction before functions are decorrelated, in units of a function's
own: what cosines alone cannot tell apart must not grow large under another schedule."""
HUBER_DELTA = 0.01


@dataclass(frozen=True)
class Schedules:
    """Learning-rate schedules of B runs, as shares of the run and of the peak rate."""

    warmup: Array
    decay: Array
    """Share of the run spent decaying at its end; 0 for a constant rate."""
    lowest: Array
    """Final rate / peak rate."""
    is_cosine: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, rows: Sequence[Config]) -> Schedules:
        """Return the schedules of derived configurations.

        What a configuration does not say counts as no warm-up and a cosine to zero, the schedule of
        nearly all public runs.
        """
        kinds = [row.get("schedule") or "cosine" for row in rows]
        warmup = np.nan_to_num(column(rows, "warmup_frac")).clip(0, 0.9)
        lowest = np.nan_to_num(column(rows, "min_learning_rate") / column(rows, "learning_rate"))
        decay = column(rows, "decay_frac")
        decay = np.where(np.isfinite(decay), decay, 1 - warmup).clip(1e-3, 1)
        constant = np.array([kind == "constant" for kind in kinds], dtype=bool)
        cosine = np.array([kind == "cosine" for kind in kinds], dtype=bool)
        return cls(warmup, np.where(constant, 0.0, decay), lowest.clip(0, 1), cosine)

    def rate(self, frac_BP: Array) -> Array:
        """Return learning rates at shares of the run (B, P), in units of the peak."""
        warmup, decay, lowest = (a[:, None] for a in (self.warmup, self.decay, self.lowest))
        rising = np.where(warmup > 0, np.minimum(1, frac_BP / np.maximum(warmup, 1e-9)), 1.0)
        turn = np.cos(np.pi * ((frac_BP - warmup) / (1 - warmup)).clip(0, 1))
        cosine = lowest + (1 - lowest) * (1 + turn) / 2
        done = ((frac_BP - (1 - decay)) / np.maximum(decay, 1e-9)).clip(0, 1)
        straight = 1 - (1 - lowest) * np.where(decay > 0, done, 0.0)
        return np.asarray(rising * np.where(self.is_cosine[:, None], cosine, straight))

    def inputs(self) -> Array:
        """Return what the head hears of the schedule (B, S)."""
        return np.stack([self.warmup, self.decay, self.lowest, ~self.is_cosine], axis=1)

    def functions(self, frac_BP: Array) -> Array:
        """Return phi (B, P, J) at shares of the run."""
        n_runs = len(frac_BP)
        cells = np.broadcast_to((np.arange(GRID) + 0.5) / GRID, (n_runs, GRID))
        area = np.concatenate([np.zeros((n_runs, 1)), self.rate(cells).cumsum(1)], axis=1)
        at = frac_BP * GRID
        cell = at.astype(np.int64).clip(0, GRID - 1)
        below, above = (np.take_along_axis(area, cell + i, 1) for i in (0, 1))
        so_far = ((below + (at - cell) * (above - below)) / area[:, -1:]).clip(1e-4)
        to_come = (1 - so_far).clip(0)
        rate, last = self.rate(frac_BP), self.rate(np.ones((n_runs, 1)))
        frac = frac_BP.clip(1e-4)
        powers = [base**-p - 1 for base in (so_far, frac) for p in (0.25, 0.5, 1.0)]
        rates = [rate**p - last**p for p in (1.0, 0.5, 2.0)]
        hats = [np.interp(so_far, KNOTS, one) for one in np.eye(len(KNOTS))[1:-1]]
        rest = [to_come, np.sqrt(to_come), 1 - frac_BP]
        return np.stack([*powers, *rates, *rest, *hats], axis=-1)


class CurveHead(nn.Module):
    """From what a member has read to the coefficients of its curve's shape."""

    low: Tensor
    high: Tensor
    basis: Tensor

    def __init__(self, width: int, n_inputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(width + n_inputs, HIDDEN),
            nn.Tanh(),
            nn.Linear(HIDDEN, HIDDEN),
            nn.Tanh(),
            nn.Linear(HIDDEN, N_FUNCTIONS),
        )
        self.register_buffer("low", torch.zeros(n_inputs))
        self.register_buffer("high", torch.zeros(n_inputs))
        self.register_buffer("basis", torch.eye(N_FUNCTIONS))
        """(J, J) the decorrelated functions, one a column, from the functions as they are."""

    def forward(self, hidden_BW: Tensor, inputs_BS: Tensor) -> Tensor:
        """Return coefficients (B, J) of the functions as they are."""
        return self.decorrelated(hidden_BW, inputs_BS) @ self.basis.T

    def decorrelated(self, hidden_BW: Tensor, inputs_BS: Tensor) -> Tensor:
        """Return coefficients (B, J) of the decorrelated functions."""
        inputs = torch.minimum(torch.maximum(inputs_BS, self.low), self.high)
        heard = torch.cat([hidden_BW, inputs], dim=1)
        return torch.as_tensor(COEFFICIENT_SCALE * self.layers(heard))


def fit_head(
    head: CurveHead,
    hidden_VBW: Tensor,
    inputs_BS: Tensor,
    functions_BPJ: Tensor,
    shape_BP: Tensor,
    weight_BP: Tensor,
    *,
    steps: int,
    seed: int,
    learning_rate: float = 3e-3,
    weight_decay: float = 0.15,
    batch_size: int = 256,
    on_step: Callable[[int, float], None] | None = None,
) -> None:
    """Train a head in place on measured shapes (loss less final loss, nats).

    `hidden_VBW` holds V readings of each run, the first with all fields, the others with some
    hidden; a step takes one of them. Points of weight 0 do not count. The same seed gives the same
    weights.
    """
    head.low.copy_(inputs_BS.amin(0))
    head.high.copy_(inputs_BS.amax(0))
    counted_BP1 = weight_BP[..., None]
    head.basis.copy_(decorrelating(functions_BPJ, counted_BP1))
    own_BPJ = functions_BPJ @ head.basis
    normal = torch.einsum("bpj,bpk->jk", own_BPJ * counted_BP1, own_BPJ) / weight_BP.sum()
    right = torch.einsum("bpj,bp->j", own_BPJ * counted_BP1, shape_BP) / weight_BP.sum()
    ridge = 1e-3 * torch.eye(N_FUNCTIONS)
    with torch.no_grad():  # start at the mean shape
        last = head.layers[-1]
        assert isinstance(last, nn.Linear)
        last.weight.mul_(0.01)
        last.bias.copy_(torch.linalg.solve(normal + ridge, right) / COEFFICIENT_SCALE)
    optimizer = torch.optim.AdamW(head.parameters(), lr=learning_rate, weight_decay=weight_decay)
    generator = torch.Generator().manual_seed(seed)
    for step in range(steps):
        warm = min(1.0, (step + 1) / 50)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * warm * 0.5 * (1 + math.cos(math.pi * step / steps))
        rows = torch.randperm(len(shape_BP), generator=generator)[:batch_size]
        reading = int(torch.randint(len(hidden_VBW), (), generator=generator))
        coefficients_BJ = head.decorrelated(hidden_VBW[reading, rows], inputs_BS[rows])
        error_BP = torch.einsum("bpj,bj->bp", own_BPJ[rows], coefficients_BJ) - shape_BP[rows]
        weight = weight_BP[rows]
        loss = (pseudo_huber(error_BP, HUBER_DELTA) * weight).sum() / weight.sum()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimizer.step()
        if on_step is not None:
            on_step(step, float(loss.detach()))


def decorrelating(functions_BPJ: Tensor, weight_BP1: Tensor) -> Tensor:
    """Return the matrix (J, J) that makes functions hardly correlated, each of spread one or less.

    The functions of a curve are nearly collinear: their coefficients would be large and cancel, and
    steps of a gradient would hardly tell them apart.
    """
    functions = functions_BPJ.double()
    square = torch.einsum("bpj,bpk->jk", functions * weight_BP1, functions) / weight_BP1.sum()
    spread = square.diagonal().sqrt()
    spread = torch.where(spread > 1e-6, spread, 1.0)  # no point told of it: it stays as it is
    variance, direction = torch.linalg.eigh(square / spread / spread[:, None])
    whitened = direction / (variance.clamp(min=0) + DAMPING).sqrt()
    basis: Tensor = whitened / spread[:, None]
    return basis.float()
