"""Own runs and what is predicted from them, with its interval, over compute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ncpl.errors import ConfigError
from ncpl.figures.style import LAW_COLOUR, LOSS_LABEL, pyplot, save
from ncpl.model.community import Community

POINTS = 40
REACH = 30.0
"""Compute up to which is drawn, over the largest known."""


def adapted_figure(bundle: Community, path: Path) -> None:
    """Write the figure of an adapted bundle: own runs, and the law from them to 30 times on.

    The law is drawn at the tokens a parameter of the known runs' middle. Raises ConfigError where
    no run is known.
    """
    known: list[dict[str, Any]] = bundle.about.get("known", [])
    if not known:
        raise ConfigError("no run with a final loss is known: there is nothing to draw")
    plt = pyplot()
    figure, axis = plt.subplots(figsize=(7.2, 4.8), layout="constrained")
    compute = [6 * run["params_non_embedding"] * run["train_tokens"] for run in known]
    ratio = float(np.median([run["train_tokens"] / run["params_non_embedding"] for run in known]))
    flop = np.geomspace(min(compute) / 1.5, max(compute) * REACH, POINTS)
    size = np.sqrt(flop / 6 / ratio)
    rows = [{"params_non_embedding": n, "data_tokens": n * ratio} for n in size.tolist()]
    found = bundle.fits[0].adapted.predict(rows)
    axis.fill_between(flop, found.low, found.high, color=LAW_COLOUR, alpha=0.2, lw=0)
    axis.plot(
        flop, found.loss, color=LAW_COLOUR, lw=1.2,
        label=f"predicted at {ratio:.3g} tokens a parameter, 90%",
    )  # fmt: skip
    axis.scatter(compute, [run["loss"] for run in known], color="black", s=18, label="own runs")
    axis.set(xscale="log", xlabel="compute, 6 N D, FLOP", ylabel=LOSS_LABEL)
    axis.legend()
    save(plt, figure, path)
