"""What a fitted law says of new runs, and how far beyond its data they lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ncpl.laws.base import Array, Law
from ncpl.laws.registry import Ready
from ncpl.laws.saved import Saved

LEVELS = (0.05, 0.95)
MISFIT = 0.02
"""Standard deviation of the misfit a law gains by each factor of e beyond its data, as a share of
the loss. Six runs of the cheapest third of each of seven families, targets of four times their
compute and more: intervals then cover 89.4% (Chinchilla) and 83.4% (power law with a floor) on the
mean of families, and with none 68.5% and 67.7% (LOG.md)."""
EXTENDED = (
    "params", "params_non_embedding", "params_total", "train_tokens", "compute_flops", "x",
)  # fmt: skip
"""Inputs that a law is extended along."""
SAME = 1e-9


@dataclass(frozen=True)
class Forecast:
    """Predicted losses of n rows, with intervals where the fit has any."""

    loss: Array
    band: Array | None
    """(2, n) ends that hold 90% of new runs."""
    law_band: Array | None
    """(2, n) ends of the law itself, inside its data's range."""
    notes: list[str]
    """What to know of each row; empty where it lies inside the fitted ranges."""


def forecast(saved: Saved, data: Ready, *, seed: int = 0) -> Forecast:
    """Return what a saved fit says of the rows of a table.

    Inside the fitted ranges a new run spreads around the law as the fitted ones did; beyond them
    the law's own misfit grows, in one direction for all rows.
    """
    law = saved.over(data)
    loss = law.predict(saved.values, data.inputs)
    away, notes = _beyond(saved.ranges, data.inputs, len(loss))
    if not saved.draws:
        return Forecast(loss, None, None, notes)
    theta_KP = np.stack([law.theta(draw) for draw in saved.draws])
    drawn_Kn = law.predict_many(theta_KP, data.inputs)
    generator = np.random.default_rng(seed)
    spread_Kn = np.array(saved.noise)[:, None] * generator.normal(size=drawn_Kn.shape)
    spread_Kn += _scaled(law, MISFIT, loss) * away * generator.normal(size=(len(drawn_Kn), 1))
    new_Kn = drawn_Kn * np.exp(spread_Kn) if law.space == "log" else drawn_Kn + spread_Kn
    return Forecast(
        loss, np.quantile(new_Kn, LEVELS, axis=0), np.quantile(drawn_Kn, LEVELS, axis=0), notes
    )


def _scaled(law: Law, share: float, loss: Array) -> Array:
    return np.full(len(loss), share) if law.space == "log" else share * loss


def _beyond(
    ranges: Mapping[str, tuple[float, float]], inputs: Mapping[str, Array], n_rows: int
) -> tuple[Array, list[str]]:
    """Return factors of e that rows lie beyond the data, summed over inputs, and what to say."""
    away, told = np.zeros(n_rows), [""] * n_rows
    for name, (low, high) in ranges.items():
        if name not in inputs or name not in EXTENDED or low <= 0:
            continue
        own = np.maximum(np.log(inputs[name] / high), np.log(low / inputs[name]))
        away += np.maximum(own, 0.0)
        where = (
            f"all fitted runs have {low:.3g}"
            if low == high
            else f"fitted on {low:.3g} to {high:.3g}"
        )
        for i in np.flatnonzero(own > SAME):
            told[i] += f"{'; ' if told[i] else ''}{name} {inputs[name][i]:.3g}, {where}"
    return away, told


def one_valued(inputs: Mapping[str, Array]) -> list[str]:
    """Return one sentence for each input of which all fitted runs have one value."""
    return [
        f"all runs have {name} {values[0]:.4g}: how the loss goes with it is not in these data; "
        "elsewhere the fit only repeats what it began with"
        for name, values in inputs.items()
        if name in EXTENDED and len(values) > 1 and np.ptp(values) <= SAME * abs(values[0])
    ]
