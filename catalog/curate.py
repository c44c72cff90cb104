"""Curation rules: each looks at one run, and says in a flag what a reader must know, and why.

A rule never changes a value; what was repaired or removed is in the run's origins. The evidence
of every flag stands in the origin of the column `flags`, so `ncpl-data show RUN` prints it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ncpl_data.catalog.curve import Curve
from ncpl_data.catalog.record import Run
from ncpl_data.catalog.sizes import RULE as SIZE_RULE
from ncpl_data.catalog.sizes import off_shape

MISSING_FRAC = 0.005
"""Share of the run that a curve may lack at its end; logs are thinned."""

END_TOLERANCE = 0.001
"""Between a final loss and the last point of its curve, where the two were smoothed apart."""

LATE_FRAC = 0.05
"""Share of the run that may be missing at a curve's start."""

SPIKE_NATS = 0.1
SPIKE_NOISE = 8.0
"""A rise is above the best loss so far by both: nats, and noise of one point to the next."""

MIN_POINTS = 8
"""Points that make a course."""

SETTLED_FRAC = 0.2
"""Share of a curve's points that pass before a rise counts as a spike."""

BUDGET_TOLERANCE = 0.01
LOSS_RANGE_NATS = (0.3, 20.0)
"""A model of text that trained ends between these; outside it the unit is another one."""

TAG = re.compile(r"[-_](\d+(?:\.\d+)?)B(?=[-_]|$)")


@dataclass(frozen=True)
class CurationNote:
    """What one rule found in one run."""

    flag: str
    evidence: str


Rule = Callable[[Run], CurationNote | None]


def divergence(run: Run) -> CurationNote | None:
    """The run blew up: its source says so, or its loss is above that of guessing."""
    loss = nats(run)
    if run.status == "diverged":
        shown = "no finite loss" if run.final_loss is None else f"final loss {run.final_loss:.6g}"
        return CurationNote("diverged", shown)
    if loss is not None and run.vocab_size and loss >= math.log(run.vocab_size):
        chance = math.log(run.vocab_size)
        return CurationNote("diverged", f"final loss {loss:.4f}, guessing gives {chance:.4f}")
    return None


def truncation(run: Run) -> CurationNote | None:
    """The loss curve stops before the run does, so its last value is not the final loss."""
    curve = loss_curve(run)
    if curve is None or not run.train_steps:
        return None
    last = int(curve.step[-1])
    if run.train_steps - 1 - last <= MISSING_FRAC * run.train_steps:
        return None
    return CurationNote("curve_truncated", f"last point at step {last} of {run.train_steps}")


def end_apart(run: Run) -> CurationNote | None:
    """The primary curve reaches the end of the run, but not its final loss."""
    curve = primary_curve(run)
    if curve is None or run.final_loss is None:
        return None
    last = float(curve.value[-1])
    if abs(last - run.final_loss) <= END_TOLERANCE or truncation(run) is not None:
        return None
    return CurationNote(
        "curve_end_apart", f"last point {last:.6g}, final loss {run.final_loss:.6g}"
    )


def late_start(run: Run) -> CurationNote | None:
    """The loss curve begins late; where it does so at its branch the parent has the rest."""
    curve = loss_curve(run)
    if curve is None or not run.train_steps or len(curve.step) < 2:
        return None
    first = int(curve.step[0])
    if first <= LATE_FRAC * run.train_steps:
        return None
    spacing = int(np.median(np.diff(curve.step)))
    if first <= 2 * spacing:
        return None
    where = f"first point at step {first} of {run.train_steps}"
    if run.parent_run_id is not None and first + 2 * spacing >= (run.branch_step or 0):
        return CurationNote("resumed", f"{where}; continues {run.parent_run_id}")
    return CurationNote("curve_starts_late", where)


def climb(run: Run) -> CurationNote | None:
    """The loss curve rises well above its best value so far, once it has settled.

    A spike loses half of the rise again; a loss that stays up is that of data repeated too often.
    """
    curve = loss_curve(run)
    if curve is None or len(curve.value) < 8 or nats(run) is None or run.status == "diverged":
        return None
    start = max(1, int(SETTLED_FRAC * len(curve.value)))
    rise = curve.value[start:] - np.minimum.accumulate(curve.value)[start - 1 : -1]
    at = int(rise.argmax())
    if rise[at] <= SPIKE_NATS:
        return None
    steps = np.diff(curve.value)
    noise = 1.4826 * float(np.median(np.abs(steps - np.median(steps))))
    if rise[at] <= SPIKE_NOISE * noise:
        return None
    step, peak = int(curve.step[start + at]), float(curve.value[start + at])
    if curve.value[start + at :].min() > peak - rise[at] / 2:
        return CurationNote("loss_rises", f"{rise[at]:.3f} nats above its best, at step {step}")
    return CurationNote("loss_spike", f"{rise[at]:.3f} nats above the best so far, at step {step}")


