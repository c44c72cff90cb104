"""Widths of the 90% intervals, from training runs that a fit has not seen.

One member is fitted without a share of the groups, for each share, and one each without the largest
size, the fewest and the most tokens per parameter, under the kernel of the whole fit. What left-out
groups were missed by gives the scale of an error:

    scale = (spread / typical)^power * exp(growth * (loss above the best)^BEND)

Spread is the members' own scale and spread as one, typical its median over the training runs of the
same fit: members trained longer call all errors smaller. High learning rates are where runs differ,
so the scale grows with what the prediction lies above that of the best tenth of its size and data,
by the law. The half width of an interval is the scale times a factor, the 90% quantile of |error| /
scale on left-out groups, plus a slope times the distance from what training has seen
(`Encoder.distance`): the 90% quantile of what is missing then, by distance, on the left-out size,
of all its runs or of those near the best, whichever lack more. The same for the distance in tokens
per parameter (`Encoder.apart`) on the left-out corners and the longest budgets: size and data may
each lie near their range where the two together do not. Where no left-out run lies, the
width grows by the square of the distance. Errors of one group go together, and it is a new group
that an interval is asked for: each left-out group counts the same, however many runs it has (Dunn,
Wasserman and Ramdas 2022, Distribution-free prediction sets for two-layer hierarchical models).

Above the runs of which a process keeps all, groups are taken out of one process as blocks
(blocks.py), and the folds beyond the range are fitted to FOLD_RUNS of what they keep.

What fields left out add: form_widths.py. The ID and OOD parts are never used.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from ncpl.data.drawn import is_drawn
from ncpl.data.fields import derive
from ncpl.data.snapshot import Runs, sizes
from ncpl.model.config import FitConfig
from ncpl.model.ensemble import Fit
from ncpl.model.intervals import (
    BEND,
    FACTORS,
    error_scale,
    told,
    unmeasured,
    widened,
)
from ncpl.train.blocks import Blocks
from ncpl.train.fit import fit_family, settled
from ncpl.train.form_widths import LEVEL, form_widths

log = logging.getLogger(__name__)
Array = npt.NDArray[np.float64]
MIN_SLOPE = 0.01
"""Least slope, nats a unit of distance: a lucky fold may not stop the widening."""
NEAR_BEST = 0.01
"""Nats above the best within which a plan looks. Beyond the sizes these runs err together, by what
the law misses: StepLaw's lack 1.2 to 1.5 times what all do (LOG.md)."""
ONE_SIZE = 0.65
"""Share of the slope to keep where the fold kept one size only, which tells nothing of how losses
fall with the size. StepLaw's five sizes: a fit of two lacks .66 times what a fit of one does on the
same larger size (geometric mean of six pairs, .25 to 1.2), and a third size changes little."""
FOLD_RUNS, SPREAD_RUNS = 5000, 2000
"""Most runs that a fold beyond the trained range is fitted to, and a typical spread is of; more
cost more and say little else."""
MIN_LEFT_OUT = 20
CORNER_SHARES = (0.05, 0.1, 0.25)
"""Most training runs that are left out as those of fewest, or of most, tokens per parameter: a step
out of range, and further."""
MIN_NEAR = 10
"""Runs near the best that say what a corner lacks there."""
SCALE_PENALTY = 1e-2
"""Price of the squared weights of the scale, in standard deviations of what they weigh."""


