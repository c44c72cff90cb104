"""Own runs, the family's law with its interval, and predictions, over compute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ncpl.figures.style import LAW_COLOUR, LOSS_LABEL, NCPL_COLOUR, pyplot, save
from ncpl.model.community import Community

POINTS = 40


def adapted_figure(
    bundle: Community, asked: Sequence[tuple[float, Mapping[str, float]]], path: Path
) -> None:
    """Write the figure of an adapted bundle.

    `asked` holds compute in FLOP and loss, low and high of predictions. The law is drawn along the
    tokens for a parameter of the known runs' middle.
    """
    plt = pyplot()
    figure, axis = plt.subplots(figsize=(7.2, 4.8), layout="constrained")
    known: list[dict[str, Any]] = bundle.about.get("known", [])
    compute = [6 * run["params_non_embedding"] * run["train_tokens"] for run in known]
    every = [*compute, *(flop for flop, _ in asked)]
    if known:
        ratio = float(
            np.median([run["train_tokens"] / run["params_non_embedding"] for run in known])
        )
        flop = np.geomspace(min(every) / 1.5, max(every) * 4, POINTS)
        size = np.sqrt(flop / 6 / ratio)
        rows = [{"params_non_embedding": n, "data_tokens": n * ratio} for n in size.tolist()]
        found = bundle.fits[0].adapted.predict(rows)
        axis.fill_between(flop, found.low, found.high, color=LAW_COLOUR, alpha=0.2, lw=0)
        axis.plot(
            flop, found.loss, color=LAW_COLOUR, lw=1.2,
            label=f"law at {ratio:.3g} tokens a parameter, 90%",
        )  # fmt: skip
        axis.scatter(compute, [run["loss"] for run in known], color="black", s=18, label="own runs")
    if asked:
        loss = np.array([told["loss"] for _, told in asked])
        ends = [loss - [t["low"] for _, t in asked], [t["high"] for _, t in asked] - loss]
        axis.errorbar(
            [flop for flop, _ in asked], loss, ends, fmt="o", color=NCPL_COLOUR, ms=4, lw=1,
            label="predicted, 90%",
        )  # fmt: skip
    axis.set(xscale="log", xlabel="compute, 6 N D, FLOP", ylabel=LOSS_LABEL)
    axis.legend()
    save(plt, figure, path)
