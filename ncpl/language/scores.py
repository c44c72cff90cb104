"""Scores of a language-model bundle on the held-out parts of a snapshot, beside Chinchilla."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from ncpl.data.snapshot import Family, Runs, Snapshot
from ncpl.evaluate.scores import SPLITS, law_score, plain, score
from ncpl.language.bundle import FamilyFit, LanguageBundle
from ncpl.language.examples import curve_points, row_of
from ncpl.laws.chinchilla import REFERENCE

NAME = "NCPL, language model"
SCORED_FRACTION = 0.1
"""Curve points before this fraction of the run are not scored."""


def rescore(bundle: LanguageBundle, snapshot: Snapshot, runs: Runs) -> None:
    """Put the scores on this snapshot's held-out runs on the bundle's card."""
    bundle.about["scored_on"] = snapshot.id
    bundle.about["scored_split"] = snapshot.policy
    rows: list[dict[str, Any]] = []
    curve_rows: list[dict[str, Any]] = []
    for fit in bundle.fits:
        curves = snapshot.curves(fit.family[1]) if bundle.config.has_curves else {}
        for split in SPLITS:
            part = runs.where(family=fit.family, split=split)
            if not len(part):
                continue
            where = {"source": fit.family[0], "split": split}
            rows += [where | row for row in _final(bundle, fit, part)]
            curve_rows += [where | row for row in _curves(bundle, fit, part, curves)]
    bundle.about["scores"] = [plain(row) for row in rows]
    bundle.about["curve_scores"] = [plain(row) for row in curve_rows]


def cells(bundle: LanguageBundle, runs: Runs) -> list[dict[str, Any]]:
    """Return one row a held-out cell (optimizer/N/D): runs, MAE of the model and of the law."""
    found: list[dict[str, Any]] = []
    for fit in bundle.fits:
        for split in SPLITS:
            part = runs.where(family=fit.family, split=split)
            if not len(part):
                continue
            predicted = bundle.predict([_asked(c, fit.family) for c in part.configs])
            loss = np.array([p.loss for p in predicted])
            law = np.array([p.baseline for p in predicted])
            for cell in sorted({g for g in part.group if g is not None}):
                own = np.array([g == cell for g in part.group])
                found.append(
                    {
                        "source": fit.family[0], "split": split, "cell": cell, "n": int(own.sum()),
                        "NCPL": float(np.abs(loss - part.loss)[own].mean()),
                        "Chinchilla, refit": float(np.abs(law - part.loss)[own].mean()),
                    }
                )  # fmt: skip
    return found


def _final(bundle: LanguageBundle, fit: FamilyFit, part: Runs) -> list[dict[str, Any]]:
    predicted = bundle.predict([_asked(config, fit.family) for config in part.configs])
    rows = [row_of(config, fit.family[0]) for config in part.configs]
    names = ("params_non_embedding", "data_tokens")
    params, tokens = (np.array([row[name] for row in rows]) for name in names)

    laws = {}
    if fit.family[0] in REFERENCE:
        laws["Chinchilla, reference"] = REFERENCE[fit.family[0]]
    if bundle.config.target == "refit":
        laws["Chinchilla, refit"] = fit.baseline
    found = [
        {"predictor": name} | law_score(law, params, tokens, part) for name, law in laws.items()
    ]
    loss, low, high = (
        np.array([getattr(p, name) for p in predicted]) for name in ("loss", "low", "high")
    )
    own = asdict(score(loss, part.loss, part.group, (low, high)))
    return [*found, {"predictor": NAME} | own]


def _curves(
    bundle: LanguageBundle, fit: FamilyFit, part: Runs, curves: Any
) -> list[dict[str, Any]]:
    rows, asked, measured = [], [], []
    for run_id, config in zip(part.run_ids, part.configs, strict=True):
        row = row_of(config, fit.family[0])
        points = curve_points(row, curves.get(run_id), bundle.config)
        late = [point for point in points if point[0] >= SCORED_FRACTION]
        if late:
            rows.append(row)
            asked.append(tuple(f for f, _ in late))
            measured += [loss for _, loss in late]
    if not rows:
        return []
    predicted = np.concatenate(bundle.losses(rows, [fit] * len(rows), asked))
    error = np.abs(predicted - np.array(measured))
    return [
        {"predictor": NAME, "runs": len(rows), "points": len(error), "mae": float(error.mean())}
    ]


def _asked(config: dict[str, Any], family: Family) -> dict[str, Any]:
    return config | {"source": family[0]}
