"""Figures as plain SVG text: the same numbers give the same bytes, and no library is needed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
BLUE, ORANGE, GREY = "#2f86cf", "#e06a22", "#8a8f98"
"""Readable on a light and on a dark page."""
ROW, WIDTH = 24, 980
LETTER = 7.2
"""Width of a letter of a label, about."""


@dataclass(frozen=True)
class Dot:
    """One method in one part: its error, its interval, and whether the number is quoted."""

    method: str
    split: str
    value: float
    interval: tuple[float, float] | None
    is_quoted: bool


def ticks(low: float, high: float, wanted: int = 6) -> list[float]:
    """Return round numbers between low and high."""
    span = max(high - low, 1e-12)
    step = 10 ** math.floor(math.log10(span / wanted))
    step *= next(m for m in (1, 2, 5, 10) if span / (step * m) <= wanted)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times powers of ten between low and high."""
    decades = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    every = (float(f"{m * 10.0**d:.12g}") for d in decades for m in (1, 2, 5))
    return [value for value in every if low <= value <= high]


def text(x: float, y: float, words: str, *, anchor: str = "start", kind: str = "") -> str:
    """Return one SVG text element."""
    css = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{css}>{escape(words)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, colour: str, width: float = 1.0) -> str:
    """Return one SVG line element."""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
        f'stroke="{colour}" stroke-width="{width:g}"/>'
    )


def figure(width: float, height: float, label: str, parts: Sequence[str]) -> str:
    """Return a whole SVG element that scales with the page."""
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{escape(label)}" '
        f'xmlns="http://www.w3.org/2000/svg">' + "".join(parts) + "</svg>"
    )


NAMES = {"id": "ID", "ood": "OOD"}


def dot_plot(dots: Sequence[Dot], title: str, names: Mapping[str, str] = NAMES) -> str:
    """Return errors as dots, a row a method: ID blue, OOD orange, quoted ones hollow.

    `names` says what the two colours stand for. Errors are drawn on a log scale: the best methods
    lie close together, the worst far off.
    """
    methods = list(dict.fromkeys(dot.method for dot in dots))
    top, bottom = 56.0, 46.0
    height = top + ROW * len(methods) + bottom
    left = 24 + LETTER * max(len(method) for method in methods)
    high = 1.1 * max(d.interval[1] if d.interval else d.value for d in dots)
    least = min(max(d.interval[0], d.value / 10) if d.interval else d.value for d in dots)
    low = max(least / 1.1, high * 1e-4, 1e-12)
    scale = (WIDTH - left - 30) / math.log(high / low)

    def at(value: float) -> float:
        return left + math.log(max(value, low) / low) * scale

    parts = [text(0, 18, title, kind="title")]
    x = left
    for key, colour in (("id", BLUE), ("ood", ORANGE)):
        if key in names:
            parts.append(f'<circle cx="{x + 6:.1f}" cy="36" r="5" fill="{colour}"/>')
            parts.append(text(x + 16, 40, names[key]))
            x += 44 + 8.5 * len(names[key])
    quoted = "; hollow: quoted" if any(dot.is_quoted for dot in dots) else ""
    parts.append(text(x + 10, 40, f"bar: 90% over groups{quoted}", kind="small"))
    for value in log_ticks(low, high):
        parts.append(line(at(value), top, at(value), height - bottom, "#8884", 1))
        parts.append(text(at(value), height - bottom + 16, f"{value:g}", anchor="middle"))
    parts.append(
        text(
            (left + WIDTH) / 2,
            height - 8,
            "mean absolute error, nats per token (log scale)",
            anchor="middle",
        )
    )
    for i, method in enumerate(methods):
        y = top + ROW * (i + 0.5)
        parts.append(text(left - 10, y + 4, method, anchor="end"))
        for dot in (d for d in dots if d.method == method):
            colour = BLUE if dot.split == "id" else ORANGE
            shift = y - 3.5 if dot.split == "id" else y + 3.5
            if dot.interval:
                parts.append(
                    line(at(dot.interval[0]), shift, at(dot.interval[1]), shift, colour, 2)
                )
            fill = "none" if dot.is_quoted else colour
            parts.append(
                f'<circle cx="{at(dot.value):.1f}" cy="{shift:.1f}" r="4.5" fill="{fill}" '
                f'stroke="{colour}" stroke-width="1.5"/>'
            )
    return figure(WIDTH, height, title, parts)


def residual_panels(panels: Sequence[tuple[str, Array, Array]], title: str) -> str:
    """Return predicted minus measured against measured, one panel a method, on one scale.

    `panels` holds (name, measured, predicted); losses in nats per token.
    """
    side, gap, top = 205.0, 20.0, 66.0
    everything = np.concatenate([predicted - measured for _, measured, predicted in panels])
    limit = max(float(np.quantile(np.abs(everything), 0.995)), 1e-3)
    low = min(float(m.min()) for _, m, _ in panels)
    high = max(float(m.max()) for _, m, _ in panels)
    width, height = 52 + (side + gap) * len(panels), top + side + 46
    parts = [text(0, 18, title, kind="title")]
    for i, (name, measured, predicted) in enumerate(panels):
        x0 = 52 + i * (side + gap)
        parts.append(f'<rect x="{x0:.1f}" y="{top}" width="{side}" height="{side}" class="frame"/>')
        head, _, rest = name.partition(", ")
        parts.append(text(x0 + side / 2, top - 22, head, anchor="middle", kind="small"))
        parts.append(text(x0 + side / 2, top - 8, rest, anchor="middle", kind="small"))
        parts.append(line(x0, top + side / 2, x0 + side, top + side / 2, GREY, 1))
        for value in ticks(low, high, 4):
            x = x0 + (value - low) / (high - low) * side
            parts.append(text(x, top + side + 16, f"{value:g}", anchor="middle", kind="small"))
        if i == 0:
            for value in ticks(-limit, limit, 4):
                y = top + side * (0.5 - value / limit / 2)
                parts.append(text(x0 - 6, y + 4, f"{value:g}", anchor="end", kind="small"))
        error = np.clip(predicted - measured, -limit, limit)
        xs = x0 + (measured - low) / (high - low) * side
        ys = top + side * (0.5 - error / limit / 2)
        path = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in zip(xs, ys, strict=True))
        parts.append(
            f'<path d="{path}" stroke="{ORANGE}" stroke-width="3" stroke-linecap="round" '
            'stroke-opacity=".75" fill="none"/>'
        )
    words = "measured loss, nats per token; vertical: predicted minus measured, clipped at the edge"
    parts.append(text(52, height - 8, words, kind="small"))
    return figure(width, height, title, parts)
