"""The response surface, fitted to the training runs.

Legend: B runs.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ncpl.model.arrays import Array
from ncpl.model.inputs import RATIO, SIZE
from ncpl.model.response_surface import START_AFFINE, START_BASE, START_POWERS, Surface

FLOORS = (0.6, 0.9, 1.2, 1.5, 1.8)
"""Starts of c, nats, that `choose_floor` tries: runs of few sizes say little about it, and it
decides how the law goes on beyond the largest."""
OFFSET_PENALTY = 2e-5
"""Price of a squared unit of offset."""
LAW_RUNS = 5000
"""Runs, seeded, that the law's numbers are fitted to where there are more."""
MIN_KEPT = 200
"""Runs a law of which sizes are left out must keep."""
FITTED = ("base", "affine", "powers", "offsets")


def fit_surface(
    law_B6: Array,
    loss_B: Array,
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
    law, loss = (
        torch.from_numpy(np.asarray(values, dtype=np.float64)) for values in (law_B6, loss_B)
    )
    surface = Surface.initial(n_optimizers).map(lambda values: torch.from_numpy(values).double())
    ratio = torch.nan_to_num(law[:, RATIO])
    base = surface.base.clone()
    base[4] = floor
    surface = replace(
        surface,
        start=base,
        base=base.clone(),
        # Towards the flat end of the discount the form itself is known; away only the runs are.
        ffn_range=torch.stack([ratio.min().clamp(max=0), ratio.max() + margin]),
    )
    if len(loss) > LAW_RUNS:
        chosen = torch.randperm(len(loss), generator=torch.Generator().manual_seed(0))[:LAW_RUNS]
        some = chosen.sort().values
    else:
        some = torch.arange(len(loss))
    free = {name: getattr(surface, name).clone().requires_grad_(True) for name in FITTED}
    surface = replace(surface, **free)
    # Where the bowl stops there is no slope: it is fitted without the stop, then with it.
    for stops in (False, True):
        _descend(
            surface, list(free.values()), law[some], loss[some], delta, penalty, iterations,
            stops=stops,
        )  # fmt: skip
    fitted = surface.map(lambda values: values.detach()).set_seen(law, loss)
    return fitted.map(lambda values: values.float().numpy())


def _descend(
    surface: Surface,
    free: list[Tensor],
    law_B6: Tensor,
    loss_B: Tensor,
    delta: float,
    penalty: float,
    iterations: int,
    *,
    stops: bool,
) -> None:
    optimizer = torch.optim.LBFGS(
        free,
        max_iter=iterations,
        history_size=50,
        line_search_fn="strong_wolfe",
        tolerance_change=1e-12,
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = surface.value(surface.coefficients(law_B6), law_B6, stops=stops)
        pull = penalty * pull_of(surface) + OFFSET_PENALTY * surface.offsets.square().sum()
        loss: Tensor = pseudo_huber(value - loss_B, delta).mean() + pull
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]  # torch leaves it untyped


def pull_of(surface: Surface) -> Tensor:
    """Return the squared distance of a surface of tensors to the start values."""
    base = surface.base
    pairs = (
        (base, surface.start),
        (surface.affine, base.new_tensor(START_AFFINE)),
        (surface.powers, base.new_tensor(START_POWERS)),
    )
    return torch.stack([((value - start) ** 2).sum() for value, start in pairs]).sum()


def choose_floor(law_B6: Array, loss_B: Array, **settings: Any) -> float:
    """Return the start of c under which the law best predicts the largest sizes, left out.

    The largest size, then the two largest, are left out and predicted by a law fitted to the rest
    (`settings` as for `fit_surface`); the score is the mean absolute error plus the absolute bias,
    since it is the bias that grows with the distance. The usual start stays unless another one
    scores better by more than a tenth: small differences say nothing. With one size there is
    nothing to choose by.
    """
    sizes = np.unique(law_B6[:, SIZE])
    scores = dict.fromkeys(FLOORS, 0.0)
    for first_out in sizes[1:][-2:]:
        left_out = law_B6[:, SIZE] >= first_out
        if (~left_out).sum() < MIN_KEPT:
            continue
        for floor in FLOORS:
            surface = fit_surface(law_B6[~left_out], loss_B[~left_out], floor=floor, **settings)
            law = surface.value(surface.coefficients(law_B6[left_out]), law_B6[left_out])
            error = law - loss_B[left_out]
            scores[floor] += float(np.abs(error).mean() + abs(error.mean()))
    best = min(FLOORS, key=scores.__getitem__)
    usual = START_BASE[4]
    return best if scores[best] < 0.9 * scores[usual] else usual


def pseudo_huber(error: Tensor, delta: float) -> Tensor:
    """Return a loss quadratic below `delta` and linear above, with slope 1."""
    return delta * (torch.sqrt(1 + (error / delta) ** 2) - 1)
