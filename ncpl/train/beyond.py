"""How far the Gaussian process is believed beyond the largest size: chosen on training runs."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from ncpl.data.drawn import drawn
from ncpl.model.arrays import Array
from ncpl.model.encoder import Encoder
from ncpl.model.inputs import SIZE, Inputs
from ncpl.train.gaussian_process import EXACT_RUNS, fit_process
from ncpl.train.response_surface import MIN_KEPT, fit_surface


def told_beyond(
    inputs: Inputs,
    target_B: Array,
    encoder: Encoder,
    *,
    floor: float,
    seed: int,
    **settings: Any,
) -> tuple[bool, bool]:
    """Return whether the process's level at the largest size helps beyond it, and whether it fades.

    The largest size, then the two largest, are left out and predicted with and without. Where
    fewer than two sizes would be left, which say nothing of how loss goes with size, it is carried.
    What is said beside the surface fades unless that is worse by more than a tenth: small
    differences say nothing, and further out there is less and less reason for it.
    """
    size_B = inputs.law[:, SIZE]
    errors = {True: 0.0, False: 0.0}
    faded = {True: 0.0, False: 0.0}
    for first_out in np.unique(size_B)[2:][-2:]:
        out = size_B >= first_out
        if (~out).sum() < MIN_KEPT:
            continue
        # A choice of two needs no more runs than an exact process takes.
        stay, asked = (
            places[drawn(len(places), EXACT_RUNS, seed=seed)]
            for places in (np.flatnonzero(~out), np.flatnonzero(out))
        )
        kept = inputs.take(stay)
        surface = fit_surface(kept.law, target_B[stay], floor=floor, **settings)
        surface_B = surface.value(surface.coefficients(inputs.law), inputs.law)
        residual_B = target_B - surface_B
        process, _ = fit_process(kept, residual_B[stay], surface, encoder, seed=seed)
        for carries in errors:
            process = dataclasses.replace(
                process, carries_level=np.array(carries), fades=np.array(True)
            )
            left = process.mean(inputs.take(asked), surface)
            errors[carries] += float(np.abs(left - residual_B[asked]).mean())
            share = process.kept(size_B[asked])
            faded[carries] += float(np.abs(share * left - residual_B[asked]).mean())
    carried = errors[True] <= errors[False]
    return carried, 0 < faded[carried] < 1.1 * errors[carried]
