"""Figure of runs in progress: where they are forecast to go, with the band of the intervals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ncpl.figures.style import LOSS_LABEL, MEASURED_COLOUR, PALETTE, pyplot, save

if TYPE_CHECKING:
    from ncpl.plan.extrapolate import RunForecast


def forecast_figure(forecasts: Sequence[RunForecast], path: Path) -> None:
    """Draw what was measured, the forecast and its band of each run, by percent of the run."""
    plt = pyplot()
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for i, f in enumerate(forecasts):
        colour = PALETTE[i % len(PALETTE)]
        measured = [(p["percent"], p["loss"]) for p in f.measured]
        if measured:
            axes.plot(*zip(*measured, strict=True), color=MEASURED_COLOUR, lw=1)
        if f.curve:
            at = [p["percent"] for p in f.curve]
            axes.plot(at, [p["loss"] for p in f.curve], color=colour, label=f.name)
            axes.fill_between(
                at, [p["low"] for p in f.curve], [p["high"] for p in f.curve], color=colour,
                alpha=0.2, lw=0,
            )  # fmt: skip
    axes.set_xlabel("percent of the run")
    axes.set_ylabel(LOSS_LABEL.replace("final ", ""))
    if any(f.curve for f in forecasts):
        axes.legend()
    save(plt, figure, path)
