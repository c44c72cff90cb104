"""A fitted law as a JSON file, and two of them compared along compute."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ncpl.errors import ConfigError
from ncpl.laws import bnsl, mixture, registry
from ncpl.laws.base import Array, Law, LawFit
from ncpl.laws.registry import Ready
from ncpl.laws.uncertainty import Bootstrap

FORMAT = "ncpl-law/1"
COMPUTE_STEPS = 400
SIZES = np.geomspace(1e5, 1e13, 321)
"""Model sizes the compute-optimal frontier is taken over, parameters."""


@dataclass(frozen=True)
class Saved:
    """A fit read back: the law, its numbers, its refits and the compute its data span."""

    name: str
    law: Law | None
    """None for curve laws: they are built on the curves to predict."""
    values: dict[str, float]
    draws: list[dict[str, float]]
    compute: tuple[float, float] | None
    """Least and most training compute of the fitted runs, FLOPs."""
    noise: list[float]
    """What single runs spread by around the law, one number a draw."""
    ranges: dict[str, tuple[float, float]]
    """Least and most of each input in the fitted runs."""

    def over(self, data: Ready) -> Law:
        """Return the law ready for a table: curve laws take the table's own curves."""
        return data.law if self.law is None else self.law


def to_json(fit: LawFit, data: Ready, bootstrap: Bootstrap | None, seed: int) -> dict[str, Any]:
    """Return the whole fit as JSON values."""
    compute = compute_of(data)
    span = None if compute is None else [float(compute.min()), float(compute.max())]
    names = [p.name for p in fit.law.parameters]
    refits = [] if bootstrap is None else bootstrap.draws_KP.tolist()
    return {
        "format": FORMAT,
        **fit.to_json(),
        "seed": seed,
        "compute_flops": span,
        "x": [float(data.inputs["x"].min()), float(data.inputs["x"].max())]
        if fit.law.name == "bnsl"
        else None,
        "bootstrap": None if bootstrap is None else bootstrap.to_json(),
        "ranges": {
            name: [float(values.min()), float(values.max())]
            for name, values in data.inputs.items()
            if name != "row"
        },
        "draws": [dict(zip(names, draw, strict=True)) for draw in refits],
        "noise": [] if bootstrap is None else bootstrap.noise_K.tolist(),
    }


def compute_of(data: Ready) -> Array | None:
    """Return training compute of each row in FLOPs, where the law's inputs tell it."""
    inputs = data.inputs
    for name in ("compute_flops", "x"):
        if name in inputs:
            return inputs[name]
    size = inputs.get("params_non_embedding", inputs.get("params"))
    if size is not None and "train_tokens" in inputs:
        return np.asarray(6 * size * inputs["train_tokens"])
    return None


