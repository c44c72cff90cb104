"""What each part of the community model is worth: the transfer board with and without it.

Every row is scored on the first two draws of the frozen tasks, the sources of a family left out.
Nothing is chosen by it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ncpl.data.families import HELD_OUT, FamilyRuns
from ncpl.data.own_runs import CURVE_TRUST, points_along, tell_data
from ncpl.data.snapshot import Runs, Snapshot
from ncpl.evaluate.transfer_tasks import TransferTask, qualifies
from ncpl.evaluate.transfer_widths import (
    Learn,
    Transferred,
    lacking,
    measure,
    parts_of,
    widths_by_sources,
    widths_of,
    without,
)
from ncpl.model.adaptation import Adapted
from ncpl.model.family_law import LAW, Design, Effects, losses
from ncpl.model.law_inputs import Array
from ncpl.model.population import Population
from ncpl.model.posterior import FREEDOM

DRAWS = 2
POINTS = 60
"""Points read of a curve before those that count are chosen of them."""
USUAL_VOCABULARY, USUAL_LENGTH = 50_000, 2048
MOST_PLACED = 300
"""Runs a family is placed by."""
Populations = dict[frozenset[str], Population]
Locate = Callable[[FamilyRuns, Population], Array]
"""How the likely numbers of a family's law under a population are found."""


@dataclass(frozen=True)
class Comparison:
    """One part of the model, with it or without."""

    part: str
    variant: str
    k: int
    """Known runs; 0 where a family's training runs are known."""
    families: int
    mae: float
    """Mean over families, nats."""
    median: float
    coverage: float
    """Of 90% intervals, mean over families."""
    width: float


def scored(part: str, variant: str, measured: Sequence[Transferred]) -> list[Comparison]:
    """Return a row a number of known runs; widths from the tasks of other sources."""
    return summed(part, variant, measured, widths_by_sources(measured))


def summed(
    part: str,
    variant: str,
    measured: Sequence[Transferred],
    factors: dict[frozenset[str], dict[int, float]],
) -> list[Comparison]:
    """Return a row a number of known runs, with factors on half widths by sources and runs."""
    rows = []
    for count in sorted({m.task.count for m in measured}):
        found: dict[str, list[tuple[float, float, float]]] = {}
        for m in measured:
            if m.task.count != count:
                continue
            factor = factors[m.sources].get(count, 1.0)
            wide = m.answers.widened(factor)
            error = float(np.abs(m.answers.loss - m.loss).mean())
            own = (error, float(wide.covers(m.loss).mean()), wide.width)
            found.setdefault(m.task.family, []).append(own)
        means = np.array([np.mean(own, axis=0) for own in found.values()])
        mae, covered, width = means.mean(0).tolist()
        median = float(np.median(means[:, 0]))
        rows.append(Comparison(part, variant, count, len(found), mae, median, covered, width))
    return rows


def compare(
    snapshot: Snapshot,
    runs: Runs,
    families: Sequence[FamilyRuns],
    tasks: Sequence[TransferTask],
    *,
    learn: Learn,
    locate: Locate,
    tell: Callable[[str], None] = lambda _: None,
) -> list[Comparison]:
    """Return all rows."""
    by_name = {family.name: family for family in families}
    chosen = [
        task
        for task in tasks
        if task.count and task.draw < DRAWS and not lacking(by_name.get(task.family), task)
    ]
    populations: Populations = {}
    for task in chosen:
        sources = by_name[task.family].sources
        if sources not in populations:
            tell(f"learning without {', '.join(sorted(sources))}")
            populations[sources] = learn(without(families, sources))
    plain = [measure(populations[by_name[t.family].sources], by_name[t.family], t) for t in chosen]
    rows = scored("as shipped", "", plain)
    tell("covariates of the level")
    moved = with_covariates(families, populations, locate)
    told = [measure(moved[task.family], by_name[task.family], task) for task in chosen]
    rows += scored("vocabulary, sequence length and kind of data", "with", told)
    tell("curves in the context")
    rows += curves_told(snapshot, runs, by_name, chosen, plain, populations)
    tell("synthetic families")
    rows += summed(
        "widths from synthetic families", "with", plain,
        {sources: synthetic_widths(by_name, chosen, population)
         for sources, population in populations.items()},
    )  # fmt: skip
    tell("joint against separate")
    return rows + joint(families, learn)


def covariates(family: FamilyRuns) -> Array:
    """Return what may tell a family's level: log vocabulary, log sequence length, other data.

    Zero where it is not stated. Other data: the loss is on a data set named in its metric, and
    another one was trained on. Bits per byte are stated by no family.
    """
    usual = (("vocab_size", USUAL_VOCABULARY), ("sequence_length", USUAL_LENGTH))
    values = []
    for name, reference in usual:
        stated = [float(row[name]) for row in family.rows if row.get(name)]
        values.append(float(np.log(np.median(stated) / reference)) if stated else 0.0)
    metric, dataset = family.family[1], family.family[2]
    on = metric.split("/")[1].split("_")[0] if "/" in metric else ""
    values.append(float(on == "c4" and bool(dataset) and not dataset.startswith("c4")))
    return np.array(values)


