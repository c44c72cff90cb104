"""How predictions of mixtures of experts score on each part, beside what else one could say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ncpl.data.fields import KNOWN
from ncpl.data.mixtures import Mixtures
from ncpl.data.schedules import Array
from ncpl.model.bundle import Bundle
from ncpl.model.experts import ExpertsModel, dense_at
from ncpl.model.family_law import BASE
from ncpl.model.law_inputs import N_REFERENCE
from ncpl.model.population import Population

LEFT = ("status", "source_run", "run_id")
PARTS = ("train", "id", "ood")


def stated_in(row: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration behind a derived row."""
    return {name: value for name, value in row.items() if name in KNOWN and name not in LEFT}


def expert_scores(
    model: ExpertsModel, bundle: Bundle, population: Population, every: dict[str, Mixtures]
) -> list[dict[str, Any]]:
    """Return a row for each source, part and method: runs, mean absolute error, coverage of 90%.

    Only mixtures with routers that learn. "of others" answers as if no mixture of the source were
    known, by the law of the first source: for that source itself it is no test.
    """
    found = []
    for source, own in every.items():
        for part in PARTS:
            runs = own.where(part).learned()
            if runs.rows:
                found += [
                    {"source": source, "split": part, "runs": len(runs.rows)} | row
                    for row in scores_of(model, bundle, population, runs)
                ]
    return found


def scores_of(
    model: ExpertsModel, bundle: Bundle, population: Population, runs: Mixtures
) -> list[dict[str, Any]]:
    """Return a row for each method on runs of one source."""
    configs = [stated_in(row) | {"source": runs.source} for row in runs.rows]
    numbers = range(1, len(configs) + 1)
    own = model.families.get(runs.source)
    rows = []
    if own is not None:
        rows.append(_row("own mixtures", model.predict(bundle, configs, numbers), runs.loss))
    if own is None or own.law is None:
        others = ExpertsModel(
            model.weights, model.spread, model.half, model.growth_beyond, model.bounds,
            {name: family for name, family in model.families.items() if name != runs.source},
        )  # fmt: skip
        rows.append(_row("mixtures of others", others.predict(bundle, configs, numbers), runs.loss))
    for name, losses in baselines(model, bundle, population, runs, configs).items():
        rows.append({"method": name, "mae": float(np.abs(losses - runs.loss).mean())})
    return rows


def baselines(
    model: ExpertsModel, bundle: Bundle, population: Population, runs: Mixtures,
    configs: Sequence[dict[str, Any]],
) -> dict[str, Array]:  # fmt: skip
    """Return what else could be said of mixtures (B,), nats."""
    total = np.array([row["params_non_embedding"] for row in runs.rows])
    active = np.array([row["params_active_non_embedding"] for row in runs.rows])
    tokens = np.array([row["data_tokens"] for row in runs.rows])
    experts = np.log([row["n_experts"] for row in runs.rows])
    own = model.families.get(runs.source)
    fit = next((fit for fit in bundle.fits if fit.family[0] == runs.source), None)
    found: dict[str, Array] = {}
    if fit is None and own is not None and own.law is not None:
        found["dense at the active size"] = own.law.losses(np.log(active))
        found["dense at the whole size"] = own.law.losses(np.log(total))
    elif fit is not None:
        for name, size in (
            ("dense at the active size", active),
            ("dense at the whole size", total),
        ):
            asked = [dense_at(c, float(n)) for c, n in zip(configs, size, strict=True)]
            found[name] = np.array([p.loss for p in bundle.predict(asked)])
        found["Chinchilla at the active size"] = np.asarray(fit.baseline.predict(active, tokens))
    if found:
        slope = dict(zip(BASE, population.mean.tolist(), strict=True))
        n = np.log(active / N_REFERENCE)
        per = slope["experts"] + slope["experts_n"] * n
        found["slopes of the population"] = found["dense at the active size"] + per * experts
    return found


def _row(name: str, told: Sequence[Any], loss: Array) -> dict[str, Any]:
    """Return the scores of predictions with intervals."""
    found, low, high = (np.array([getattr(p, k) for p in told]) for k in ("loss", "low", "high"))
    return {
        "method": name,
        "mae": float(np.abs(found - loss).mean()),
        "covers": float(((low <= loss) & (loss <= high)).mean()),
        "width": float((high - low).mean()),
    }


def score_lines(scores: Sequence[dict[str, Any]]) -> list[str]:
    """Return scores as a table of text."""
    from ncpl_data.terminal.tables import aligned

    rows: list[tuple[str, ...]] = [
        ("source", "split", "runs", "method", "MAE", "90% covers", "width")
    ]
    for row in scores:
        covers, width = row.get("covers"), row.get("width")
        rows.append(
            (
                row["source"], row["split"].upper(), str(row["runs"]), row["method"],
                f"{row['mae']:.4f}", "" if covers is None else f"{covers:.3f}",
                "" if width is None else f"{width:.3f}",
            )
        )  # fmt: skip
    return list(aligned(rows))
