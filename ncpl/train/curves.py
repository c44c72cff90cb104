"""Curve heads, fitted on top of members that stay as they are.

Legend: B runs, P points, J functions, V readings, W width, S inputs of a head.
"""

from __future__ import annotations

import logging

import numpy as np
import torch
from torch import Tensor

from ncpl.data.fields import derive
from ncpl.data.schedules import Schedules
from ncpl.data.snapshot import Points, Runs
from ncpl.model.config import FitConfig
from ncpl.model.curve_head import (
    EARLY_WEIGHT,
    LATE,
    CurveHead,
    fit_head,
    new_head,
)
from ncpl.model.ensemble import Fit, head_inputs, tensors_of
from ncpl.model.network import NCPL

log = logging.getLogger(__name__)
MIN_POINTS, MIN_CURVES = 4, 60
"""Points a curve needs, and curves a family needs, to be learned from."""
N_READINGS = 5
"""Readings of each run a curve head trains on: one with all fields, the others with some hidden."""


def fit_curves(fit: Fit, train: Runs, points: Points, config: FitConfig) -> list[CurveHead]:
    """Return a trained curve head for each member; none when too few runs have a curve.

    Members stay as they are. A head learns the loss less the final loss, so only runs with at least
    MIN_POINTS points count.
    """
    keep = np.isfinite(points.frac).sum(1) >= MIN_POINTS
    if keep.sum() < MIN_CURVES:
        log.info("%s: %d curves are too few for a model of curves", fit.family[0], keep.sum())
        return []
    train, points = train.take(keep), points.take(keep)
    rows = [derive(run) for run in train.configs]
    schedules = Schedules.of(rows)
    given = np.isfinite(points.frac)
    frac_BP = np.where(given, points.frac, 1.0)
    functions_BPJ = torch.from_numpy(schedules.functions(frac_BP)).float()
    shape_BP = torch.from_numpy(np.where(given, points.loss - train.loss[:, None], 0.0)).float()
    weight_BP = torch.from_numpy(given * np.where(frac_BP > LATE, 1.0, EARLY_WEIGHT)).float()
    tensors = tensors_of(fit.encoder.encode(train.configs))
    inputs_BS = head_inputs(fit.members[0], rows, tensors, schedules)  # members share the law
    heads = []
    for member, seed in zip(fit.members, fit.seeds, strict=True):
        hidden_VBW = readings(member, tensors, config.field_dropout, seed)
        head = new_head(member, fit.encoder, seed)
        fit_head(
            head,
            hidden_VBW,
            inputs_BS,
            functions_BPJ,
            shape_BP,
            weight_BP,
            steps=config.curve_steps,
            seed=seed,
        )
        heads.append(head.eval())
    return heads


@torch.no_grad()
def readings(
    member: NCPL, tensors: tuple[Tensor, Tensor, Tensor], dropout: float, seed: int
) -> Tensor:
    """Return what a member holds of each run (V, B, W): with all fields, then with some hidden."""
    numbers_BF, codes_BF, law_B6 = tensors
    generator = torch.Generator().manual_seed(seed)
    found = [member.read(*tensors)[1]]
    for _ in range(N_READINGS - 1):
        hidden = torch.rand(codes_BF.shape, generator=generator) < dropout
        found.append(member.read(numbers_BF, codes_BF.masked_fill(hidden, 0), law_B6)[1])
    return torch.stack(found)
