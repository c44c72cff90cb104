"""Curve heads, fitted on top of members that stay as they are.

Legend: B runs, P points, J functions, V readings, W width, S inputs of a head.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from ncpl.data.fields import derive
from ncpl.data.schedules import N_FUNCTIONS, Array, Schedules
from ncpl.data.snapshot import Points, Runs
from ncpl.model.config import FitConfig
from ncpl.model.curve_head import COEFFICIENT_SCALE, LATE, LAYERS, CurveHeads, head_inputs
from ncpl.model.ensemble import Fit
from ncpl.model.inputs import Inputs
from ncpl.train.response_surface import pseudo_huber

log = logging.getLogger(__name__)
MIN_POINTS, MIN_CURVES = 4, 60
"""Points a curve needs, and curves a family needs, to be learned from."""
N_READINGS = 5
"""Readings of each run a curve head trains on: one with all fields, the others with some hidden."""
EARLY_WEIGHT = 0.2
"""Weight of a point before LATE."""
HIDDEN = 64
DAMPING = 0.1
"""Variance added to every direction before functions are decorrelated, in units of a function's
own: what cosines alone cannot tell apart must not grow large under another schedule."""
HUBER_DELTA = 0.01


def fit_curves(fit: Fit, train: Runs, points: Points, config: FitConfig) -> CurveHeads | None:
    """Return a trained curve head for each member; none when too few runs have a curve.

    Members stay as they are. A head learns the loss less the final loss, so only runs with at least
    MIN_POINTS points count.
    """
    keep = np.isfinite(points.frac).sum(1) >= MIN_POINTS
    if keep.sum() < MIN_CURVES:
        log.info("%s: %d curves are too few for a model of curves", fit.family[0], keep.sum())
        return None
    train, points = train.take(keep), points.take(keep)
    rows = [derive(run) for run in train.configs]
    schedules = Schedules.of(rows)
    given = np.isfinite(points.frac)
    frac_BP = np.where(given, points.frac, 1.0)
    inputs = Inputs.of(fit.encoder.encode(train.configs))
    inputs_BS = head_inputs(fit.network, rows, inputs, schedules)
    hidden_MVBW = readings(fit, inputs, config.field_dropout)
    arrays = (
        inputs_BS,
        schedules.functions(frac_BP),
        np.where(given, points.loss - train.loss[:, None], 0.0),
        given * np.where(frac_BP > LATE, 1.0, EARLY_WEIGHT),
    )
    inputs_BS, functions_BPJ, shape_BP, weight_BP = (torch.from_numpy(a).float() for a in arrays)
    states = [
        fit_head(
            fresh_head(hidden_VBW.shape[-1], inputs_BS.shape[1], seed),
            hidden_VBW, inputs_BS, functions_BPJ, shape_BP, weight_BP,
            steps=config.curve_steps, seed=seed,
        )
        for hidden_VBW, seed in zip(hidden_MVBW, fit.seeds, strict=True)
    ]  # fmt: skip
    return CurveHeads.of_states(states)


def readings(fit: Fit, inputs: Inputs, dropout: float) -> list[Tensor]:
    """Return what each member holds of each run (V, B, W): with all fields, then some hidden."""
    generators = [torch.Generator().manual_seed(seed) for seed in fit.seeds]
    found = [fit.network(inputs).hidden]
    for _ in range(N_READINGS - 1):
        hidden = [torch.rand(inputs.codes.shape, generator=g) < dropout for g in generators]
        codes_MBF = np.where(torch.stack(hidden).numpy(), 0, inputs.codes)
        own = inputs.map(lambda a: np.broadcast_to(a, (len(fit.seeds), *a.shape)))
        found.append(fit.network(own._replace(codes=codes_MBF)).hidden)
    return list(torch.from_numpy(np.stack(found, axis=1)).mT.contiguous())


def fresh_head(width: int, n_inputs: int, seed: int) -> dict[str, Tensor]:
    """Return the initial weights of one head; they depend on `seed` only."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        shapes = ((width + n_inputs, HIDDEN), (HIDDEN, HIDDEN), (HIDDEN, N_FUNCTIONS))
        layers = [nn.Linear(*shape) for shape in shapes]
    return {
        f"{name}.{part}": tensor.detach()
        for name, layer in zip(LAYERS, layers, strict=True)
        for part, tensor in layer.named_parameters()
    }


def fit_head(
    initial: dict[str, Tensor],
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
) -> dict[str, Array]:
    """Return the named arrays of a head trained on measured shapes (loss less final loss, nats).

    `hidden_VBW` holds V readings of each run, the first with all fields, the others with some
    hidden; a step takes one of them. Points of weight 0 do not count. The same seed gives the same
    weights.
    """
    counted_BP1 = weight_BP[..., None]
    basis = decorrelating(functions_BPJ, counted_BP1)
    own_BPJ = functions_BPJ @ basis
    normal = torch.einsum("bpj,bpk->jk", own_BPJ * counted_BP1, own_BPJ) / weight_BP.sum()
    right = torch.einsum("bpj,bp->j", own_BPJ * counted_BP1, shape_BP) / weight_BP.sum()
    ridge = 1e-3 * torch.eye(N_FUNCTIONS)
    start = dict(initial)  # at the mean shape
    start[f"{LAYERS[-1]}.weight"] = start[f"{LAYERS[-1]}.weight"] * 0.01
    start[f"{LAYERS[-1]}.bias"] = torch.linalg.solve(normal + ridge, right) / COEFFICIENT_SCALE
    free = {name: tensor[None].clone().requires_grad_(True) for name, tensor in start.items()}
    fixed = {"low": inputs_BS.amin(0), "high": inputs_BS.amax(0), "basis": basis}
    head = CurveHeads(free | {name: tensor[None] for name, tensor in fixed.items()})
    optimizer = torch.optim.AdamW(list(free.values()), lr=learning_rate, weight_decay=weight_decay)
    generator = torch.Generator().manual_seed(seed)
    for step in range(steps):
        warm = min(1.0, (step + 1) / 50)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * warm * 0.5 * (1 + math.cos(math.pi * step / steps))
        rows = torch.randperm(len(shape_BP), generator=generator)[:batch_size]
        reading = int(torch.randint(len(hidden_VBW), (), generator=generator))
        coefficients_BJ = head.decorrelated(hidden_VBW[None, reading, rows], inputs_BS[rows])[0]
        error_BP = torch.einsum("bpj,bj->bp", own_BPJ[rows], coefficients_BJ) - shape_BP[rows]
        weight = weight_BP[rows]
        loss = (pseudo_huber(error_BP, HUBER_DELTA) * weight).sum() / weight.sum()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimizer.step()
        if on_step is not None:
            on_step(step, float(loss.detach()))
    return {name: tensor[0].detach().numpy() for name, tensor in head.arrays.items()}


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
