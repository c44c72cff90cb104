"""The law inside the network: a Chinchilla baseline under a surface in learning rate and batch.

    loss = a n^-alpha + b n^gamma D^-beta + c + exp(height) * Q(log lr - u, log batch - v)
    n    = N exp(-w max(0, log(d_ff / 4 d_model))^2)

Q is a quartic without constant and linear terms; height, u and v are affine in log n and log D. n
is the effective size: feed-forward layers wider than four times the model cost parameters that give
little (Kaplan et al. 2020, figure 5: flat up to a ratio of 4, then rising). gamma lets the data
term depend on size. With gamma = w = 0 and Q = 0 this is Chinchilla. The network adds small
corrections to the local coefficients (level, height, u, v and Q), so the form extrapolates in N and
D as its few global numbers do.

Each optimizer has offsets of its own to level, height and u, drawn to zero: they are what carries
over between its sizes.

Legend: B runs, K local coefficients, O optimizers, 6 law inputs (scaled logs of encoder.LAW_FIELDS,
then the optimizer's place).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from ncpl.laws.chinchilla import Chinchilla

POWERS = tuple((i, j) for i in range(5) for j in range(5) if 2 <= i + j <= 4)
LOCAL = ("level", "height", "u", "v", *(f"q{i}{j}" for i, j in POWERS))
K = len(LOCAL)
CORRECTION_SCALE = (0.01, 0.2, 0.2, 0.2, *(0.004 / 2 ** (i + j - 2) for i, j in POWERS))
"""Size of one unit of the network's correction to each local coefficient."""
# Start: a Chinchilla law with the exponents of the public fits, in the table's coordinates.
START_BASE = (0.15, math.log(0.13), -1.25, math.log(0.33), 0.9, 0.0, math.log(0.3))
FLOORS = (0.6, 0.9, 1.2, 1.5, 1.8)
"""Starts of c, nats, that `choose_floor` tries: runs of few sizes say little about it, and it
decides how the law goes on beyond the largest."""
# Start: the published Step Law (arXiv 2503.04715), lr ~ N^-0.713 D^0.307, batch ~ D^0.571, over a
# round bowl; rows height, u, v; columns 1, log N, log D in the table's coordinates.
START_AFFINE = ((0.0, 0.0, 0.0), (0.0, -0.713, 0.307), (0.0, 0.0, 0.571))
OFFSET_SCALE = (0.02, 0.3, 0.3)
"""Size of one unit of an optimizer's offset to level (nats), height and u (logs)."""
OFFSET_PENALTY = 2e-5
"""Price of a squared unit of offset."""
REACH = 3.0
"""Distance to the optimum, in logs, that distances bend towards."""
MARGIN = 0.5
"""How far beyond the distances of training runs, in logs, the bowl still rises."""
SINK = 0.02
"""Most that the bowl takes from the level, nats at a height of one."""
MIN_KEPT = 200
"""Runs a law of which sizes are left out must keep."""
START_POWERS = tuple(0.02 if power in ((2, 0), (0, 2)) else 0.0 for power in POWERS)


