"""The launches of a log: observations in their order, split where the program started again."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise

from ncpl_data.catalog.errors import InputError
from ncpl_data.ingest.importers.spelling import is_evaluation, is_loss

MOST_RETURNS = 0.2
"""Share of observations at which a log may go back; above it, lines of several runs are woven."""


@dataclass(frozen=True)
class Observation:
    """One value of one metric, as logged."""

    metric: str
    step: int
    value: float
    place: int = 0
    """Line, row or record in its file; 0 where it has none."""
    restarts_at: int | None = None
    """The step that the program said, before this value, it was resumed at."""


@dataclass
class Attempt:
    """The observations of one launch, by metric and step; a resumed launch is one with its past."""

    start: int
    place: int = 0
    points: dict[str, dict[int, float]] = field(default_factory=dict)
    last_place: int = 0
    """Place of the last observation."""

    def add(self, seen: Observation) -> None:
        """Add an observation; of one metric's values at one step the later stands."""
        self.last_place = max(self.last_place, seen.place)
        self.points.setdefault(seen.metric, {})[seen.step] = seen.value

    def cut(self, step: int) -> int:
        """Drop what lies at or after a step; return how many points that was."""
        dropped = 0
        for metric, points in list(self.points.items()):
            for later in [s for s in points if s >= step]:
                del points[later]
                dropped += 1
            if not points:
                del self.points[metric]
        return dropped

    @property
    def last(self) -> int:
        """The last step."""
        return max((max(points) for points in self.points.values()), default=self.start)


def split(seen: list[Observation], where: str) -> tuple[list[Attempt], list[str]]:
    """Return the launches of a log in order, each resumed one with its past, and what to tell."""
    if not seen:
        return [Attempt(0)], []
    splitter = Splitter(seen, where)
    while splitter.index < len(seen):
        splitter.take()
    if splitter.returns > 3 and splitter.returns > MOST_RETURNS * len(seen):
        raise InputError(
            f"{where}: steps go back {splitter.returns:,} times in {len(seen):,} values: lines of "
            "several runs are woven into one. Split them, one file a run"
        )
    return splitter.attempts, splitter.notes


class Splitter:
    """The observations of a log, taken one by one into its launches."""

    def __init__(self, seen: list[Observation], where: str) -> None:
        """Start with the first launch."""
        self.seen, self.where = seen, where
        self.attempts = [Attempt(seen[0].step, seen[0].place)]
        self.notes: list[str] = []
        self.returns = 0
        self.index = 0
        self.last: dict[str, int] = {}
        """Last step of each metric in this launch."""
        self.high = seen[0].step

    def take(self) -> None:
        """Take the next observation, or all up to where lagging ones catch up."""
        o = self.seen[self.index]
        if o.restarts_at is not None and self.attempts[-1].last >= o.restarts_at and self.index:
            self.resume(o)
        if o.step >= self.high:
            repeated(self.attempts[-1], o, self.where, self.notes)
            self.add(o)
            self.high = o.step
            self.index += 1
            return
        rest = range(self.index, len(self.seen))
        end = next((i for i in rest if self.seen[i].step > self.high), len(self.seen))
        tail = self.seen[self.index : end]
        if starts_again(tail, self.last, is_end=end == len(self.seen)):
            self.start_again(o, min(x.step for x in until_repeat(tail, self.last)))
            self.index += 1
            return
        for late in tail:
            is_end = end == len(self.seen) and not reaches(tail, late.metric, self.high)
            self.add_late(late, is_end=is_end)
        self.index = end

    def add(self, o: Observation) -> None:
        """Add an observation to this launch."""
        self.attempts[-1].add(o)
        self.last[o.metric] = max(o.step, self.last.get(o.metric, o.step))

    def add_late(self, late: Observation, *, is_end: bool) -> None:
        """Add an observation that lags behind; one made of earlier weights is left out."""
        known = self.last.get(late.metric)
        is_new = known is None and (not is_end or not is_loss(late.metric))
        if is_new or (known is not None and late.step > known):
            self.add(late)
            return
        self.notes.append(
            f"{self.where}{at(late)}: {late.metric} of step {late.step} after step {self.high}: an "
            "evaluation of earlier weights or of a later stage. It was left out"
        )

    def resume(self, o: Observation) -> None:
        """Drop what lies after the step that the program says it resumes at."""
        assert o.restarts_at is not None
        dropped = self.attempts[-1].cut(o.restarts_at)
        self.notes.append(
            f"{self.where}{at(o)}: resumed at step {o.restarts_at}; {dropped:,} points of the "
            "earlier attempt gave way to the later one"
        )
        if not self.attempts[-1].points:
            self.attempts.append(Attempt(o.step, o.place))
        self.last = {m: max(p) for m, p in self.attempts[-1].points.items()}
        self.high = max(self.last.values(), default=o.step)

    def start_again(self, o: Observation, step: int) -> None:
        """Begin another launch at a step: from the start, or in place of what lies after it."""
        self.returns += 1
        attempt = self.attempts[-1]
        if step <= min(min(points) for points in attempt.points.values()):
            self.attempts.append(Attempt(step, o.place))
        else:
            dropped = attempt.cut(step)
            self.notes.append(
                f"{self.where}{at(o)}: steps go back from {self.high} to {step}: resumed there; "
                f"{dropped:,} points of the earlier attempt gave way to the later one"
            )
        self.last = {m: max(p) for m, p in self.attempts[-1].points.items()}
        self.high = step
        self.add(o)


