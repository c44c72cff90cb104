"""How often 90% intervals hold, near the optimum and far from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ncpl.data.snapshot import Runs
from ncpl.errors import NcplError
from ncpl.evaluate.scores import SPLITS
from ncpl.figures.style import LAW_COLOUR, NCPL_COLOUR, PALETTE, pyplot, save
from ncpl.model.predictor import Predictor

EDGES_PERCENT = (0.0, 0.5, 1.0, 2.0, 5.0, np.inf)
"""How far a run lies above the best of its group."""
LABELS = ("< 0.5", "0.5-1", "1-2", "2-5", "> 5")


def coverage_bins(bundle: Predictor, runs: Runs, source: str | None = None) -> list[dict[str, Any]]:
    """Return, a (source, split, distance from the optimum) a row: runs, share inside, widths."""
    rows: list[dict[str, Any]] = []
    for fit in bundle.fits:
        for split in SPLITS if source in (None, fit.family[0]) else ():
            part = runs.where(family=fit.family, split=split).readable()
            if not len(part):
                continue
            found = bundle.intervals(fit, part.configs)
            inside = (found.low <= part.loss) & (part.loss <= found.high)
            above = _above_best_percent(part)
            error = np.abs(found.loss - part.loss)
            for i, label in enumerate(LABELS):
                own = (above >= EDGES_PERCENT[i]) & (above < EDGES_PERCENT[i + 1])
                if own.any():
                    rows.append(
                        {
                            "source": fit.family[0],
                            "split": split,
                            "percent_above_best": label,
                            "n": int(own.sum()),
                            "coverage": float(inside[own].mean()),
                            "median_half_width": float(
                                np.median((found.high - found.low)[own]) / 2
                            ),
                            "error_90": float(np.quantile(error[own], 0.9)),
                        }
                    )
    return rows


def _above_best_percent(part: Runs) -> Any:
    groups = np.array([g or "" for g in part.group])
    above = np.full(len(part), np.nan)
    for name in set(groups.tolist()):
        own = groups == name
        above[own] = 100 * (part.loss[own] / part.loss[own].min() - 1)
    return above


def coverage(bundle: Predictor, runs: Runs, path: Path, *, source: str | None = None) -> None:
    """Write coverage and width of the intervals over the distance from the optimum."""
    plt = pyplot()
    rows = coverage_bins(bundle, runs, source)
    keys = list(dict.fromkeys((row["source"], row["split"]) for row in rows))
    if not keys:
        raise NcplError("the snapshot has no held-out runs of this bundle's sources to plot")
    figure, axes = plt.subplots(
        2, len(keys), figsize=(3.4 * len(keys) + 0.6, 5.8), squeeze=False, layout="constrained",
        sharex="col", sharey="row",
    )  # fmt: skip
    for column, key in zip(axes.T, keys, strict=True):
        own = [row for row in rows if (row["source"], row["split"]) == key]
        at = [LABELS.index(row["percent_above_best"]) for row in own]
        shares = np.array([100 * row["coverage"] for row in own])
        counts = np.array([row["n"] for row in own])
        top, bottom = column
        low, high = _wilson(shares / 100, counts)
        top.axhspan(85, 96, color=PALETTE[2], alpha=0.15, lw=0, label="85 to 96%")
        top.axhline(90, color="0.5", lw=0.8, ls="--")
        top.errorbar(
            at, shares, [shares - 100 * low, 100 * high - shares], fmt="o", color=NCPL_COLOUR,
            ms=5, lw=1, capsize=2, label="inside, 90% of chance",
        )  # fmt: skip
        for x, n in zip(at, counts, strict=True):
            top.annotate(f"n={n}", (x, 2), ha="center", fontsize=7, color="0.35")
        whole = float(np.average(shares, weights=counts))
        top.set_title(f"{key[0]} {key[1].upper()}: {whole:.1f}% of {counts.sum()} runs")
        top.set_ylim(0, 103)
        bottom.semilogy(
            at, [row["median_half_width"] for row in own], "o-", color=NCPL_COLOUR, ms=4,
            label="interval: median half width",
        )  # fmt: skip
        bottom.semilogy(
            at, [row["error_90"] for row in own], "s--", color=LAW_COLOUR, ms=4, mec="0.3",
            label="error: 90% quantile",
        )  # fmt: skip
        bottom.set_xticks(range(len(LABELS)), LABELS)
        bottom.set_xlim(-0.5, len(LABELS) - 0.5)
        bottom.set_xlabel("percent above the best run\nof the group")
    axes[0][0].set_ylabel("inside the 90% interval, %")
    axes[1][0].set_ylabel("nats per token")
    axes[0][0].legend(loc="lower left", bbox_to_anchor=(0, 0.07))
    axes[1][0].legend(loc="upper left")
    save(plt, figure, path)


def _wilson(share: Any, count: Any) -> tuple[Any, Any]:
    """Return the 90% Wilson interval of shares."""
    z = 1.645
    centre = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return np.minimum(centre - half, share), np.maximum(centre + half, share)
