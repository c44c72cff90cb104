"""Figure of what a budget buys: runs along the compute they cost, and what is known after each."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ncpl.figures.style import (
    LOSS_LABEL,
    MEASURED_COLOUR,
    NCPL_COLOUR,
    PALETTE,
    pyplot,
    save,
)

if TYPE_CHECKING:
    from ncpl.plan.allocate import Allocation, Step
    from ncpl.plan.allocate_law import LawAllocation

DONE = 1 - 1e-9
MOST_NAMES = 40
"""Runs beyond which names would lie on each other."""
COMPUTE_LABEL = "compute spent, FLOP"
CUT_COLOUR = PALETTE[1]


class Stretch(NamedTuple):
    """One step of a plan on the compute axis."""

    step: Step
    begin: float
    end: float
    is_measured: bool


def allocation_figure(found: Allocation, path: Path) -> str:
    """Draw a plan and return in words what is drawn; the words go into the file too.

    Above, a row a run: what was done, what is planned, where a run is cut. Below, each run's
    forecast with its 90% interval, measured losses, and the best so far.
    """
    plt = pyplot()
    along = stretches(found)
    names = list(dict.fromkeys(s.step.name for s in along))
    height = 2.6 + 0.16 * min(max(len(names), 4), MOST_NAMES)
    figure, (above, below) = plt.subplots(
        2, 1, figsize=(7, height), sharex=True, layout="constrained",
        height_ratios=(height - 2.4, 2.4),
    )  # fmt: skip
    cut = cuts(along)
    _rows(above, along, names, cut)
    _losses(below, along, found.budget)
    for axis in (above, below):
        axis.axvline(found.budget, color="0.4", lw=1, ls=":")
        if found.spent:
            axis.axvline(found.spent, color="0.4", lw=1)
    above.set_title(f"{found.strategy.name}: {found.budget:.3g} FLOP, {found.spent:.3g} spent")
    below.set_xlabel(COMPUTE_LABEL)
    below.set_ylabel(LOSS_LABEL)
    handles, labels = below.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    text = allocation_text(found)
    save(plt, figure, path, text=text)
    return text


def stretches(found: Allocation) -> list[Stretch]:
    """Return what was done, then what is planned, one after the other along the compute."""
    at, along = 0.0, []
    for steps, is_measured in ((found.done, True), (found.steps, False)):
        for step in steps:
            along.append(Stretch(step, at, at + step.flop, is_measured))
            at += step.flop
    return along


def cuts(along: Sequence[Stretch]) -> list[Stretch]:
    """Return the last stretch of each run that is never finished."""
    last = {s.step.name: s for s in along}
    return [s for s in last.values() if s.step.until < DONE]


def allocation_text(found: Allocation) -> str:
    """Return in words what the figure of a plan shows."""
    along = stretches(found)
    names = list(dict.fromkeys(s.step.name for s in along))
    stopped = cuts(along)
    said = [
        f"{len(names)} runs along {found.budget:.3g} FLOP, {found.spent:.3g} of them spent.",
        f"{len(names) - len(stopped)} are taken to their end, {len(stopped)} cut"
        + (": " + ", ".join(f"{s.step.name} at {100 * s.step.until:.0f}%" for s in stopped[:10])
           if stopped else "") + ".",
    ]  # fmt: skip
    if found.best is not None:
        said.append(f"Best so far: {found.best.name}, {found.best.loss:.4f} nats.")
    ends = [s.step for s in along if s.step.until >= DONE and not s.is_measured]
    if ends:
        low = min(ends, key=lambda step: step.loss)
        said.append(
            f"Lowest forecast of a planned run: {low.name}, {low.loss:.4f} nats "
            f"({low.low:.4f} to {low.high:.4f})."
        )
    return " ".join(said)


def _rows(
    axis: Any, along: Sequence[Stretch], names: Sequence[str], cut: Sequence[Stretch]
) -> None:
    """Draw a row a run with what it costs, and a cross where it is cut."""
    place = {name: i for i, name in enumerate(names)}
    for s in along:
        colour = MEASURED_COLOUR if s.is_measured else NCPL_COLOUR
        axis.barh(place[s.step.name], s.end - s.begin, left=s.begin, height=0.7, color=colour)
    if cut:
        axis.plot(
            [s.end for s in cut], [place[s.step.name] for s in cut], "x", color=CUT_COLOUR, ms=6,
            mew=2,
        )  # fmt: skip
    axis.set_ylabel("run")
    axis.invert_yaxis()
    if len(names) <= MOST_NAMES:
        axis.set_yticks(range(len(names)), [name if len(name) <= 24 else name[:21] + "..."
                                            for name in names])  # fmt: skip
    else:
        axis.set_yticks([])


def _losses(axis: Any, along: Sequence[Stretch], budget: float) -> None:
    """Draw forecasts, measured losses, runs that are cut, and the best so far to the budget."""
    ends = [s for s in along if s.step.until >= DONE]
    kinds = (
        ("measured", "o", MEASURED_COLOUR, [s for s in ends if s.is_measured]),
        ("forecast, 90%", "o", NCPL_COLOUR, [s for s in ends if not s.is_measured]),
        ("of a cut run, 90%", "x", CUT_COLOUR, cuts(along)),
    )
    for label, marker, colour, own in kinds:
        if own:
            loss = [s.step.loss for s in own]
            half = [
                [s.step.loss - s.step.low for s in own],
                [s.step.high - s.step.loss for s in own],
            ]
            axis.errorbar(
                [s.end for s in own], loss, half, fmt=marker, color=colour, ms=4, capsize=2, lw=1,
                label=label,
            )  # fmt: skip
    if ends:
        at = [*(s.end for s in ends), budget]
        best = list(accumulate((s.step.loss for s in ends), min))
        axis.step(at, [*best, best[-1]], where="post", color=PALETTE[2], lw=1.2,
                  label="best so far")  # fmt: skip


def law_figure(found: LawAllocation, path: Path) -> str:
    """Draw how a large run's loss narrows run by run; return in words what is drawn."""
    plt = pyplot()
    figure, axis = plt.subplots(figsize=(6, 3.6), layout="constrained")
    at, half = [found.spent], [found.half]
    for run in found.runs:
        at.append(at[-1] + run.flop)
        half.append(run.half)
    axis.fill_between(
        at, [found.loss - h for h in half], [found.loss + h for h in half], step="post",
        color=NCPL_COLOUR, alpha=0.2, lw=0, label="90% expected after each run",
    )  # fmt: skip
    axis.axhline(found.loss, color=NCPL_COLOUR, lw=1.2, label="expected now")
    axis.plot(at[1:], [found.loss - h for h in half[1:]], "|", color=MEASURED_COLOUR, ms=8,
              label="a run ends")  # fmt: skip
    axis.axvline(found.budget, color="0.4", lw=1, ls=":")
    axis.set_xlabel(COMPUTE_LABEL)
    axis.set_ylabel("loss of the large run, nats per token")
    axis.legend()
    text = (
        f"The large run's loss, {found.loss:.3f} nats: 90% half width {half[0]:.3f} now, "
        f"{half[-1]:.3f} expected after {len(found.runs)} runs of {at[-1] - at[0]:.3g} FLOP."
    )
    save(plt, figure, path, text=text)
    return text
