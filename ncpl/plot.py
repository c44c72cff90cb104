"""Figures of a bundle against a snapshot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ncpl.bundle import Bundle
from ncpl.data import Runs
from ncpl.errors import NcplError
from ncpl.evaluate import SPLITS
from ncpl.train import sizes


def pyplot() -> Any:
    """Return matplotlib's pyplot without a display. Raises NcplError when it is not installed."""
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise NcplError("plots need matplotlib: pip install 'ncpl[plot]'") from error
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    return plt


def predicted_against_measured(bundle: Bundle, runs: Runs, path: Path) -> None:
    """Write predicted against measured final losses, held-out parts beside each other, as PNG."""
    plt = pyplot()
    shown = [
        (fit, split, part)
        for fit in bundle.fits
        for split in SPLITS
        if len(part := runs.where(family=fit.family, split=split))
    ]
    if not shown:
        raise NcplError("the snapshot has no held-out runs of this bundle's sources to plot")
    figure, axes = plt.subplots(
        1, len(shown), figsize=(5.2 * len(shown), 4.8), squeeze=False, layout="constrained"
    )
    for axis, (fit, split, part) in zip(axes[0], shown, strict=True):
        found = bundle.intervals(fit, part.configs)
        params, tokens = sizes(part)
        baseline = fit.baseline.predict(params, tokens)
        error = abs(found.loss - part.loss).mean()
        ends = [
            min(part.loss.min(), found.loss.min()) - 0.02,
            max(part.loss.max(), found.loss.max()) + 0.02,
        ]
        axis.plot(ends, ends, color="0.6", lw=1)
        axis.scatter(part.loss, baseline, s=6, color="0.75", label="Chinchilla, refit")
        half = [found.loss - found.low, found.high - found.loss]
        axis.errorbar(
            part.loss, found.loss, half, fmt="none", ecolor="tab:blue", alpha=0.15, lw=0.6
        )
        dots = axis.scatter(part.loss, found.loss, s=7, c=params / 1e6, cmap="viridis", zorder=3)
        axis.set(
            xlim=ends,
            ylim=ends,
            xlabel="measured final loss, nats per token",
            ylabel="predicted",
            title=f"{fit.family[0]} {split.upper()}: {len(part)} runs, MAE {error:.4f}",
        )
        axis.set_aspect("equal")
        axis.legend(loc="upper left", frameon=False)
        figure.colorbar(dots, ax=axis, label="non-embedding parameters, millions")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    plt.close(figure)