def load(file: Path) -> Saved:
    """Return a saved fit; ConfigError if the file is not one."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        if found.get("format") != FORMAT:
            raise ConfigError(
                f"{file}: format is {found.get('format')!r}, expected {FORMAT!r}; make it with: "
                "ncpl laws fit chinchilla runs.csv --out fit.json"
            )
        values = {name: float(entry["value"]) for name, entry in found["parameters"].items()}
        law = law_of(found["law"], values, found.get("x"))
        span = found["compute_flops"]
        draws = [{name: float(v) for name, v in draw.items()} for draw in found["draws"]]
        # Fits saved before these were kept have none: their intervals are those of the law alone.
        noise = [float(v) for v in found.get("noise") or [0.0] * len(draws)]
        ranges = {n: (float(a), float(b)) for n, (a, b) in (found.get("ranges") or {}).items()}
    except (OSError, json.JSONDecodeError, AttributeError, KeyError, TypeError) as error:
        raise ConfigError(f"{file} is not a fit of ncpl laws fit: {error}") from error
    ends = None if span is None else (float(span[0]), float(span[1]))
    return Saved(found["law"], law, values, draws, ends, noise, ranges)


def law_of(name: str, values: Mapping[str, float], x: list[float] | None) -> Law | None:
    """Return the law a file names, shaped by its parameters; ConfigError if there is none."""
    if name in registry.CURVE_LAWS:
        return None
    if name == "bnsl":
        n_breaks = sum(key.startswith("log_d") for key in values)
        return bnsl.bnsl(np.array(x), n_breaks)
    if name == "mixing":
        return mixture.mixing_law(1 + sum(key.startswith("t_") for key in values))
    if name not in registry.FIXED:
        raise ConfigError(f"there is no law {name!r}; there are: {', '.join(registry.NAMES)}")
    return registry.FIXED[name]


def frontier(law: Law, values: list[dict[str, float]], compute: Array) -> Array:
    """Return the lowest loss each parameter set can reach at each compute, shape (K, n).

    For laws of size and tokens the size is free and tokens = compute / (6 size).
    Raises ConfigError for laws that are not a function of compute.
    """
    theta_KP = np.stack([law.theta(v) for v in values])
    names = set(law.inputs)
    if names == {"x"}:
        return law.predict_many(theta_KP, {"x": compute})
    size, budget = np.repeat(SIZES, len(compute)), np.tile(compute, len(SIZES))
    tokens = budget / (6 * size)
    table: dict[str, npt.NDArray[np.generic]] = {"params": size, "train_tokens": tokens}
    full = registry.with_derived(table)
    if not names <= set(full):
        raise ConfigError(
            f"law {law.name} needs {', '.join(sorted(names - set(full)))} beside compute: "
            "it has no single curve to compare"
        )
    predicted = law.predict_many(theta_KP, {n: np.asarray(full[n], np.float64) for n in names})
    return np.asarray(predicted.reshape(len(values), len(SIZES), len(compute)).min(axis=1))


def lower(gap: float) -> str | None:
    """Return which of a and b is lower, by the first less the second; None if neither is."""
    return None if gap == 0 else "a" if gap < 0 else "b"


def compare(a: Saved, b: Saved) -> dict[str, Any]:
    """Return where two fitted curves cross inside the compute both were fitted on.

    `crossing_flops` is null when they do not; its interval needs refits on both sides, and
    `crosses_share` says how many pairs of refits cross at all.
    """
    for saved in (a, b):
        if saved.law is None or saved.compute is None:
            raise ConfigError(f"law {saved.name} is not a function of compute")
    assert a.law is not None
    assert b.law is not None
    assert a.compute is not None
    assert b.compute is not None
    low, high = max(a.compute[0], b.compute[0]), min(a.compute[1], b.compute[1])
    if low >= high:
        raise ConfigError(
            f"the two fits share no compute: {a.compute[0]:.3g} to {a.compute[1]:.3g} and "
            f"{b.compute[0]:.3g} to {b.compute[1]:.3g} FLOPs"
        )
    compute = np.geomspace(low, high, COMPUTE_STEPS)
    gap = frontier(a.law, [a.values], compute) - frontier(b.law, [b.values], compute)
    n_pairs = min(len(a.draws), len(b.draws))
    result: dict[str, Any] = {
        "range_flops": [low, high],
        "crossing_flops": crossing(compute, gap[0]),
        "lower_at_the_start": lower(gap[0, 0]),
        "lower_at_the_end": lower(gap[0, -1]),
        "gap_at_the_end": float(gap[0, -1]),
        "interval_90": None,
        "crosses_share": None,
        "refits": n_pairs,
    }
    if n_pairs:
        draws = frontier(a.law, a.draws[:n_pairs], compute) - frontier(
            b.law, b.draws[:n_pairs], compute
        )
        found = [crossing(compute, row) for row in draws]
        crossed = [c for c in found if c is not None]
        result["crosses_share"] = len(crossed) / n_pairs
        if len(crossed) >= 0.5 * n_pairs:
            ends = np.quantile(np.log(crossed), [0.05, 0.95])
            result["interval_90"] = [float(np.exp(e)) for e in ends]
    return result


def crossing(compute: Array, gap: Array) -> float | None:
    """Return the last compute at which the sign of the gap changes, or None."""
    turns = np.flatnonzero(np.sign(gap[1:]) != np.sign(gap[:-1]))
    if not len(turns):
        return None
    i = int(turns[-1])
    share = gap[i] / (gap[i] - gap[i + 1]) if gap[i] != gap[i + 1] else 0.0
    return float(np.exp(np.log(compute[i]) + share * np.log(compute[i + 1] / compute[i])))