def unit_error(run: Run) -> CurationNote | None:
    """The final loss can not be in nats per token, although it is called that."""
    loss, (low, high) = nats(run), LOSS_RANGE_NATS
    if loss is None or run.status == "diverged" or low <= loss <= high:
        return None
    return CurationNote("unit_suspect", f"final loss {loss:.6g} is called nats per token")


def token_budget(run: Run) -> CurationNote | None:
    """Batch x sequence x steps is not the stated budget, or not that of the run's name."""
    tokens, nominal = run.train_tokens, run.nominal_train_tokens
    if tokens and nominal and abs(tokens / nominal - 1) > BUDGET_TOLERANCE:
        return CurationNote("tokens_contradict_budget", f"{tokens:,} tokens, budget {nominal:,}")
    budget = nominal or tokens
    match = TAG.search(run.source_run) if run.source_run and budget else None
    if match is None or not budget:
        return None
    billions = float(match[1])
    sizes = [size for size in (run.params_total, run.params_non_embedding) if size]
    if not sizes or any(abs(size / 1e9 - billions) <= 0.3 * billions for size in sizes):
        return None  # the number is, or may be, the model's size
    if abs(budget / 1e9 - billions) <= max(1.0, 0.1 * billions):
        return None  # tags are rounded, some down
    return CurationNote("tokens_contradict_name", f"{budget:,} tokens, the name says {match[1]}B")


def size_error(run: Run) -> CurationNote | None:
    """The parts of the model are larger than the whole."""
    total, blocks = run.params_total, run.params_non_embedding
    if total is None or blocks is None or blocks <= total:
        return None
    return CurationNote("params_contradict", f"{blocks:,} non-embedding of {total:,} parameters")


def size_off_shape(run: Run) -> CurationNote | None:
    """The source's own count of parameters is not that of the shape it states."""
    origin = (run.origins or {}).get("params_non_embedding")
    if isinstance(origin, Mapping) and str(origin.get("rule", "")).startswith(SIZE_RULE):
        return None
    off = off_shape(vars(run)) if run.params_non_embedding else None
    return CurationNote("size_off_shape", off) if off else None


def guesses_removed(run: Run) -> CurationNote | None:
    """Upstream filled in values that nobody logged or declared; they were taken out."""
    gone = [
        f"{column} was {origin.get('was')}"
        for column, origin in (run.origins or {}).items()
        if not isinstance(origin, str)  # most are, and a mapping is slow to tell
        and isinstance(origin, Mapping)
        and origin.get("kind") == "repaired"
        and getattr(run, column, "") is None
        and column != "final_loss"  # another run's loss is no guess; its source flags it itself
    ]
    return CurationNote("guesses_removed", ", ".join(sorted(gone))) if gone else None


RULES: tuple[Rule, ...] = (
    divergence,
    truncation,
    end_apart,
    late_start,
    climb,
    unit_error,
    token_budget,
    size_error,
    size_off_shape,
    guesses_removed,
)


def findings(run: Run) -> list[CurationNote]:
    """Return what the rules find in a run, in the order of the rules."""
    return [found for rule in RULES if (found := rule(run)) is not None]


def curate(run: Run) -> Run:
    """Return a run with the flags of all rules beside its own, and their evidence."""
    found = findings(run)
    if not found:
        return run
    flags = dict.fromkeys((*(run.flags or ()), *(one.flag for one in found)))
    evidence = "; ".join(f"{one.flag}: {one.evidence}" for one in found)
    origin = {"kind": "derived", "rule": evidence[:1000]}
    return run.with_values(flags=tuple(flags), origins={**(run.origins or {}), "flags": origin})


def primary_curve(run: Run) -> Curve | None:
    """Return the curve of the run's primary metric, if there is one."""
    return next((c for c in run.curves if c.metric == run.final_loss_metric), None)


def loss_curve(run: Run) -> Curve | None:
    """Return the curve of the primary metric; if that has a few points only, the longest in nats.

    A long evaluation at the end is a run's final loss, but not its course.
    """
    primary = primary_curve(run)
    if primary is not None and len(primary.step) >= MIN_POINTS:
        return primary
    in_nats = {m["name"] for m in run.metrics or () if m.get("unit") == "nats_per_token"}
    others = [c for c in run.curves if c.metric in in_nats and len(c.step) >= MIN_POINTS]
    return max(others, key=lambda c: len(c.step), default=primary)


def nats(run: Run) -> float | None:
    """Return the final loss if it is called nats per token."""
    return run.final_loss if run.final_loss_unit == "nats_per_token" else None
