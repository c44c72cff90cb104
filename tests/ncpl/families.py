"""Families drawn from a known law, for tests of the population."""

from __future__ import annotations

import numpy as np

from ncpl.data.families import FamilyRuns
from ncpl.data.fields import derive


def family(
    name: str, source: str, *, floor: float = 1.8, seed: int = 0, count: int = 30
) -> FamilyRuns:
    """Return runs of L = a n^-alpha + b d^-beta + floor with a bowl about a best learning rate."""
    generator = np.random.default_rng(seed)
    a, alpha = (
        0.6 * np.exp(0.2 * generator.standard_normal()),
        0.28 + 0.03 * generator.standard_normal(),
    )
    b, beta = 0.35, 0.32 + 0.03 * generator.standard_normal()
    sizes = np.tile(np.geomspace(2e7, 1e9, 6), count)[:count]
    data = sizes * np.repeat([20, 40, 80, 160, 320], 6)[np.arange(count) % 30]
    rates = 2e-3 * (sizes / 250e6) ** -0.4 * np.exp(0.7 * generator.standard_normal(count))
    off = np.log(rates / 2e-3) + 0.4 * np.log(sizes / 250e6)
    loss = a * (sizes / 250e6) ** -alpha + b * (data / 15e9) ** -beta + floor + 0.02 * off**2
    loss = loss + 0.002 * generator.standard_normal(count)
    rows = [
        derive(
            {"params_non_embedding": float(n), "train_tokens": float(d), "learning_rate": float(r)}
        )
        for n, d, r in zip(sizes, data, rates, strict=True)
    ]
    return FamilyRuns(
        name,
        frozenset({source}),
        [f"{source}/{name}-{i}" for i in range(count)],
        rows,
        loss,
        (source, "loss", "", "", "nats_per_token"),
        ["train"] * count,
    )


def community(count: int = 6) -> list[FamilyRuns]:
    """Return families of different sources and floors."""
    return [family(f"f{i}", f"s{i}", floor=1.5 + 0.15 * i, seed=i) for i in range(count)]
