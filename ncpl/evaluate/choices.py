"""How good choices are: the recommended settings against the measured runs of each group."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ncpl.data.fields import derive
from ncpl.data.snapshot import Runs
from ncpl.evaluate.scores import MIN_GROUP
from ncpl.laws.steplaw import PUBLISHED
from ncpl.model.bundle import Bundle

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Choice:
    """What one group of runs (optimizer, N, D) says about the choices among them."""

    source: str
    split: str
    group: str
    n: int
    best: float
    """Lowest measured loss, nats per token."""
    gap_percent: float
    """How far the run with the lowest predicted loss lies above it."""
    cautious_gap_percent: float
    """The same for the lowest upper end of the interval, by which ncpl plan recommend ranks."""
    step_law_gap_percent: float
    """The same for the run nearest to the published Step Law; NaN outside AdamW."""
    median_gap_percent: float
    """The same for the group's median run: what a blind pick costs."""


def choices(bundle: Bundle, runs: Runs, splits: tuple[str, ...] = ("id", "ood")) -> list[Choice]:
    """Return one choice for each group of at least MIN_GROUP runs with a loss.

    NCPL chooses the run with the lowest predicted loss (or upper end), the Step Law the run nearest
    to its optimum in log learning rate and log batch size.
    """
    found = []
    for fit in bundle.fits:
        for split in splits:
            part = runs.where(family=fit.family, split=split).readable()
            if not len(part):
                continue
            predicted = bundle.intervals(fit, part.configs)
            distance = _distance(part)
            groups = np.array([g or "" for g in part.group])
            for group in sorted(set(groups.tolist()) - {""}):
                rows = np.flatnonzero(groups == group)
                if len(rows) < MIN_GROUP:
                    continue
                loss = part.loss[rows]
                far = distance[rows]
                law = math.nan if np.isnan(far).any() else _gap(loss, int(far.argmin()))
                found.append(
                    Choice(
                        fit.family[0], split, group, len(rows), float(loss.min()),
                        _gap(loss, int(predicted.loss[rows].argmin())),
                        _gap(loss, int(predicted.high[rows].argmin())), law,
                        float(100 * (np.median(loss) / loss.min() - 1)),
                    )
                )  # fmt: skip
    return found


def _gap(loss: Array, chosen: int) -> float:
    return float(100 * (loss[chosen] / loss.min() - 1))


def _distance(part: Runs) -> Array:
    """Return each run's distance to the Step Law's optimum; NaN where it says nothing."""
    rows = [derive(config) for config in part.configs]
    names = ("params_non_embedding", "data_tokens", "learning_rate", "batch_tokens")
    n, d, rate, batch = (
        np.array([row.get(name) or np.nan for row in rows], dtype=np.float64) for name in names
    )
    found = np.asarray(PUBLISHED.distance(n, d, rate, batch), dtype=np.float64)
    found[[row.get("optimizer") not in (None, "adamw") for row in rows]] = np.nan
    return found


def choice_gap(bundle: Bundle, runs: Runs) -> dict[tuple[str, str], float]:
    """Return the mean gap in percent for each (source, split)."""
    gaps: dict[tuple[str, str], list[float]] = {}
    for choice in choices(bundle, runs):
        gaps.setdefault((choice.source, choice.split), []).append(choice.gap_percent)
    return {key: float(np.mean(values)) for key, values in gaps.items()}