def calibrate(
    fit: Fit,
    train: Runs,
    config: FitConfig,
    *,
    seed: int,
    on_fold: Callable[[int], None] | None = None,
) -> dict[str, float]:
    """Return the numbers of `FACTORS` for the fit of all training runs and left-out MAEs, nats.

    Folds take from it what it chose and the numbers of its kernel.
    """
    if config.calibration_folds == 0:
        return dict(FACTORS)
    kernel = fit.process.logs if fit.process is not None else None
    missed: dict[str, list[Missed]] = {"inside": [], "outside": [], "few": [], "long": []}
    parts: list[tuple[Fit, Runs, float]] = []
    settings = settled(config, fit).of_a_fold(config.calibration_steps)
    blocks = Blocks.of(fit, train, settings)
    for i, (where, left_out) in enumerate(folds(train, config.calibration_folds)):
        if on_fold is not None:
            on_fold(i)
        kept = train.take(~left_out)
        if blocks is not None and where == "inside":
            fold = blocks.without(left_out, seed=seed + 100 + i)
        else:
            some = kept.take(is_drawn(len(kept), FOLD_RUNS, seed=seed))
            whole = fit if config.is_structured else None  # else networks stand on Chinchilla
            fold = fit_family(some, settings, seed=seed + 100 + i, kernel=kernel, whole=whole)
        part = left_out_errors(fold, kept, train.take(left_out))
        missed[where].append(part)
        if where in ("inside", "outside"):
            parts.append((fold, train.take(left_out), typical_spread(fold, kept)))
    found = measured_widths(missed, train)
    if "inside_left_out_mae" in found:  # until here spreads were in units of a fold's typical one
        found |= form_widths(parts, found)
        found["typical"] = typical_spread(fit, train)
    return found


