"""Predictions of mixtures of experts among dense ones, for ncpl predict."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ncpl.data.sizes import is_mixture

STAND_IN = 1e8
"""Size of what stands in for a mixture; its prediction is not used."""


def answered(
    bundle: Any, configs: list[dict[str, Any]], folder: Path | None, nearest: int,
    *, with_curves: bool,
) -> tuple[list[dict[str, Any]], list[Any]]:  # fmt: skip
    """Return checked configurations, and one prediction for each.

    Raises ConfigError for a wrong one, click.UsageError for curves of a mixture of experts.
    """
    from ncpl.evaluate.configurations import check_all

    if not any(is_mixture(config) for config in configs):
        configs = check_all(configs, bundle)
        return configs, list(bundle.predict(configs, nearest=nearest))
    if with_curves:
        raise click.UsageError("no curve of a mixture of experts is known: leave --curve out")
    return configs, predict_with_mixtures(bundle, configs, folder, nearest)


def predict_with_mixtures(
    bundle: Any, configs: Sequence[dict[str, Any]], folder: Path | None, nearest: int
) -> list[Any]:
    """Return one prediction for each configuration, mixtures of experts by the bundle's file.

    Raises ConfigError for a wrong configuration, and for a mixture where the bundle knows none, or
    none like it.
    """
    from ncpl.bundles import ensemble_beside
    from ncpl.data.consistency import checked
    from ncpl.evaluate.configurations import check_all
    from ncpl.model.bundle import read_card
    from ncpl.model.experts import dense_at, load_experts

    where = ensemble_beside(folder)
    model = load_experts(where, read_card(where))
    if model is None:
        check_all(list(configs), bundle)  # refuses the first mixture
        raise AssertionError("a mixture passed a model of dense runs")
    places = [i for i, config in enumerate(configs) if is_mixture(config)]
    numbers = [i + 1 for i in places]
    told = model.predict(bundle, [configs[i] for i in places], numbers)
    # Dense ones stand in for mixtures, so that messages count configurations as the file does.
    dense = [dense_at(c, STAND_IN) if is_mixture(c) else c for c in configs]
    read = {name for fit in bundle.fits for name in fit.fields}
    for i, config in enumerate(dense, start=1):
        checked(config, where=f"configuration {i}", read=read)
    found = list(bundle.predict(dense, nearest=nearest))
    for i, prediction in zip(places, told, strict=True):
        found[i] = prediction
    return found