def repeated(attempt: Attempt, o: Observation, where: str, notes: list[str]) -> None:
    """Tell that a metric stands twice at a step with other values; the later one stands."""
    known = attempt.points.get(o.metric, {}).get(o.step)
    if known is not None and not same(known, o.value):
        notes.append(
            f"{where}{at(o)}: {o.metric} of step {o.step} is {o.value:g} after {known:g}; "
            "the later one stands"
        )


def starts_again(tail: list[Observation], last: dict[str, int], *, is_end: bool) -> bool:
    """Return whether lower steps mean that the program started again.

    They do where a metric of training is logged over again; evaluations may lag behind or be made
    once more at the end. Where nothing but evaluations is logged, they decide.
    """
    trains = {m for m in last if not is_evaluation(m)}
    deciding = [o for o in tail if not trains or not is_evaluation(o.metric)]
    if any(o.step <= last.get(o.metric, -1) for o in deciding):
        return True
    # Another stage may log under other names: a training metric never seen that ends the log.
    return is_end and any(o.metric not in last and is_loss(o.metric) for o in deciding)


def reaches(tail: list[Observation], metric: str, high: int) -> bool:
    """Return whether a metric was logged of many steps up to the last one: after the training."""
    steps = [o.step for o in tail if o.metric == metric]
    return len(steps) > 1 and steps[-1] >= 0.9 * high and all(a < b for a, b in pairwise(steps))


def until_repeat(tail: list[Observation], last: dict[str, int]) -> list[Observation]:
    """Return the observations up to the first that repeats a metric's step."""
    for index, o in enumerate(tail):
        if o.step <= last.get(o.metric, -1) and not is_evaluation(o.metric):
            return tail[: index + 1]
    return tail


def choose(attempts: list[Attempt], where: str, launch: int | None) -> tuple[Attempt, list[str]]:
    """Return the launch that is the run, and what to tell of the others."""
    if launch is not None:
        if not 1 <= launch <= len(attempts):
            raise InputError(f"{where} holds {len(attempts)} launches; there is no launch {launch}")
        return attempts[launch - 1], []
    chosen, notes = attempts[0], []
    for number, (before, attempt) in enumerate(pairwise(attempts), start=2):
        place = f"line {attempt.place}: " if attempt.place else ""
        if goes_on(attempts[0], attempt):
            notes.append(
                f"{where}: {place}steps start again at {attempt.start} after {before.last}, but "
                "the loss does not: a later stage from trained weights. It was left out; "
                f"--launch {number} with --set /stage=... gives it"
            )
            continue
        notes.append(
            f"{where}: {place}steps start again at {attempt.start} after {before.last}: "
            f"launched again; the earlier launch gave way (--launch {attempts.index(chosen) + 1} "
            "gives it, of a text log --launch all each)"
        )
        chosen = attempt
    return chosen, notes


def goes_on(first: Attempt, later: Attempt) -> bool:
    """Return whether a launch starts from trained weights: its loss starts where another ended."""
    votes = []
    for metric, points in first.points.items():
        after = later.points.get(metric)
        if not after or not is_loss(metric):
            continue
        begin, end = finite_ends(points)
        start, _ = finite_ends(after)
        if begin is None or end is None or start is None or len(points) < 2:
            continue
        if begin - end > 0.1:
            votes.append(start < (begin + end) / 2)
    if not votes:  # no loss to compare: another set of metrics is another stage
        return not set(first.points) & set(later.points)
    return all(votes)


def finite_ends(points: dict[int, float]) -> tuple[float | None, float | None]:
    """Return the first and the last finite value."""
    values = [points[step] for step in sorted(points) if math.isfinite(points[step])]
    return (values[0], values[-1]) if values else (None, None)


def same(a: float, b: float) -> bool:
    """Return whether two values are one; NaN is NaN."""
    return a == b or (math.isnan(a) and math.isnan(b))


def at(o: Observation) -> str:
    """Return the place of an observation, as text."""
    return f" line {o.place}" if o.place else ""
