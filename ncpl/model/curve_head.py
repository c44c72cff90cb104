"""Loss curves: the final loss plus a shape that knows the learning-rate schedule.

    loss(f) = final loss + sum_j a_j phi_j(f),  phi_j(1) = 0

The phi are the functions of `data.schedules`. The a_j come from a small network on top of what a
member's transformer read: a whole curve costs one pass and ends at the predicted final loss.

Legend: B runs, P points, J functions, W width, S schedule inputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ncpl.data.schedules import N_FUNCTIONS
from ncpl.model.encoder import Encoder
from ncpl.model.network import NCPL
from ncpl.model.response_surface import pseudo_huber

LATE = 0.1
"""Share from which on a point counts fully; before, a fifth."""
EARLY_WEIGHT = 0.2
N_SCHEDULE_INPUTS = 4
HIDDEN = 64
COEFFICIENT_SCALE = 0.1
"""Coefficients at one unit of the head, in units of a decorrelated function's spread."""
DAMPING = 0.1
"""Variance added to every direction before functions are decorrelated, in units of a function's
own: what cosines alone cannot tell apart must not grow large under another schedule."""
HUBER_DELTA = 0.01


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


def new_head(member: NCPL, encoder: Encoder, seed: int) -> CurveHead:
    """Return a fresh curve head for a member; its weights depend on `seed` only."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        n_numbers, n_optimizers = len(encoder.fields), len(encoder.optimizers)
        n_inputs = n_numbers + N_SCHEDULE_INPUTS + 1 + n_optimizers + 1
        return CurveHead(member.names.shape[1], n_inputs)


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