def with_covariates(
    families: Sequence[FamilyRuns], populations: Populations, locate: Locate
) -> dict[str, Population]:
    """Return the population of each family, its centre moved by what the family states.

    Slopes are a ridge regression over the families it was learned from, one unit of a covariate in
    one family of prior weight, of how far the numbers of their laws lie from its centre.
    """
    moved = {}
    for family in families:
        population = populations.get(family.sources)
        if population is None:
            continue
        rest = without(families, family.sources)
        z = np.array([covariates(f) for f in rest])
        away = np.array([locate(f, population)[: len(LAW)] for f in rest])
        away -= population.mean[: len(LAW)]
        slopes = np.linalg.solve(z.T @ z + np.eye(z.shape[1]), z.T @ away)
        mean = population.mean.copy()
        mean[: len(LAW)] += covariates(family) @ slopes
        moved[family.name] = replace(population, mean=mean)
    return moved


def curves_told(
    snapshot: Snapshot,
    runs: Runs,
    by_name: dict[str, FamilyRuns],
    tasks: Sequence[TransferTask],
    plain: Sequence[Transferred],
    populations: Populations,
) -> list[Comparison]:
    """Return the tasks whose known runs have points that count, with them and without."""
    wanted = {run_id for task in tasks for run_id in task.context}
    some = runs.take(np.array([run_id in wanted for run_id in runs.run_ids], dtype=bool))
    points = snapshot.points(some, count=POINTS)
    place = {run_id: i for i, run_id in enumerate(some.run_ids)}
    told, untold = [], []
    for task, before in zip(tasks, plain, strict=True):
        family = by_name[task.family]
        known, asked = parts_of(family, task)
        rows, loss = list(known.rows), known.loss.tolist()
        for run_id, row in zip(known.run_ids, known.rows, strict=True):
            i = place[run_id]
            there = np.isfinite(points.loss[i])
            shares, values = (v[i][there].tolist() for v in (points.frac, points.loss))
            curve = [
                {"percent": 100 * share, "loss": value}
                for share, value in zip(shares, values, strict=True)
            ]
            for point, value in points_along(curve, row, run_id, []):
                rows.append(point)
                loss.append(value)
        extra = len(rows) - len(known)
        if not extra or not tell_data(known.rows):
            continue
        weight = np.concatenate([np.ones(len(known)), np.full(extra, CURVE_TRUST)])
        adapted = Adapted.of(populations[family.sources], rows, np.array(loss), weight=weight)
        told.append(Transferred(task, family.sources, asked.loss, adapted.predict(asked.rows)))
        untold.append(before)
    part = "curves in the context, where they have points that count"
    return scored(part, "with", told) + scored(part, "without", untold)


def synthetic_widths(
    by_name: dict[str, FamilyRuns], tasks: Sequence[TransferTask], population: Population
) -> dict[int, float]:
    """Return factors on half widths from families drawn from a population.

    Each has the configurations of a real one; its law and the scale of its errors are drawn.
    """
    measured = []
    for i, name in enumerate(dict.fromkeys(task.family for task in tasks)):
        drawn = synthetic(by_name[name], population, np.random.default_rng(i))
        measured += [
            measure(population, drawn, task)
            for task in tasks
            if task.family == name and task.draw == 0
        ]
    return widths_of(measured)


def synthetic(
    family: FamilyRuns, population: Population, generator: np.random.Generator
) -> FamilyRuns:
    """Return a family of the same configurations whose law is drawn from the population."""
    effects = Effects.of(family.rows)
    prior = population.prior(effects)
    theta = generator.multivariate_normal(prior.mean, prior.covariance)
    middle, spread = population.log_noise
    noise = np.exp(middle + spread * generator.standard_normal())
    loss = losses(theta[None], Design.of(family.rows, effects))[0]
    return replace(family, loss=loss + noise * generator.standard_t(FREEDOM, len(loss)))


def joint(families: Sequence[FamilyRuns], learn: Learn) -> list[Comparison]:
    """Return held-out errors of families with a published split, with other families and alone.

    Alone: the same law about what is assumed before any family is seen.
    """
    train = [family.training() for family in families]
    split = [
        (family, own)
        for family, own in zip(families, train, strict=True)
        if {"id", "ood"} <= set(family.split) and family.name.startswith(("steplaw", "marin/"))
    ]
    if not split:
        return []
    both = {
        "joint": learn([own for own in train if qualifies(own)]),
        "separate": Population.start(),
    }
    rows = []
    for family, own in split:
        chosen = own.some(MOST_PLACED)
        for variant, population in both.items():
            adapted = Adapted.of(population, chosen.rows, chosen.loss)
            for part in HELD_OUT:
                asked = family.where(part)
                answers = adapted.predict(asked.rows)
                error = float(np.abs(answers.loss - asked.loss).mean())
                inside = float(answers.covers(asked.loss).mean())
                rows.append(
                    Comparison(
                        f"{family.family[0]}, {part.upper()}", variant, 0, 1,
                        error, error, inside, answers.width,
                    )
                )  # fmt: skip
    return rows


def to_json(snapshot_id: str, rows: Sequence[Comparison]) -> dict[str, Any]:
    """Return the table as plain values, as the card keeps it."""
    plain = [
        {name: round(v, 6) if isinstance(v, float) else v for name, v in asdict(row).items()}
        for row in rows
    ]
    return {"format": "ncpl-transfer-comparisons/1", "snapshot_id": snapshot_id, "rows": plain}
