"""What intervals are multiplied by for each form in which a configuration may come.

Of the runs that folds left out, the fields that users leave out are hidden, alone and together,
and filled in as for a prediction. What half widths must be multiplied by for LEVEL of the runs to
lie inside, each group counting the same, and NEAR_SHARE of those near the best, is the factor of
the form.

Legend: B runs, C completions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ncpl.data.drawn import is_drawn
from ncpl.data.fields import Config, derive
from ncpl.data.snapshot import Runs
from ncpl.model.completion import SHAPE, Completed, form_of
from ncpl.model.ensemble import Fit
from ncpl.model.intervals import half_width, joined

Array = npt.NDArray[np.float64]
LEVEL = 0.9
RECIPE = (
    "schedule", "decay_steps", "warmup_steps", "min_learning_rate", "weight_decay", "adam_beta1",
    "adam_beta2", "adam_epsilon", "grad_clip_norm", "momentum", "optimizer_extra",
)  # fmt: skip
"""Everything else a user may leave out."""
NEAR_FRAC = 0.01
"""Share above the best run of a group within which a run is near it, as on the card."""
HIDDEN: dict[str, tuple[str, ...]] = {
    "shape": SHAPE,
    "rate": ("learning_rate",),
    "batch": ("batch_size_sequences", "train_steps"),
    "optimizer": ("optimizer",),
    "recipe": RECIPE,
}
"""Fields hidden for each kind of field that a form lacks."""
FORMS = (
    "shape", "rate", "batch", "optimizer", "recipe", "batch+shape", "rate+shape", "batch+rate",
    "batch+rate+shape", "optimizer+rate", "batch+optimizer", "batch+optimizer+rate",
    "batch+recipe", "rate+recipe", "batch+rate+recipe",
)  # fmt: skip
"""Forms that are calibrated; what a source's runs never state or never vary is no form of it."""
FORM_FACTORS = tuple(round(1.1**i, 3) for i in range(20))
"""Factors tried for a form, smallest first: what is left out makes no prediction surer."""
MOST_TOLD = 3000
"""Left-out runs that each form is asked of; every one stands for up to 16 whole configurations."""
NEAR_SHARE = 0.85
"""Share of the runs near the best of their group that a form's intervals hold, on the mean."""


def form_widths(
    parts: Sequence[tuple[Fit, Runs, float]], factors: Mapping[str, float]
) -> dict[str, float]:
    """Return the factor of each form, from folds, what they left out and their typical spread.

    Of more than MOST_TOLD runs left out, each fold's share is drawn.
    """
    share = MOST_TOLD / max(sum(len(left_out) for _, left_out, _ in parts), MOST_TOLD)
    parts = [
        (fold, out.take(is_drawn(len(out), math.ceil(share * len(out)), seed=i)), typical)
        for i, (fold, out, typical) in enumerate(parts)
    ]
    found: dict[str, float] = {}
    for form in FORMS:
        seen = [
            told_of_form(fold, left_out, form, {**factors, "typical": typical})
            for fold, left_out, typical in parts
        ]
        if any(one is None for one in seen) or not seen:
            continue
        found[f"form_{form}"] = next(
            (f for f in FORM_FACTORS if enough([one for one in seen if one], f)), FORM_FACTORS[-1]
        )
    return found


class FormPredictions(NamedTuple):
    """What a fold says of left-out runs of which fields are hidden."""

    completed: Completed
    loss: Array
    """(C,) nats, as the half widths before the form's factor."""
    half: Array
    runs: Runs


def told_of_form(
    fit: Fit, runs: Runs, form: str, factors: Mapping[str, float]
) -> FormPredictions | None:
    """Return what a fit says of runs in a form; None where that is another form for its source."""
    completed = fit.completer([derive(hidden(config, form)) for config in runs.configs])
    if not all(form_of(missing) == form for missing in completed.missing):
        return None
    rows = completed.rows
    read = fit.read(fit.encoder.encode_rows(rows))
    loss, half = half_width(read, fit.encoder.distance(rows), fit.encoder.apart(rows), factors)
    return FormPredictions(completed, loss, half, runs)


def hidden(config: Config, form: str) -> dict[str, Any]:
    """Return a configuration in a form: without the fields it lacks, size and data as numbers."""
    names = {name for kind in form.split("+") if kind in HIDDEN for name in HIDDEN[kind]}
    if "optimizer" in names:
        names |= set(RECIPE)
    return {name: value for name, value in config.items() if name not in names}


def enough(seen: Sequence[FormPredictions], factor: float) -> bool:
    """Return whether intervals with this factor hold what they must."""
    held, near = [], []
    for part in seen:
        wide = np.full(len(part.runs), factor)
        _, low, high = joined(part.completed, part.loss, part.half, wide)
        inside = (low <= part.runs.loss) & (part.runs.loss <= high)
        groups = np.array([group or "" for group in part.runs.group])
        for group in np.unique(groups):
            own = groups == group
            loss = part.runs.loss[own]
            held.append(inside[own].mean())
            near.append(inside[own][loss <= loss.min() * (1 + NEAR_FRAC)].mean())
    return bool(np.mean(held) >= LEVEL and np.mean(near) >= NEAR_SHARE)
