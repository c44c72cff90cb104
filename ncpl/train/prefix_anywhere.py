"""The shape of any curve, learned from several families, and its widths in one it has not seen.

Legend: B runs, P points, C cuts, U places of the rest.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ncpl.data.schedules import FIRST, Array
from ncpl.model.curve_process import CurveProcess, fit_curve_process
from ncpl.model.prefix import CUTS, FLAT, AnyPrefix
from ncpl.model.window_process import PLACES
from ncpl.train.measured_curves import MeasuredCurves, every_nth, with_end

LEVEL = 0.9


def any_prefix(every: Sequence[MeasuredCurves], *, most: int = 250) -> AnyPrefix:
    """Return the shape of curves of all families, one vote each, and its widths in another one.

    Widths: 90% quantiles in a family that the shape was not learned from; where there is only one,
    twice those of its own runs.
    """
    some = [own.take(every_nth(own, most)) for own in every]
    shape = of_losses(some)
    errors: list[list[Array]] = [[] for _ in CUTS]
    for i, left_out in enumerate(some):
        others = [own for j, own in enumerate(some) if j != i]
        process = of_losses(others or some)
        for j, cut in enumerate(CUTS):
            errors[j].append(missed_anywhere(process, left_out, cut) * (1 if others else 2))
    widths = [
        np.max([np.quantile(e, LEVEL, axis=0) for e in errors[j] if len(e)], axis=0)
        for j in range(len(CUTS))
    ]
    return AnyPrefix(shape, np.array(widths))


def of_losses(parts: Sequence[MeasuredCurves]) -> CurveProcess:
    """Return the distribution of whole curves, base zero, of several families."""
    ends = [with_end(own, own.loss, own.final) for own in parts]
    width = max(frac.shape[1] for frac, _ in ends)
    pad = [
        [np.pad(a, ((0, 0), (0, width - a.shape[1])), constant_values=np.nan) for a in pair]
        for pair in ends
    ]
    frac, loss = (np.concatenate([pair[i] for pair in pad]) for i in (0, 1))
    weight = np.concatenate([np.full(len(own.rows), 1 / len(own.rows)) for own in parts])
    rows = [row for own in parts for row in own.rows]
    return fit_curve_process(rows, frac, loss, weight_B=weight, start=0.5, rounds=25)


def missed_anywhere(process: CurveProcess, own: MeasuredCurves, cut: float) -> Array:
    """Return absolute errors at PLACES of the rest (n, U) of runs with a point before the cut."""
    at = cut + (1 - cut) * np.array(PLACES)
    found = []
    for i, row in enumerate(own.rows):
        known = (own.frac[i] > FIRST) & (own.frac[i] <= cut)
        if not known.any():
            continue
        loss = own.loss[i, known]
        told = process.tell(row, own.frac[i, known], loss, at, final=(float(loss[-1]), FLAT)).mean
        later = (own.frac[i] > FIRST) & (own.frac[i] < 1)
        frac = np.append(own.frac[i, later], 1.0)
        truth = np.interp(at, frac, np.append(own.loss[i, later], own.final[i]))
        found.append(np.abs(told - truth))
    return np.array(found).reshape(-1, len(PLACES))