class Surface(nn.Module):
    """The global numbers of the law."""

    start: Tensor
    ffn_range: Tensor
    nearest: Tensor
    farthest: Tensor
    lowest: Tensor

    def __init__(self, n_optimizers: int) -> None:
        super().__init__()
        self.n_optimizers = n_optimizers
        self.register_buffer("start", torch.tensor(START_BASE))
        self.register_buffer("ffn_range", torch.tensor([-torch.inf, torch.inf]))
        """Scaled feed-forward ratios beyond which the discount stays as it is at the border."""
        self.register_buffer("nearest", torch.full((2,), -torch.inf))
        self.register_buffer("farthest", torch.full((2,), torch.inf))
        """Smallest and largest distances of training runs to the best learning rate and batch."""
        self.register_buffer("lowest", torch.tensor(0.0))
        """What the best tenth of training runs lies above the level, nats: where the bowl has its
        bottom is not always known, since no run need have been there."""
        self.base = nn.Parameter(torch.tensor(START_BASE))
        """Log of the model term and its exponent, of the data term and its exponent; c; gamma;
        log w."""
        self.affine = nn.Parameter(torch.tensor(START_AFFINE))
        self.powers = nn.Parameter(torch.tensor(START_POWERS))
        self.offsets = nn.Parameter(torch.zeros(n_optimizers, len(OFFSET_SCALE)))

    @torch.no_grad()
    def flatten_to(self, law: Chinchilla) -> None:
        """Make this the plain law: no interaction, no discount, no bowl."""
        model = math.log(law.a * 250**-law.alpha), math.log(law.alpha)
        data = math.log(law.b * 15**-law.beta), math.log(law.beta)
        self.base.copy_(torch.tensor([*model, *data, law.c, 0.0, -30.0]))
        for values in (self.affine, self.powers, self.offsets, self.lowest):
            values.zero_()

    def effective_size(self, law_B6: Tensor) -> Tensor:
        """Return scaled log n (B): log N less the discount for wide feed-forward layers."""
        ratio = torch.nan_to_num(law_B6[:, 4])
        excess = ratio.clamp(self.ffn_range[0], self.ffn_range[1]).clamp(min=0)
        return law_B6[:, 0] - self.base[6].exp() * excess**2

    def level(self, n: Tensor, d: Tensor) -> Tensor:
        """Return the loss at the best learning rate and batch size (B) at scaled sizes and data."""
        model, alpha, data, beta, c, gamma = self.base[:6].unbind()
        return (model - alpha.exp() * n).exp() + (data - beta.exp() * d + gamma * n).exp() + c

    def coefficients(self, law_B6: Tensor) -> Tensor:
        """Return the local coefficients (B, K) at each run's size and data."""
        n, d = self.effective_size(law_B6), law_B6[:, 1]
        affine = torch.stack([torch.ones_like(n), n, d], dim=1) @ self.affine.T
        level, height, u = (self.offsets_of(law_B6[:, 5]) * affine.new_tensor(OFFSET_SCALE)).T
        shift = torch.stack([height, u, torch.zeros_like(u)], dim=1)
        powers = self.powers.expand(len(law_B6), -1)
        return torch.cat([(self.level(n, d) + level)[:, None], affine + shift, powers], dim=1)

    def offsets_of(self, place_B: Tensor) -> Tensor:
        """Return each run's offsets (B, 3); zero for an optimizer training has not seen."""
        table = nn.functional.pad(self.offsets, (0, 0, 0, 1))  # the last row: unknown
        return table[torch.nan_to_num(place_B, nan=float(self.n_optimizers)).long()]

    def value(self, coefficients_BK: Tensor, law_B6: Tensor, *, stops: bool = True) -> Tensor:
        """Return losses (B), nats. A missing learning rate or batch counts as the best one.

        A quartic runs away where no run lies: distances bend towards REACH, and beyond those of the
        training runs they end within MARGIN; with `stops` what the bowl takes from the level ends
        at SINK.
        """
        away_B2 = distances(coefficients_BK, law_B6)
        seen_B2 = torch.minimum(torch.maximum(away_B2, self.nearest), self.farthest)
        beyond_B2 = MARGIN * torch.tanh((away_B2 - seen_B2) / MARGIN)
        x, y = (REACH * torch.tanh((seen_B2 + beyond_B2) / REACH)).unbind(1)
        terms = torch.stack([x**i * y**j for i, j in POWERS], dim=1)
        bowl = (coefficients_BK[:, 4:] * terms).sum(1)
        if stops:
            bowl = torch.where(bowl > 0, bowl, SINK * torch.expm1(bowl.clamp(max=0) / SINK))
        return coefficients_BK[:, 0] + coefficients_BK[:, 1].exp() * bowl

    @torch.no_grad()
    def set_seen(self, law_B6: Tensor, loss_B: Tensor) -> None:
        """Keep where the training runs lie about the optimum and above its level."""
        coefficients_BK = self.coefficients(law_B6)
        away_B2 = distances(coefficients_BK, law_B6)
        self.nearest.copy_(away_B2.amin(0))
        self.farthest.copy_(away_B2.amax(0))
        self.lowest.copy_((loss_B - coefficients_BK[:, 0]).quantile(0.1))

    def penalty(self) -> Tensor:
        """Return the squared distance to the start values."""
        device, dtype = self.base.device, self.base.dtype
        pairs = (
            (self.base, self.start),
            (self.affine, torch.tensor(START_AFFINE, device=device, dtype=dtype)),
            (self.powers, torch.tensor(START_POWERS, device=device, dtype=dtype)),
        )
        return torch.stack([((value - start) ** 2).sum() for value, start in pairs]).sum()


