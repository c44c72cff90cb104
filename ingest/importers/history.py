"""What a log says in the order in which it says it, and the one rule for steps that go back.

A step is an optimizer step. A metric logged again at or before its own last step means that the
program was started again there. Of a part run twice the later attempt stands; a launch from the
first step replaces the one before it; a stage that goes on from trained weights (its step count
starts again, its loss does not) is left out. Each of these is told, with the step.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from ncpl_data.catalog.errors import InputError
from ncpl_data.ingest.importers.launches import Observation, at, choose, same, split
from ncpl_data.ingest.importers.spelling import is_evaluation, is_loss

MOST_CONFLICTS = 0.2
"""Share of a metric's steps that may stand twice with other values."""


@dataclass(frozen=True)
class Settled:
    """The points of one run, and what had to be decided to get them."""

    points: dict[str, dict[int, float]]
    notes: tuple[str, ...] = ()
    ends_before: int | None = None
    """Place after the run's last observation, where another launch follows; else None."""
    starts_at: int = 0
    """Place after the last observation of the launch before, 0 for the first."""
    n_launches: int = 1
    """How many launches the log holds."""


def settle(
    observations: Iterable[Observation], where: str, *, launch: int | None = None
) -> Settled:
    """Return the run a log holds.

    `launch` picks another launch than the last, counted from 1. Raises InputError where no rule
    says what belongs together: lines of several runs woven into one, or values without a step.
    """
    seen = list(observations)
    notes: list[str] = []
    check_steps(seen, where)
    check_repeats(seen, where)
    seen, told = without_earlier_weights(seen)
    notes += told
    attempts, told = split(seen, where)
    notes += told
    chosen, told = choose(attempts, where, launch)
    is_last = chosen is attempts[-1]
    check_zigzag(chosen.points, where)
    after = None if is_last else chosen.last_place + 1
    # What is said between two launches is said of the later one.
    before = next((a for a, b in pairwise(attempts) if b is chosen), None)
    start = before.last_place + 1 if before else 0
    return Settled(chosen.points, (*notes, *told), after, start, len(attempts))


def check_steps(seen: list[Observation], where: str) -> None:
    """Raise InputError where many values stand at one step: nobody logged the step."""
    steps = {o.step for o in seen}
    for metric, times in Counter(o.metric for o in seen).items():
        if len(steps) == 1 and times >= 3:
            raise InputError(
                f"{where}: {times:,} values of {metric} and one step, {seen[0].step}: the steps "
                "were not logged. Log them, or convert a log that has them"
            )


def check_zigzag(points: dict[str, dict[int, float]], where: str) -> None:
    """Raise InputError where a training loss jumps between two courses: two runs, one log.

    Their steps alternate too: 0, 1, 10, 11, 20, 21.
    """
    for metric, course in points.items():
        steps = sorted(step for step, value in course.items() if math.isfinite(value))
        if not is_loss(metric) or is_evaluation(metric) or len(steps) < 8:
            continue
        gaps = [b - a for a, b in pairwise(steps)]
        alternates = sum(a != b for a, b in pairwise(gaps)) > 0.8 * (len(gaps) - 1)
        values = [course[step] for step in steps]
        jump = median(abs(b - a) for a, b in pairwise(values))
        drift = median(abs(b - a) for a, b in zip(values, values[2:], strict=False))
        if alternates and jump > max(0.1, 4 * drift):
            raise InputError(
                f"{where}: {metric} jumps between two courses from step to step, such as "
                f"{values[-2]:g} and {values[-1]:g} at steps {steps[-2]} and {steps[-1]}: lines of "
                "two runs are woven into one. Split them, one file a run"
            )


def check_repeats(seen: list[Observation], where: str) -> None:
    """Raise InputError where other values stand at the same steps, one after the other."""
    last: dict[str, Observation] = {}
    conflicts: Counter[str] = Counter()
    total = Counter(o.metric for o in seen)
    example: dict[str, Observation] = {}
    for o in seen:
        before = last.get(o.metric)
        if before is not None and before.step == o.step and not same(before.value, o.value):
            conflicts[o.metric] += 1
            example.setdefault(o.metric, o)
        last[o.metric] = o
    for metric, times in conflicts.items():
        if times >= 3 and times > MOST_CONFLICTS * total[metric] / 2:
            raise InputError(
                f"{where}{at(example[metric])}: {metric} stands at {times:,} steps more than once "
                f"with other values, first at step {example[metric].step}: lines of several ranks "
                "or runs. Keep those of one"
            )


def without_earlier_weights(seen: list[Observation]) -> tuple[list[Observation], list[str]]:
    """Return observations without an evaluation of earlier weights at the end, and what to tell.

    The Trainer loads its best weights at the end and evaluates them once more at the last step:
    the very value of an earlier step stands there again, beside the value of the last weights.
    """
    first: dict[str, dict[int, float]] = {}
    left_out: set[int] = set()
    notes = []
    for index, o in enumerate(seen):
        known = first.setdefault(o.metric, {})
        if is_evaluation(o.metric) and o.step in known and not same(known[o.step], o.value):
            earlier = [s for s, v in known.items() if v == o.value and s < o.step]
            if earlier and max(known) == o.step:
                left_out.add(index)
                notes.append(
                    f"{o.metric} at step {o.step}: the second value, {o.value:g}, is that of step "
                    f"{earlier[-1]}: an evaluation of the best weights. It was left out"
                )
                continue
        known[o.step] = o.value
    return [o for index, o in enumerate(seen) if index not in left_out], notes
