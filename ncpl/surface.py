"""The law inside the network: a Chinchilla baseline under a surface in learning rate and batch.

    loss = a N^-alpha + b N^gamma D^-beta + c + exp(height) * Q(log lr - u, log batch - v)

Q is a quartic without constant and linear terms; height, u and v are affine in log N and log D.
With gamma = 0 and Q = 0 this is Chinchilla, from whose fit it starts. The network adds small
corrections to the local coefficients (level, height, u, v and Q), so the form extrapolates in N and
D as its few global numbers do.

Legend: B runs, K local coefficients, 4 law inputs (scaled log N, log D, log lr, log batch).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ncpl.features import FIELDS
from ncpl.laws.chinchilla import Chinchilla

POWERS = tuple((i, j) for i in range(5) for j in range(5) if 2 <= i + j <= 4)
LOCAL = ("level", "height", "u", "v", *(f"q{i}{j}" for i, j in POWERS))
K = len(LOCAL)
CORRECTION_SCALE = (0.01, 0.2, 0.2, 0.2, *(0.004 / 2 ** (i + j - 2) for i, j in POWERS))
"""Size of one unit of the network's correction to each local coefficient."""
# Start: the published Step Law (arXiv 2503.04715), lr ~ N^-0.713 D^0.307, batch ~ D^0.571, over a
# round bowl; rows height, u, v; columns 1, log N, log D in the table's coordinates.
START_AFFINE = ((0.0, 0.0, 0.0), (0.0, -0.713, 0.307), (0.0, 0.0, 0.571))
START_POWERS = tuple(0.02 if power in ((2, 0), (0, 2)) else 0.0 for power in POWERS)


class Surface(nn.Module):
    """The global numbers of the law."""

    start: Tensor

    def __init__(self, baseline: Chinchilla | None = None) -> None:
        super().__init__()
        chin = baseline or Chinchilla(a=2.0, alpha=0.2, b=0.7, beta=0.3, c=1.2)
        n_0, d_0 = FIELDS["params_non_embedding"].centre / 1e6, FIELDS["data_tokens"].centre / 1e9
        start = (
            math.log(chin.a * n_0**-chin.alpha),
            math.log(chin.alpha),
            math.log(chin.b * d_0**-chin.beta),
            math.log(chin.beta),
            chin.c,
            0.0,
        )
        self.register_buffer("start", torch.tensor(start))
        self.base = nn.Parameter(torch.tensor(start))
        """Log of the model term and its exponent, of the data term and its exponent; c; gamma."""
        self.affine = nn.Parameter(torch.tensor(START_AFFINE))
        self.powers = nn.Parameter(torch.tensor(START_POWERS))

    def level(self, law_B4: Tensor) -> Tensor:
        """Return the loss at the best learning rate and batch size (B)."""
        n, d = law_B4[:, 0], law_B4[:, 1]
        model, alpha, data, beta, c, gamma = self.base.unbind()
        return (model - alpha.exp() * n).exp() + (data - beta.exp() * d + gamma * n).exp() + c

    def coefficients(self, law_B4: Tensor) -> Tensor:
        """Return the local coefficients (B, K) at each run's size and data."""
        basis = torch.stack([torch.ones_like(law_B4[:, 0]), law_B4[:, 0], law_B4[:, 1]], dim=1)
        powers = self.powers.expand(len(law_B4), -1)
        return torch.cat([self.level(law_B4)[:, None], basis @ self.affine.T, powers], dim=1)

    def penalty(self) -> Tensor:
        """Return the squared distance to the start values."""
        device, dtype = self.base.device, self.base.dtype
        pairs = (
            (self.base, self.start),
            (self.affine, torch.tensor(START_AFFINE, device=device, dtype=dtype)),
            (self.powers, torch.tensor(START_POWERS, device=device, dtype=dtype)),
        )
        return torch.stack([((value - start) ** 2).sum() for value, start in pairs]).sum()


def offsets(coefficients_BK: Tensor, law_B4: Tensor) -> Tensor:
    """Return log lr - u and log batch - v (B, 2); zero where the configuration does not say."""
    return torch.nan_to_num(law_B4[:, 2:] - coefficients_BK[:, 2:4])


def surface_value(coefficients_BK: Tensor, law_B4: Tensor) -> Tensor:
    """Return losses (B), nats. A missing learning rate or batch counts as the best one."""
    x, y = offsets(coefficients_BK, law_B4).unbind(1)
    terms = torch.stack([x**i * y**j for i, j in POWERS], dim=1)
    quartic = (coefficients_BK[:, 4:] * terms).sum(1)
    return coefficients_BK[:, 0] + coefficients_BK[:, 1].exp() * quartic


def fit_surface(
    law_B4: Tensor,
    loss_B: Tensor,
    baseline: Chinchilla,
    *,
    delta: float,
    penalty: float,
    iterations: int = 300,
) -> Surface:
    """Return the surface fitted to losses (nats) by L-BFGS in double precision, from `baseline`.

    Pseudo-Huber loss with threshold `delta` nats. Deterministic.
    """
    surface = Surface(baseline).double()
    law_B4, loss_B = law_B4.double(), loss_B.double()
    optimizer = torch.optim.LBFGS(
        surface.parameters(),
        max_iter=iterations,
        history_size=50,
        line_search_fn="strong_wolfe",
        tolerance_change=1e-12,
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        error = surface_value(surface.coefficients(law_B4), law_B4) - loss_B
        loss = pseudo_huber(error, delta).mean() + penalty * surface.penalty()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return surface.float()


def pseudo_huber(error: Tensor, delta: float) -> Tensor:
    """Return a loss quadratic below `delta` and linear above, with slope 1."""
    return delta * (torch.sqrt(1 + (error / delta) ** 2) - 1)
