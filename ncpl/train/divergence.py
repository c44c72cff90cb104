"""The risk of divergence, fitted to runs that diverged beside training runs.

Legend: n runs.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ncpl.model.arrays import Array
from ncpl.model.divergence import Risk
from ncpl.model.gaussian_process import Features, Process
from ncpl.model.inputs import Inputs
from ncpl.model.response_surface import Surface

MIN_DIVERGED = 20
"""Diverged training runs below which no risk is learned; predictions then carry none."""
PENALTY = 1e-2
"""Price of a squared weight, as a share of one run's loss."""


def fit_risk(inputs: Inputs, diverged_n: Array, process: Process, surface: Surface) -> Risk | None:
    """Return the law fitted to runs that diverged (1) or not (0); None when too few diverged."""
    if int(diverged_n.sum()) < MIN_DIVERGED:
        return None
    features = process.features(inputs, surface)
    runs = Features(*(torch.from_numpy(column) for column in features))
    shapes = (runs.x.shape[1] + 4, surface.n_optimizers + 1)
    weights, offsets = (torch.zeros(n, dtype=torch.float64, requires_grad=True) for n in shapes)
    risk = Risk(weights, offsets)
    target = torch.from_numpy(np.asarray(diverged_n, dtype=np.float64))
    optimizer = torch.optim.LBFGS([weights, offsets], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        missed = nn.functional.binary_cross_entropy_with_logits(risk.log_odds(runs), target)
        squares = weights.square().sum() + offsets.square().sum()
        loss = missed + PENALTY * squares / len(target)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return Risk(weights.detach().numpy(), offsets.detach().numpy())
