"""What all figures share: matplotlib without a display, colours, names, files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ncpl.errors import NcplError

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's colours, told apart by colour-blind eyes; yellow is left out on white."""
NCPL_COLOUR, LAW_COLOUR, MEASURED_COLOUR = PALETTE[0], "0.65", "0.1"
SCALE = "viridis"
SUFFIXES = (".png", ".svg", ".pdf")
LOSS_LABEL = "final loss, nats per token"
DPI = 140
SETTINGS: Any = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "ncpl",
}


def pyplot() -> Any:
    """Return matplotlib's pyplot without a display. Raises NcplError when it is not installed."""
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise NcplError("plots need matplotlib: pip install 'ncpl-data[plot]'") from error
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    plt.rcParams.update(SETTINGS)
    return plt


def check_suffix(path: Path) -> None:
    """Raise NcplError unless the file's ending is one that can be drawn."""
    if path.suffix.lower() not in SUFFIXES:
        raise NcplError(f"{path}: expected a file that ends in {', '.join(SUFFIXES)}")


def save(plt: Any, figure: Any, path: Path, *, text: str | None = None) -> None:
    """Write a figure as PNG, SVG or PDF by the file's ending, the same bytes each time.

    `text` says in words what it shows, for who does not see it; it goes into the file.
    """
    check_suffix(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    ending = path.suffix.lower()
    about: dict[str, Any] = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(ending, {})
    if text is not None:
        about |= {"Subject" if ending == ".pdf" else "Description": text}
    figure.savefig(path, dpi=DPI, metadata=about or None)
    plt.close(figure)


def count_text(value: float) -> str:
    """Return a count with three digits and K, M, B or T."""
    for limit, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K")):
        if value >= limit * 0.9995:
            return f"{value / limit:.3g}{letter}"
    return f"{value:.3g}"


def group_title(config: Mapping[str, Any]) -> str:
    """Return size, tokens and optimizer of a derived configuration as a title."""
    size, data = config.get("params_non_embedding"), config.get("data_tokens")
    name = config.get("optimizer")
    text = f"{count_text(size or 0)} parameters, {count_text(data or 0)} tokens"
    return f"{name}: {text}" if name else text


def plain_log_ticks(axis: Any, values: Sequence[float]) -> None:
    """Label a logarithmic axis (matplotlib's xaxis or yaxis) at the given values only."""
    from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

    axis.set_major_locator(FixedLocator(list(values)))
    axis.set_major_formatter(FixedFormatter([tick_text(v) for v in values]))
    axis.set_minor_locator(NullLocator())


def tick_text(value: float) -> str:
    """Return a short number: 1024, 0.03, 3.5e-4."""
    if value >= 1:
        return f"{value:.5g}"
    if value >= 0.01:
        return f"{value:.2g}"
    digits, power = f"{value:.1e}".split("e")
    return f"{digits.removesuffix('.0')}e{int(power)}"


def thinned(values: Sequence[float], ratio: float = 1.9) -> list[float]:
    """Return sorted values, each at least `ratio` above the one before it."""
    kept: list[float] = []
    for value in sorted(set(values)):
        if not kept or value >= kept[-1] * ratio:
            kept.append(value)
    return kept
