"""Loss curves as plain SVG: measured points, predicted lines, one panel a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ncpl.bench.svg import BLUE, GREY, ORANGE, figure, line, text, ticks

Array = npt.NDArray[np.float64]
LINES = (ORANGE, BLUE, "#2e9e5b")
SIDE, GAP, LEFT, TOP = 205.0, 42.0, 52.0, 96.0
LETTER = 6.6
"""Width of a letter of the legend, about."""
PANELS = 4
"""The width of a figure, whatever it holds: letters keep their size."""
FROM = 0.1
"""Share of the run the panels begin at: as in the scores."""


def curve_panels(
    runs: Sequence[Mapping[str, Any]], predicted: Mapping[str, Sequence[Array]], title: str
) -> str:
    """Return one panel a run: loss (nats per token) against the share of the run.

    `runs` hold run_id, fraction and loss; `predicted` the losses of each method at those points.
    """
    width, height = LEFT + (SIDE + GAP) * max(len(runs), PANELS), TOP + SIDE + 46
    parts = [text(0, 18, title, kind="title")]
    parts.append(f'<circle cx="{LEFT + 4:.1f}" cy="38" r="3" fill="{GREY}"/>')
    parts.append(text(LEFT + 14, 42, "measured", kind="small"))
    x, y = LEFT + 90, 38.0
    for name, colour in zip(predicted, LINES, strict=False):
        needed = 40 + LETTER * len(name)
        if x + needed > width:  # the next row of the legend
            x, y = LEFT + 90, y + 17
        parts.append(line(x, y, x + 20, y, colour, 2))
        parts.append(text(x + 26, y + 4, name, kind="small"))
        x += needed
    for i, run in enumerate(runs):
        parts += _panel(LEFT + i * (SIDE + GAP), run, {k: v[i] for k, v in predicted.items()})
    words = "share of the run; vertical: loss, nats per token (each panel on its own scale)"
    parts.append(text(LEFT, height - 8, words, kind="small"))
    return figure(width, height, title, parts)


def _panel(x0: float, run: Mapping[str, Any], predicted: Mapping[str, Array]) -> list[str]:
    late = run["fraction"] > FROM
    share, loss = run["fraction"][late], run["loss"][late]
    drawn = {name: values[late] for name, values in predicted.items()}
    everything = np.concatenate([loss, *drawn.values()])
    low, high = float(everything.min()), float(everything.max())
    margin = 0.06 * max(high - low, 1e-3)
    low, high = low - margin, high + margin

    def at(s: Array, v: Array) -> tuple[Array, Array]:
        return (
            x0 + (s - FROM) / (1 - FROM) * SIDE,
            TOP + SIDE * (1 - (v - low) / (high - low)),
        )

    name = str(run["run_id"]).split("/", 1)[-1]
    shown = name if len(name) <= 36 else f"{name[:20]}...{name[-13:]}"
    parts = [f'<rect x="{x0:.1f}" y="{TOP}" width="{SIDE}" height="{SIDE}" class="frame"/>']
    parts.append(text(x0 + SIDE / 2, TOP - 10, shown, anchor="middle", kind="small"))
    for value in ticks(low, high, 4):
        y = float(at(share, np.array(value))[1])
        parts.append(line(x0, y, x0 + SIDE, y, "#8884", 1))
        parts.append(text(x0 - 4, y + 4, f"{value:g}", anchor="end", kind="small"))
    for value in (0.25, 0.5, 0.75, 1.0):
        x = float(at(np.array(value), np.array(low))[0])
        parts.append(text(x, TOP + SIDE + 16, f"{value:g}", anchor="middle", kind="small"))
    for (_, values), colour in zip(drawn.items(), LINES, strict=False):
        xs, ys = at(share, values)
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in zip(xs, ys, strict=True))
        parts.append(f'<path d="M{path}" stroke="{colour}" stroke-width="1.6" fill="none"/>')
    xs, ys = at(share, loss)
    dots = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in zip(xs, ys, strict=True))
    parts.append(
        f'<path d="{dots}" stroke="{GREY}" stroke-width="4" stroke-linecap="round" fill="none"/>'
    )
    return parts
