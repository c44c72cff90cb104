"""Deep power laws: networks that read a configuration and give the numbers of its power law.

Kadra et al. 2023, arXiv 2302.00441 ("Scaling Laws for Hyperparameter Optimization"). Form, sizes
and training were read in the authors' `ConditionedPowerLaw` and `PowerLawSurrogate` and in NePS's
copy of both (25 November 2026): loss = alpha + g(beta) b^-g(gamma) with g(x) = x sigmoid(x) (a GLU
of a number with itself) and b the share of the run; two hidden layers of 128 LeakyReLU units; five
networks; absolute error; Adam 1e-3, batches of 64, 250 passes. Inputs are scaled to [0, 1].

Legend: M networks, n rows, F features, U units.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ncpl.laws.base import Array

MEMBERS = 5
UNITS = 128
RATE = 1e-3
BATCH = 64
PASSES = 250
MAX_UPDATES = 4000
"""The authors train on at most a few thousand points. Larger tables get larger batches and fewer
passes, so that a fit ends within seconds."""
MAX_BATCH = 256
MIN_SHARE = 1e-3
"""Points before this share of the run are not modelled: the power law has a pole at zero."""


@dataclass(frozen=True)
class DeepPowerLaw:
    """Five fitted networks and the scaling of their inputs."""

    layers: tuple[tuple[Tensor, Tensor], ...]
    """Weights (M, in, out) and biases (M, 1, out) of the three layers."""
    low: Array
    span: Array

    def coefficients(self, features_nF: Array) -> Array:
        """Return alpha, amplitude and exponent of each row and network, shape (M, n, 3)."""
        scaled = np.clip((features_nF - self.low) / self.span, -1, 2)
        raw = _forward(self.layers, torch.from_numpy(scaled).float())
        alpha, beta, gamma = raw.unbind(-1)
        found = torch.stack([alpha, functional.silu(beta), functional.silu(gamma)], dim=-1)
        return found.double().numpy()

    def predict(self, features_nF: Array, share_n: Array) -> tuple[Array, Array]:
        """Return the mean loss and the networks' standard deviation at these shares of the run."""
        alpha, amplitude, exponent = np.moveaxis(self.coefficients(features_nF), -1, 0)
        losses_Mn = alpha + amplitude * np.maximum(share_n, MIN_SHARE) ** -exponent
        return losses_Mn.mean(0), losses_Mn.std(0)


def fit_dpl(features_nF: Array, share_n: Array, loss_n: Array, *, seed: int = 0) -> DeepPowerLaw:
    """Return the networks fitted to points of curves: configuration, share of the run, loss.

    Raises ValueError with fewer than 10 points, a feature or loss that is not finite, or a share
    outside (0, 1].
    """
    if len(loss_n) < 10:
        raise ValueError(f"law dpl needs at least 10 points of curves, found {len(loss_n)}")
    if not (np.isfinite(features_nF).all() and np.isfinite(loss_n).all()):
        raise ValueError("law dpl: a feature or a loss is not a number")
    if not ((share_n > 0) & (share_n <= 1)).all():
        raise ValueError("law dpl: a share of the run lies outside 0 to 1")
    low = features_nF.min(0)
    span = np.where(np.ptp(features_nF, axis=0) > 1e-12, np.ptp(features_nF, axis=0), 1.0)
    x = torch.from_numpy((features_nF - low) / span).float()
    share = torch.from_numpy(np.maximum(share_n, MIN_SHARE)).float()
    y = torch.from_numpy(loss_n).float()
    generator = torch.Generator().manual_seed(seed)
    layers = _start(features_nF.shape[1], generator)
    weights = [tensor.requires_grad_(True) for pair in layers for tensor in pair]
    optimizer = torch.optim.Adam(weights, lr=RATE, foreach=True)
    batch = min(max(BATCH, math.ceil(len(y) * PASSES / MAX_UPDATES)), MAX_BATCH, len(y))
    updates = min(MAX_UPDATES, math.ceil(len(y) * PASSES / batch))
    for _ in range(updates):
        rows = torch.randint(len(y), (batch,), generator=generator)
        alpha, beta, gamma = _forward(layers, x[rows]).unbind(-1)
        power = share[rows] ** -functional.silu(gamma)
        missed = alpha + functional.silu(beta) * power - y[rows]
        optimizer.zero_grad()
        missed.abs().mean(1).sum().backward()  # type: ignore[no-untyped-call]  # torch's own
        optimizer.step()
    fitted = tuple((weight.detach(), bias.detach()) for weight, bias in layers)
    return DeepPowerLaw(fitted, low, span)


def _start(n_features: int, generator: torch.Generator) -> tuple[tuple[Tensor, Tensor], ...]:
    """Return M networks of linear layers, drawn as torch draws them."""
    sizes = (n_features, UNITS, UNITS, 3)
    layers = []
    for n_in, n_out in itertools.pairwise(sizes):
        bound = 1 / math.sqrt(n_in)
        weight = torch.empty(MEMBERS, n_in, n_out).uniform_(-bound, bound, generator=generator)
        bias = torch.empty(MEMBERS, 1, n_out).uniform_(-bound, bound, generator=generator)
        layers.append((weight, bias))
    return tuple(layers)


def _forward(layers: tuple[tuple[Tensor, Tensor], ...], x_nF: Tensor) -> Tensor:
    """Return raw outputs of all networks, shape (M, n, 3)."""
    x = x_nF.expand(MEMBERS, -1, -1)
    for i, (weight, bias) in enumerate(layers):
        x = torch.baddbmm(bias, x, weight)
        if i < len(layers) - 1:
            x = functional.leaky_relu(x)
    return x
