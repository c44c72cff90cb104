"""Predicted against measured final losses: the paper's figure 1."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ncpl.data.snapshot import Runs, sizes
from ncpl.errors import NcplError
from ncpl.evaluate.scores import SPLITS
from ncpl.figures.style import LAW_COLOUR, LOSS_LABEL, NCPL_COLOUR, SCALE, pyplot, save
from ncpl.model.predictor import Predictor


def predicted_against_measured(
    bundle: Predictor, runs: Runs, path: Path, *, source: str | None = None
) -> None:
    """Write predicted against measured losses with 90% intervals: a row a source, ID and OOD."""
    plt = pyplot()
    fits = [
        fit
        for fit in bundle.fits
        if source in (None, fit.family[0])
        and any(len(runs.where(family=fit.family, split=split).readable()) for split in SPLITS)
    ]
    if not fits:
        raise NcplError("the snapshot has no held-out runs of this bundle's sources to plot")
    figure, axes = plt.subplots(
        len(fits), 2, figsize=(10.4, 4.6 * len(fits)), squeeze=False, layout="constrained"
    )
    for fit, row in zip(fits, axes, strict=True):
        for axis, split in zip(row, SPLITS, strict=True):
            part = runs.where(family=fit.family, split=split).readable()
            if not len(part):
                axis.set_axis_off()
                continue
            found = bundle.intervals(fit, part.configs)
            params, tokens = sizes(part)
            law = fit.baseline.predict(params, tokens)
            inside = np.mean((found.low <= part.loss) & (part.loss <= found.high))
            every = np.concatenate([part.loss, found.loss])
            ends = [every.min() - 0.03, every.max() + 0.03]
            axis.plot(ends, ends, color="0.6", lw=0.8, zorder=1)
            axis.scatter(
                part.loss, law, s=9, marker="x", color=LAW_COLOUR, lw=0.7, zorder=2,
                label=f"Chinchilla, refitted: MAE {np.abs(law - part.loss).mean():.4f}",
            )  # fmt: skip
            half = [found.loss - found.low, found.high - found.loss]
            axis.errorbar(
                part.loss, found.loss, half, fmt="none", ecolor=NCPL_COLOUR, alpha=0.18, lw=0.7,
                zorder=3, label=f"90% interval: covers {100 * inside:.1f}%",
            )  # fmt: skip
            dots = axis.scatter(
                part.loss, found.loss, s=10, c=params / 1e6, cmap=SCALE, lw=0, zorder=4,
                label=f"NCPL: MAE {np.abs(found.loss - part.loss).mean():.4f}",
            )  # fmt: skip
            axis.set(
                xlim=ends, ylim=ends, aspect="equal",
                xlabel=f"measured {LOSS_LABEL}", ylabel=f"predicted {LOSS_LABEL}",
                title=f"{fit.family[0]} {split.upper()}: {len(part)} runs",
            )  # fmt: skip
            axis.legend(loc="upper left", handletextpad=0.3)
            figure.colorbar(dots, ax=axis, label="non-embedding parameters, millions", shrink=0.85)
    save(plt, figure, path)