def measured_widths(missed: Mapping[str, Sequence[Missed]], train: Runs) -> dict[str, float]:
    """Return the numbers of `FACTORS`, the unit of spreads left out, and left-out errors, nats."""
    found = dict(FACTORS)
    for where, parts in missed.items():
        if sum(len(part.error) for part in parts) < MIN_LEFT_OUT:
            if where == "inside":
                break  # without the widths inside there is nothing to add to outside
            continue
        part = Missed(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
        found[f"{where}_left_out_mae"] = float(np.abs(part.error).mean())
        found[f"{where}_left_out_bias"] = float(part.error.mean())
        if where == "inside":
            found |= fit_scale(part)
            scale = error_scale(part.spread, part.above, found)
            found["inside"] = weighted_quantile(np.abs(part.error) / scale, part.weight, LEVEL)
        elif where == "outside":
            n_sizes = len(distinct(sizes(train)[0])) - 1
            level = part.apart == 0  # the others are told by a slope of their own
            own = Missed(*(column[level] for column in part))
            if (own.distance > 0).any():
                found["outside"] = fit_slope(own, found, n_sizes=n_sizes)
    corners = [part for where in ("outside", "few", "long") for part in missed.get(where, ())]
    if "inside_left_out_mae" in found and sum(len(p.error) for p in corners) >= MIN_LEFT_OUT:
        # The most that a corner asks for, that of the left-out size included: errors there go with
        # the side, and with the size.
        found["apart"] = max(fit_apart(part, found) for part in corners)
    return found


def weighted_quantile(values_B: Array, weight_B: Array, level: float) -> float:
    """Return the smallest value that at least `level` of the weight lies at or below."""
    order = np.argsort(values_B)
    share = np.cumsum(weight_B[order]) / weight_B.sum()
    return float(values_B[order][np.searchsorted(share, level - 1e-12)])


def fit_scale(part: Missed) -> dict[str, float]:
    """Return power and growth under which errors are most likely, as Laplace-distributed ones."""
    error, spread, above, weight = (
        torch.from_numpy(values)
        for values in (np.abs(part.error), np.log(part.spread), part.above**BEND, part.weight)
    )
    weight = weight / weight.sum()
    unit = above.std() + 1e-9
    level = (weight * error).sum().log()
    weights = torch.tensor([0.0, 0.5, 0.0], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        log_scale = level + weights[0] + weights[1] * (spread - spread.mean())
        log_scale = log_scale + weights[2] * (above - above.mean()) / unit
        loss = (weight * (error * (-log_scale).exp() + log_scale)).sum()
        loss = loss + SCALE_PENALTY * (weights[1:] ** 2).sum()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    power, growth = weights.detach()[1:].clamp(min=0)  # neither makes an interval narrower
    return {"power": float(power), "growth": float(growth / unit)}


def fit_slope(part: Missed, factors: Mapping[str, float], *, n_sizes: int) -> float:
    """Return what half widths lack for each unit of distance, nats, on a left-out size.

    `n_sizes` is how many sizes the fold kept.
    """
    scale = error_scale(part.spread, part.above, factors)
    far = part.distance > 0
    near_best = far & (part.above <= NEAR_BEST)
    lacking = np.abs(part.error) - factors["inside"] * scale - unmeasured(part.distance)
    slope = max(
        weighted_quantile(lacking[some] / part.distance[some], part.weight[some], LEVEL)
        for some in (far, near_best)
        if some is far or some.sum() >= MIN_LEFT_OUT
    )
    return max(MIN_SLOPE, slope * (ONE_SIZE if n_sizes == 1 else 1.0))


def fit_apart(part: Missed, factors: Mapping[str, float]) -> float:
    """Return what half widths lack for each unit of distance in tokens per parameter, nats."""
    scale = error_scale(part.spread, part.above, factors)
    wide = factors["inside"] * scale + widened(part.distance, part.apart, {**factors, "apart": 0.0})
    lacking = np.abs(part.error) - wide
    far = part.apart > 0
    near_best = far & (part.above <= NEAR_BEST)
    return max(
        0.0,
        *(
            weighted_quantile(lacking[some] / part.apart[some], part.weight[some], LEVEL)
            for some, least in ((far, MIN_LEFT_OUT), (near_best, MIN_NEAR))
            if some.sum() >= least
        ),
        0.0,
    )


def folds(train: Runs, n_folds: int) -> list[tuple[str, npt.NDArray[np.bool_]]]:
    """Return (what it measures, left-out rows): whole groups in turn, the largest size, corners.

    Corners are the groups of fewest tokens per parameter and those of most, up to each of
    CORNER_SHARES of the runs.
    """
    names = sorted({group or "" for group in train.group})
    groups = np.array([group or "" for group in train.group])
    found = [
        ("inside", np.isin(groups, names[i::n_folds])) for i in range(min(n_folds, len(names)))
    ]
    params, tokens = sizes(train)
    if len(distinct(params)) > 1:
        found.append(("outside", params == np.nanmax(params)))
    density = np.round(np.log(tokens / params), 6)
    for where, sign in (("few", 1), ("long", -1)):
        left_out = np.zeros(len(train), dtype=bool)
        for share in CORNER_SHARES:
            before = int(left_out.sum())
            for value in np.unique(sign * density[np.isfinite(density)]):
                more = left_out | (sign * density == value)
                if more.sum() > share * len(train):
                    break
                left_out = more
            if left_out.sum() >= MIN_LEFT_OUT and left_out.sum() > before:
                found.append((where, left_out.copy()))
    return found


def distinct(params_B: Array) -> Array:
    """Return the sizes that are known, each once, smallest first."""
    return np.unique(params_B[np.isfinite(params_B)])


class Missed(NamedTuple):
    """How a fit missed B runs it has not seen."""

    error: Array
    """(B,) predicted less measured, nats."""
    spread: Array
    """(B,) the members' own scale and spread, in units of the typical one."""
    above: Array
    """(B,) predicted loss above that of the best of that size and data, nats."""
    distance: Array
    """(B,) from what it has seen, `Encoder.distance`."""
    apart: Array
    """(B,) in tokens per parameter, `Encoder.apart`."""
    weight: Array
    """(B,) one over the runs of its group."""


def left_out_errors(fit: Fit, kept: Runs, left_out: Runs) -> Missed:
    """Return how a fit to the runs kept misses those left out."""
    rows = [derive(config) for config in left_out.configs]
    loss, spread, above = told(fit.read(fit.encoder.encode_rows(rows)))
    n_runs = Counter(left_out.group)
    weight = np.array([1 / n_runs[group] for group in left_out.group])
    distance, apart = fit.encoder.distance(rows), fit.encoder.apart(rows)
    unit = typical_spread(fit, kept)
    return Missed(loss - left_out.loss, spread / unit, above, distance, apart, weight)


def typical_spread(fit: Fit, train: Runs) -> float:
    """Return the median over a fit's training runs of the members' scale and spread, nats."""
    some = train.take(is_drawn(len(train), SPREAD_RUNS, seed=0))
    return float(np.median(told(fit.read(fit.encoder.encode(some.configs)))[1]))