def distances(coefficients_BK: Tensor, law_B6: Tensor) -> Tensor:
    """Return log lr - u and log batch - v (B, 2); zero where the configuration does not say."""
    return torch.nan_to_num(law_B6[:, 2:4] - coefficients_BK[:, 2:4])


def fit_surface(
    law_B6: Tensor,
    loss_B: Tensor,
    *,
    delta: float,
    penalty: float,
    margin: float,
    n_optimizers: int,
    floor: float = START_BASE[4],
    iterations: int = 400,
) -> Surface:
    """Return the surface of `n_optimizers` fitted to losses (nats) by L-BFGS in double precision.

    Pseudo-Huber loss with threshold `delta` nats. The feed-forward ratio counts up to `margin`
    above its range in these runs, and down to where it is discounted no more. c starts at `floor`
    and is drawn to it. Deterministic.
    """
    surface = Surface(n_optimizers).double()
    with torch.no_grad():
        surface.start[4] = surface.base[4] = floor
    law_B6, loss_B = law_B6.double(), loss_B.double()
    ratio = torch.nan_to_num(law_B6[:, 4])
    # Towards the flat end of the discount the form itself is known; away from it only the runs are.
    surface.ffn_range.copy_(torch.stack([ratio.min().clamp(max=0), ratio.max() + margin]))
    # Where the bowl stops there is no slope: it is fitted without the stop, then with it.
    for stops in (False, True):
        _descend(surface, law_B6, loss_B, delta, penalty, iterations, stops=stops)
    surface.set_seen(law_B6, loss_B)
    return surface.float()


def _descend(
    surface: Surface,
    law_B6: Tensor,
    loss_B: Tensor,
    delta: float,
    penalty: float,
    iterations: int,
    *,
    stops: bool,
) -> None:
    optimizer = torch.optim.LBFGS(
        surface.parameters(),
        max_iter=iterations,
        history_size=50,
        line_search_fn="strong_wolfe",
        tolerance_change=1e-12,
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = surface.value(surface.coefficients(law_B6), law_B6, stops=stops)
        pull = penalty * surface.penalty() + OFFSET_PENALTY * surface.offsets.square().sum()
        loss = pseudo_huber(value - loss_B, delta).mean() + pull
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]  # torch leaves it untyped


def choose_floor(law_B6: Tensor, loss_B: Tensor, **settings: Any) -> float:
    """Return the start of c under which the law best predicts the largest sizes, left out.

    The largest size, then the two largest, are left out and predicted by a law fitted to the rest
    (`settings` as for `fit_surface`); the score is the mean absolute error plus the absolute bias,
    since it is the bias that grows with the distance. The usual start stays unless another one
    scores better by more than a tenth: small differences say nothing. With one size there is
    nothing to choose by.
    """
    sizes = torch.unique(law_B6[:, 0])
    scores = dict.fromkeys(FLOORS, 0.0)
    for first_out in sizes[1:][-2:]:
        left_out = law_B6[:, 0] >= first_out
        if (~left_out).sum() < MIN_KEPT:
            continue
        for floor in FLOORS:
            surface = fit_surface(law_B6[~left_out], loss_B[~left_out], floor=floor, **settings)
            with torch.no_grad():
                law = surface.value(surface.coefficients(law_B6[left_out]), law_B6[left_out])
            error = law - loss_B[left_out]
            scores[floor] += float(error.abs().mean() + error.mean().abs())
    best = min(FLOORS, key=scores.__getitem__)
    usual = START_BASE[4]
    return best if scores[best] < 0.9 * scores[usual] else usual


def pseudo_huber(error: Tensor, delta: float) -> Tensor:
    """Return a loss quadratic below `delta` and linear above, with slope 1."""
    return delta * (torch.sqrt(1 + (error / delta) ** 2) - 1)
