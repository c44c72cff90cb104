"""What a bundle keeps of each family: its law, its interval, the ranges of its training runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from ncpl.data.snapshot import Family
from ncpl.language.bundle import OUTSIDE_FACTOR, WATCHED, FamilyFit, LanguageBundle
from ncpl.language.examples import Examples
from ncpl.language.sequence import Query
from ncpl.laws.chinchilla import Chinchilla

COVERED = 0.9
FEWEST = 20
"""Held-out runs of a family below which those of all families set its interval."""


def fits_of(
    bundle: LanguageBundle,
    laws: Mapping[Family, Chinchilla],
    train: Examples,
    fold: Examples,
    seed: int,
) -> list[FamilyFit]:
    """Return the fit of every family.

    The interval is that of split conformal prediction: the 90% quantile of the errors on held-out
    training groups; without any, that on the training runs, widened as outside the ranges.
    """
    fits = []
    for family, law in laws.items():
        own = [q for q in train.queries + fold.queries if q.row["source"] == family[0]]
        ranges = {}
        for name in WATCHED:
            values = [float(q.row[name]) for q in own if q.row.get(name) is not None]
            if values:
                ranges[name] = (min(values), max(values))
        optimizers = tuple(sorted({str(q.row["optimizer"]) for q in own if q.row.get("optimizer")}))
        fits.append(FamilyFit(family, law, math.inf, ranges, optimizers, [seed]))
    held = fold.queries or train.queries
    by_source = {fit.family[0]: fit for fit in fits}
    errors = np.array(_errors(bundle, held, by_source))
    sources = np.array([q.row["source"] for q in held])
    factor = 1.0 if fold.queries else OUTSIDE_FACTOR
    found = []
    for fit in fits:
        own_errors = errors[sources == fit.family[0]]
        chosen = own_errors if len(own_errors) >= FEWEST else errors
        half = factor * _conformal(chosen)
        kept = vars(fit) | {"half_width": half}
        found.append(FamilyFit(**kept))
    return found


def _errors(
    bundle: LanguageBundle, queries: Sequence[Query], fits: Mapping[str, FamilyFit]
) -> list[float]:
    """Return the absolute errors of the final loss, nats."""
    rows = [query.row for query in queries]
    own = [fits[row["source"]] for row in rows]
    losses = bundle.losses(rows, own, [(1.0,)] * len(rows))
    measured = [
        query.targets[-1]
        + float(fit.baseline.predict(query.row["params_non_embedding"], query.row["data_tokens"]))
        for query, fit in zip(queries, own, strict=True)
    ]
    return [abs(float(loss[0]) - value) for loss, value in zip(losses, measured, strict=True)]


def _conformal(errors: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    rank = min(len(errors), math.ceil(COVERED * (len(errors) + 1)))
    return float(np.sort(errors)[rank - 1])
