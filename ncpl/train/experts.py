"""Mixtures of experts, learned from a snapshot beside a bundle of dense runs.

The law of effective sizes comes from the source that varies experts and sizes at one recipe and
states how it routes; each source with mixtures of its own gets a process over what the law misses.
Held-out groups (`ncpl.data.mixtures`) are never used.

Legend: B runs, K terms, V columns.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ncpl.data.mixtures import DenseRun, Mixtures, nominal
from ncpl.data.snapshot import Snapshot
from ncpl.errors import SnapshotError
from ncpl.evaluate.experts import stated_in
from ncpl.model.experts import (
    BOUNDED,
    ENTRY,
    SIZE_REFERENCE,
    DenseAnswers,
    DenseLaw,
    ExpertsModel,
    OwnMixtures,
    dense_at,
    kernel,
    own_columns,
    ratio_of,
    scaled,
    terms,
)
from ncpl.train.added_entry import put_on_card
from ncpl.train.calibrate import weighted_quantile

log = logging.getLogger(__name__)
Array = npt.NDArray[np.float64]
LEAST_RUNS, LEAST_DENSE = 40, 6
"""Mixtures a source needs for a process of its own, and dense runs of one number of tokens for a
law."""
RIDGE = 1e-3
STRETCHES, NOISES = (0.6, 1.0, 1.6), (0.003, 0.03, 0.3)
"""Of the process over own mixtures, of which those with the least left-out error are kept."""
LEVEL = 0.9


def dense_law(runs: Sequence[tuple[float, float, float]]) -> DenseLaw:
    """Return the power law of size through dense runs of one number of tokens."""
    from scipy.optimize import least_squares

    size, tokens, loss = np.array(runs).T
    x = np.log(size / SIZE_REFERENCE)

    def off(theta: Array) -> Array:
        return np.asarray(np.exp(theta[0] - theta[1] * x) + theta[2] - loss)

    found = least_squares(off, [0.0, 0.2, loss.min() - 0.5], loss="soft_l1", f_scale=0.01).x
    return DenseLaw(float(found[0]), float(found[1]), float(found[2]), float(tokens[0]))


def growth_of(law: DenseLaw, own: Mixtures) -> Array:
    """Return log(N_eff / Na) that measured losses ask for (B,)."""
    above = np.maximum(own.loss - law.floor, 1e-6)
    active = np.log([row["params_active_non_embedding"] / SIZE_REFERENCE for row in own.rows])
    return np.asarray((law.log_a - np.log(above)) / law.alpha - active)


def fit_growth(law: DenseLaw, own: Mixtures) -> Array:
    """Return the weights of the law of effective sizes."""
    z_BK, u_B = terms(own.rows), growth_of(law, own)
    gram = z_BK.T @ z_BK + RIDGE * np.eye(z_BK.shape[1])
    return np.asarray(np.linalg.solve(gram, z_BK.T @ u_B))


def losses_of(law: DenseLaw, weights: Array, own: Mixtures) -> Array:
    """Return what the law says of mixtures (B,), nats."""
    active = np.log([row["params_active_non_embedding"] for row in own.rows])
    return law.losses(active + terms(own.rows) @ weights)


def learn_experts(
    bundle: DenseAnswers,
    sources: Sequence[str],
    every: Mapping[str, Mixtures],
    dense: Mapping[str, Sequence[DenseRun]],
) -> ExpertsModel:
    """Return what the mixtures of a snapshot say (see `mixtures_in`).

    `sources` are those whose dense runs the bundle answers for. Raises SnapshotError where no
    source varies experts at one recipe, with dense runs beside.
    """
    laws = {
        source: dense_law(runs)
        for source, runs in dense.items()
        if len(runs) >= LEAST_DENSE and len({tokens for _, tokens, _ in runs}) == 1
    }
    whose = [s for s in laws if len(set(every[s].router)) > 1 and len(every[s].rows) >= LEAST_RUNS]
    if not whose:
        raise SnapshotError(
            "no source of the snapshot has mixtures of several routers and dense runs beside them; "
            "the shipped one has: ncpl-data ingest routed_lms"
        )
    first = max(whose, key=lambda s: len(every[s].rows))
    law, train = laws[first], every[first].where("train")
    learned = train.learned()
    weights = fit_growth(law, learned)
    sizes = np.array([row["params_active_non_embedding"] for row in learned.rows])
    missed = np.concatenate(
        [
            np.abs(losses_of(law, fit_growth(law, learned.take(sizes != s)), part) - part.loss)
            for s in np.unique(sizes)
            for part in [learned.take(sizes == s)]
        ]
    )
    half = weighted_quantile(missed, np.ones(len(missed)), LEVEL)
    model = ExpertsModel(
        weights, router_spread(law, train), half, growth_beyond(law, learned, half),
        bounds_of(every[first]), {},
    )  # fmt: skip
    for source, own in every.items():
        part = own.where("train").learned()
        if len(part.rows) < LEAST_RUNS or (source not in sources and source not in laws):
            log.info("%s: %d mixtures are too few, or nobody tells its dense runs", source,
                     len(part.rows))  # fmt: skip
            continue
        base = laws.get(source) if source not in sources else None
        model.families[source] = own_process(model, bundle, base, part)
    return model


def growth_beyond(law: DenseLaw, own: Mixtures, half: float) -> float:
    """Return how the half width grows by each log of a size above the known ones.

    As the largest two sizes need, from fits of those below the second largest.
    """
    sizes = np.array([row["params_active_non_embedding"] for row in own.rows])
    known = np.unique(sizes)
    below = known[-3]
    weights = fit_growth(law, own.take(sizes <= below))
    needed = [0.0]
    for size in known[-2:]:
        part = own.take(sizes == size)
        missed = np.abs(losses_of(law, weights, part) - part.loss)
        wide = weighted_quantile(missed, np.ones(len(missed)), LEVEL)
        needed.append((wide / half - 1) / float(np.log(size / below)))
    return max(needed)


def router_spread(law: DenseLaw, own: Mixtures) -> Array:
    """Return how level and slope in r of one router lie off those of the others (2, 2)."""
    names = np.array(own.router)
    found = []
    for name in sorted(set(own.router)):
        part = own.take(names == name)
        weights = fit_growth(law, own.take(names != name))
        away = growth_of(law, part) - terms(part.rows) @ weights
        r = ratio_of(part.rows)
        design = np.column_stack([np.ones(len(r)), r])
        found.append(np.linalg.lstsq(design, away, rcond=None)[0])
    off = np.array(found)
    return np.asarray(off.T @ off / len(off))


def bounds_of(own: Mixtures) -> dict[str, tuple[float, float]]:
    """Return the ratios, active sizes and experts of training runs."""
    rows = own.where("train").rows
    ratio = np.exp(ratio_of(rows))
    sizes, experts = ([float(row[name]) for row in rows] for name in BOUNDED[1:])
    values = (ratio.tolist(), sizes, experts)
    return {name: (min(v), max(v)) for name, v in zip(BOUNDED, values, strict=True)}


def law_answers(
    model: ExpertsModel, bundle: DenseAnswers, base: DenseLaw | None, own: Mixtures
) -> Array:
    """Return what the law alone says of mixtures (B,), nats."""
    growth, _ = model.growth(own.rows)
    if base is not None:
        return losses_of(base, model.weights, own)
    configs = [
        dense_at(stated_in(row), float(row["params_active_non_embedding"] * np.exp(u)))
        for row, u in zip(own.rows, growth, strict=True)
    ]
    return np.array([p.loss for p in bundle.predict(configs)])


def own_process(
    model: ExpertsModel, bundle: DenseAnswers, base: DenseLaw | None, own: Mixtures
) -> OwnMixtures:
    """Return the process over what the law misses of a source's own mixtures.

    Its numbers are those with the least error on groups left out, whose errors give the half width.
    """
    missed_B = own.loss - law_answers(model, bundle, base, own)
    columns = own_columns(own.rows)
    is_there = np.isfinite(columns).all(0)
    centre = np.where(is_there, np.nan_to_num(columns).mean(0), 0.0)
    scale = np.where(is_there, np.nan_to_num(columns).std(0), 0.0)
    scale = np.where(scale > 1e-6, scale, 0.0)
    x_BV = scaled(own.rows, centre, scale)
    groups = np.array(own.group)
    best: tuple[float, OwnMixtures] | None = None
    for stretch, noise in product(STRETCHES, NOISES):
        off_B, half_B = np.empty(len(groups)), np.empty(len(groups))
        for group in np.unique(groups):
            out = groups == group
            part = solved(x_BV[~out], missed_B[~out], centre, scale, stretch, noise, base)
            shift, half_B[out] = part.shift(own.take(out).rows)
            off_B[out] = np.abs(shift - missed_B[out])
        half = weighted_quantile(off_B / half_B, np.ones(len(off_B)), LEVEL)
        error = float(off_B.mean())
        if best is None or error < best[0]:
            whole = solved(x_BV, missed_B, centre, scale, stretch, noise, base)
            best = error, dataclasses.replace(whole, half=half)
    if best is None:
        raise AssertionError("no numbers of the process were tried")
    log.info("%s: left-out groups are missed by %.4f nats", own.source, best[0])
    return dataclasses.replace(best[1], beyond=beyond_own(best[1], own, missed_B))


def beyond_own(found: OwnMixtures, own: Mixtures, missed_B: Array) -> float:
    """Return how half widths grow by each log of what varies most above the known.

    As the runs of the largest tokens (or active size, where tokens do not vary) need, from the
    process through the others.
    """
    tokens = np.array([nominal(row) for row in own.rows])
    sizes = np.array([row["params_active_non_embedding"] for row in own.rows], dtype=np.float64)
    values = tokens if len(np.unique(tokens)) > 1 else sizes
    out = values == values.max()
    part = solved(
        found.points[~out], missed_B[~out], found.centre, found.scale, found.stretch, found.noise,
        found.law,
    )  # fmt: skip
    shift, half_B = part.shift(own.take(out).rows)
    wide = weighted_quantile(np.abs(shift - missed_B[out]) / half_B, np.ones(out.sum()), LEVEL)
    above = float(np.log(values.max() / values[~out].max()))
    return max(0.0, (wide / found.half - 1) / above)


def solved(
    x_BV: Array, y_B: Array, centre: Array, scale: Array, stretch: float, noise: float,
    base: DenseLaw | None,
) -> OwnMixtures:  # fmt: skip
    """Return the process through points, of unit half width."""
    inverse = np.asarray(
        np.linalg.inv(kernel(x_BV, x_BV, stretch) + noise * np.eye(len(x_BV))), dtype=np.float64
    )
    return OwnMixtures(base, centre, scale, x_BV, inverse @ y_B, inverse, stretch, noise, 1.0)


def add_experts_to(
    model: ExpertsModel, snapshot: Snapshot, scores: Sequence[Any], folder: Path
) -> None:
    """Write what mixtures say into a bundle's folder: the file, its card entry, the seal."""
    entry = {
        "sha256": model.save(folder), "sources": list(model.families), "snapshot_id": snapshot.id,
        "bounds": {name: list(ends) for name, ends in model.bounds.items()},
        "scores": list(scores),
    }  # fmt: skip
    put_on_card(folder, ENTRY, entry)
