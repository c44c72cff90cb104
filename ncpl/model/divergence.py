"""The risk that a run diverges: a logistic law around the best learning rate and batch.

    log odds = w . (1, n, d, x, y, x^2, y^2, xy, recipe...) + one offset an optimizer

n and d are scaled logs of size and data, x and y the distances of learning rate and batch to the
law's optimum, the recipe the numbers the Gaussian process compares. No loss regressor sees a run
that diverged; this law does.

Legend: n runs, F features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ncpl.model.gaussian_process import Features, Process
from ncpl.model.response_surface import Surface

MIN_DIVERGED = 20
"""Diverged training runs below which no risk is learned: nothing is said then."""
PENALTY = 1e-2
"""Price of a squared weight, as a share of one run's loss."""


class Risk(nn.Module):
    """Weights of the logistic law; needs the process for its features."""

    def __init__(self, n_features: int, n_optimizers: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(n_features + 4, dtype=torch.float64))
        self.offsets = nn.Parameter(torch.zeros(n_optimizers + 1, dtype=torch.float64))

    def log_odds(self, runs: Features) -> Tensor:
        """Return log odds of divergence (n,)."""
        x, y = runs.x[:, 2], runs.x[:, 3]
        more = torch.stack([torch.ones_like(x), x**2, y**2, x * y], dim=1)
        # Place -1, an optimizer training has not seen, takes the last offset, which stays zero.
        return torch.cat([runs.x, more], dim=1) @ self.weights + self.offsets[runs.place]

    @torch.no_grad()
    def forward(
        self, inputs: tuple[Tensor, Tensor, Tensor], process: Process, surface: Surface
    ) -> Tensor:
        """Return probabilities of divergence (n,)."""
        return torch.sigmoid(self.log_odds(process.features(*inputs, surface)))


def fit_risk(
    inputs: tuple[Tensor, Tensor, Tensor],
    diverged_n: Tensor,
    process: Process,
    surface: Surface,
) -> Risk | None:
    """Return the law fitted to runs that diverged (1) or not (0); None when too few diverged."""
    if int(diverged_n.sum()) < MIN_DIVERGED:
        return None
    with torch.no_grad():
        runs = process.features(*inputs, surface)
    risk = Risk(runs.x.shape[1], surface.n_optimizers)
    target = diverged_n.double()
    optimizer = torch.optim.LBFGS(risk.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        missed = nn.functional.binary_cross_entropy_with_logits(risk.log_odds(runs), target)
        squares = risk.weights.square().sum() + risk.offsets.square().sum()
        loss = missed + PENALTY * squares / len(target)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return risk.requires_grad_(False)
