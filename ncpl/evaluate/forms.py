"""Scores by input form: what a prediction is worth when a configuration states less than a run did.

The forms are those the pages show. A run's other fields are hidden before it is predicted, so that
what is filled in is scored and not what was known.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ncpl.data.fields import Config
from ncpl.data.snapshot import Runs
from ncpl.model.bundle import Bundle
from ncpl.model.ensemble import Fit

Array = npt.NDArray[np.float64]
SIZES = ("source", "params_non_embedding", "nominal_train_tokens", "train_tokens")
SHAPE = ("n_layers", "d_model", "d_ff", "n_heads")
MINIMAL = (*SIZES, "learning_rate", "batch_size_sequences", "sequence_length")
FORMS: Mapping[str, tuple[str, ...] | None] = {
    "N, D, learning rate, batch, length": MINIMAL,
    "the same without batch": (*SIZES, "learning_rate", "sequence_length"),
    "the same without learning rate": (*SIZES, "batch_size_sequences", "sequence_length"),
    "with layers and widths": (*MINIMAL, *SHAPE),
    "everything": None,
}
"""The fields of each documented form; None states all a run does."""
NEAR_FRAC, FAR_FRAC = 0.01, 0.05
"""Shares above the best run of a group within which a run is near it, and beyond which far."""
MIN_GROUP = 10
"""Runs of a group from which on its own coverage says something."""


def in_form(config: Config, names: tuple[str, ...] | None) -> dict[str, Any]:
    """Return what a configuration states in a form."""
    return {k: v for k, v in config.items() if names is None or k in names}


def form_table(bundle: Bundle, runs: Runs) -> list[dict[str, Any]]:
    """Return one row a (source, split, form): bias and coverage, by runs and by groups."""
    rows = []
    for fit in bundle.fits:
        for split in ("train", "id", "ood"):
            part = runs.where(family=fit.family, split=split)
            if not len(part):
                continue
            for form, names in FORMS.items():
                rows.append(
                    {"source": fit.family[0], "split": split, "form": form}
                    | scored(bundle, fit, part, names)
                )
    return rows


def scored(
    bundle: Bundle, fit: Fit, part: Runs, names: tuple[str, ...] | None = None
) -> dict[str, Any]:
    """Return bias, MAE and coverage of runs predicted in a form."""
    found = bundle.intervals(fit, [in_form(config, names) for config in part.configs])
    inside = (found.low <= part.loss) & (part.loss <= found.high)
    groups = by_group(part, inside)
    error = found.loss - part.loss
    return {
        "n": len(part),
        "bias": float(error.mean()),
        "mae": float(np.abs(error).mean()),
        "covered": float(inside.mean()),
        "covered_near_groups": _mean([g["near"] for g in groups]),
        "half_width": float(np.median(found.high - found.low) / 2),
    }


def by_group(part: Runs, inside: npt.NDArray[np.bool_]) -> list[dict[str, Any]]:
    """Return for each group its runs, the share inside of all, and of those near its best."""
    groups = np.array([group or "" for group in part.group])
    found = []
    for name in sorted(set(groups.tolist())):
        own = groups == name
        loss = part.loss[own]
        near = loss <= loss.min() * (1 + NEAR_FRAC)
        found.append(
            {
                "group": name,
                "n": int(own.sum()),
                "all": float(inside[own].mean()),
                "n_near": int(near.sum()),
                "near": float(inside[own][near].mean()),
            }
        )
    return found


def group_table(bundle: Bundle, runs: Runs) -> list[dict[str, Any]]:
    """Return one row a held-out (source, split): coverage by groups, of whole configurations.

    The mean over groups, and the worst of those with MIN_GROUP runs or more; of all their runs and
    of those near the best.
    """
    rows = []
    for fit in bundle.fits:
        for split in ("id", "ood"):
            part = runs.where(family=fit.family, split=split)
            if not len(part):
                continue
            found = bundle.intervals(fit, part.configs)
            groups = by_group(part, (found.low <= part.loss) & (part.loss <= found.high))
            large = [group for group in groups if group["n"] >= MIN_GROUP]
            rows.append(
                {
                    "source": fit.family[0],
                    "split": split,
                    "groups": len(groups),
                    "mean": _mean([g["all"] for g in groups]),
                    "worst": min((g["all"] for g in large), default=None),
                    "mean_near": _mean([g["near"] for g in groups]),
                    "worst_near": min((g["near"] for g in large), default=None),
                }
            )
    return rows


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None
