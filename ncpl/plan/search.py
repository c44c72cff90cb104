"""The search: many candidates at once, then line after line through the best few.

Legend: B candidates, M members.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from ncpl.data.fields import derive
from ncpl.model.bundle import Bundle
from ncpl.model.intervals import Intervals
from ncpl.plan.own_family import OwnFit, OwnPlans, PlanFit
from ncpl.plan.space import Axis

Array = npt.NDArray[np.float64]
Config = dict[str, Any]
SPREAD = 512
"""Candidates spread over the whole space (a Sobol sequence) before lines are searched."""
STARTS = 4
LINE, PAIR = 25, (21, 13)
"""Values along one field, and along learning rate and batch size together."""
MAX_PASSES = 6
BLOCK = 4096
REACH, DATA_REACH = 2.0, 1.5
"""Ratios of learning rate or batch size, and of data, within which a training run is near. Where no
run has such data, those with the nearest count: a batch that was good for four times the tokens
says nothing."""
SLACK = 1e-3
"""Rounding of logs: batches are whole, published learning rates have four digits."""
MIN_NEAR = 3
"""Near training runs a candidate needs where the runs are known: one odd run supports nothing."""
TIE_FRAC = 0.0005
"""Settings whose predicted losses differ by less than this share are tied: runs of one and the same
configuration differ by about that much (Marin: .001 to .002 nats of 3.3)."""
Z = 1.645
"""Members' standard deviations of a difference below which it is no difference (one-sided 95%)."""


@dataclass
class Space:
    """Axes, and what every candidate has in common."""

    axes: dict[str, Axis]
    fixed: Config
    finish: Callable[[Config], Config | None]
    """Return the whole configuration of a candidate, or None when it contradicts itself."""
    support: Support | None = None
    """Where training runs are near; None looks everywhere."""


@dataclass
class Pool:
    """Every candidate looked at, with what it is predicted to give, nats."""

    bundle: Bundle | OwnPlans
    fit: PlanFit
    space: Space
    is_cautious: bool = True
    """Rank by the upper end of the 90% interval, not by the loss: an uncertain corner whose mean
    happens to be low is no recommendation."""
    picks: list[Config] = field(default_factory=list)
    """Values on the axes."""
    configs: list[Config] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    rank: list[float] = field(default_factory=list)
    """What is minimized."""

    def look(self, picks: Sequence[Config]) -> list[int | None]:
        """Predict candidates; return their places, None for one that has to be passed over."""
        whole = [self.space.finish({**self.space.fixed, **pick}) for pick in picks]
        if self.space.support is not None:
            near = self.space.support.near(whole)
            whole = [c if ok else None for c, ok in zip(whole, near, strict=True)]
        places: list[int | None] = []
        for pick, config in zip(picks, whole, strict=True):
            places.append(None if config is None else len(self.configs))
            if config is not None:
                self.picks.append(dict(pick))
                self.configs.append(config)
        for i in range(len(self.loss), len(self.configs), BLOCK):
            found = intervals_of(self.bundle, self.fit, self.configs[i : i + BLOCK])
            self.loss += found.loss.tolist()
            self.rank += (found.high if self.is_cautious else found.loss).tolist()
        return places

    def best(self) -> int:
        """Return the place of the best candidate."""
        return int(np.argmin(self.rank))


class Support:
    """Where in learning rate, batch size and data the training runs of an optimizer lie."""

    def __init__(
        self, rows: Sequence[Config], names: Sequence[str], *, any_data: bool = False
    ) -> None:
        """Keep the named fields of derived configurations that state all of them, on log scales.

        With `any_data` a run is near whatever its tokens.
        """
        self.names = (*names, "data_tokens")
        self.any_data = any_data
        self.log_RK = self._log([r for r in rows if all(r.get(name) for name in self.names)])

    def near(self, configs: Sequence[Config | None]) -> npt.NDArray[np.bool_]:
        """Return which candidates have at least MIN_NEAR runs within reach, on both sides."""
        found = np.zeros(len(configs), dtype=bool)
        rows = [derive(c) for c in configs if c is not None]
        if not len(self.log_RK) or not rows:
            return found
        ahead_BRK = self.log_RK[None] - self._log(rows)[:, None]
        far_BR = np.abs(ahead_BRK[:, :, -1])
        data_reach_B1 = np.maximum(far_BR.min(1, keepdims=True), np.log(DATA_REACH))
        if self.any_data:
            data_reach_B1 = np.full_like(data_reach_B1, np.inf)
        near_BR = (far_BR <= data_reach_B1 + SLACK) & (
            np.abs(ahead_BRK[:, :, :-1]) <= np.log(REACH) + SLACK
        ).all(2)
        good_B = near_BR.sum(1) >= min(MIN_NEAR, len(self.log_RK))
        for k in range(len(self.names) - 1):  # between runs, never past the last one
            good_B &= (near_BR & (ahead_BRK[:, :, k] >= -SLACK)).any(1)
            good_B &= (near_BR & (ahead_BRK[:, :, k] <= SLACK)).any(1)
        found[[c is not None for c in configs]] = good_B
        return found

    def _log(self, rows: Sequence[Config]) -> Array:
        values = [[float(row[name]) for name in self.names] for row in rows]
        return np.log(np.array(values, dtype=np.float64).reshape(-1, len(self.names)))


def search(
    bundle: Bundle | OwnPlans, fit: PlanFit, space: Space, *, cautious: bool = True, seed: int = 0
) -> Pool:
    """Return the candidates of a joint search over all axes of a space; deterministic."""
    pool = Pool(bundle, fit, space, cautious)
    axes = list(space.axes.values())
    if not axes:
        pool.look([{}])
        return pool
    shares = _spread(len(axes), seed)
    columns = [axis.at(shares[:, i].tolist()) for i, axis in enumerate(axes)]
    pool.look([dict(zip(space.axes, row, strict=True)) for row in zip(*columns, strict=True)])
    order = sorted(range(len(pool.rank)), key=pool.rank.__getitem__)
    starts = [pool.picks[i] for i in order[:STARTS]]
    points = [(pool.rank[i], pick) for i, pick in zip(order, starts, strict=False)]
    for _ in range(MAX_PASSES):
        before = points
        for steps in _lines(space.axes):
            points = _along(pool, points, steps)
        gain = max((a[0] - b[0] for a, b in zip(before, points, strict=True)), default=0.0)
        if gain < 1e-5:
            break
        # Starts that met go on as one.
        points = list({tuple(pick.values()): (rank, pick) for rank, pick in points}.values())
    return pool


def _along(
    pool: Pool, points: list[tuple[float, Config]], steps: list[Config]
) -> list[tuple[float, Config]]:
    """Return each point moved to the best of its own steps along one line, if any is better."""
    places = pool.look([{**pick, **step} for _, pick in points for step in steps])
    moved = []
    for k, point in enumerate(points):
        own = [i for i in places[k * len(steps) : (k + 1) * len(steps)] if i is not None]
        top = min(own, key=pool.rank.__getitem__, default=None)
        better = top is not None and pool.rank[top] < point[0]
        moved.append((pool.rank[top], pool.picks[top]) if top is not None and better else point)
    return moved


def _spread(n_axes: int, seed: int) -> Array:
    from scipy.stats import qmc

    sample = qmc.Sobol(n_axes, seed=seed).random(SPREAD)
    return np.asarray(sample, dtype=np.float64)


def _lines(axes: Mapping[str, Axis]) -> list[list[Config]]:
    """Return the steps of each line: one field each, learning rate and batch size as a pair."""
    pair = ("learning_rate", "batch_size_sequences")
    lines = [
        [{name: value} for value in axis.grid(LINE)]
        for name, axis in axes.items()
        if not (name in pair and all(p in axes for p in pair))
    ]
    if all(name in axes for name in pair):
        rates, batches = (axes[p].grid(n) for p, n in zip(pair, PAIR, strict=True))
        lines.insert(0, [dict(zip(pair, (r, b), strict=True)) for r in rates for b in batches])
        lines.insert(1, [{pair[0]: rate} for rate in axes[pair[0]].grid(41)])
    return lines


def ties(pool: Pool, places: Sequence[int], best: int) -> npt.NDArray[np.bool_]:
    """Return which candidates are statistically tied with the best.

    The difference of predicted losses is below TIE_FRAC, or below Z of its standard deviations over
    the members; members judge every candidate by the same runs, so the difference is paired.
    """
    losses_MB = member_losses(pool.fit, [pool.configs[i] for i in places])
    best_M1 = member_losses(pool.fit, [pool.configs[best]])
    return tied(losses_MB, best_M1)


def tied(losses_MB: Array, best_M1: Array) -> npt.NDArray[np.bool_]:
    """Return which of B candidates are tied with the best, from losses of every member, nats."""
    difference_MB = losses_MB - best_M1
    spread_B = difference_MB.std(0, ddof=1) if len(difference_MB) > 1 else 0.0
    limit_B = np.maximum(TIE_FRAC * best_M1.mean(), Z * spread_B)
    return np.asarray(difference_MB.mean(0) <= limit_B)


def intervals_of(bundle: Bundle | OwnPlans, fit: PlanFit, configs: Sequence[Config]) -> Intervals:
    """Return losses and 90% intervals of configurations of one family."""
    found: Intervals = cast("Any", bundle).intervals(fit, configs)
    return found


def member_losses(fit: PlanFit, configs: Sequence[Config]) -> Array:
    """Return every member's predicted losses (M, B), nats; draws are the members of own runs."""
    if isinstance(fit, OwnFit):
        return fit.member_losses(configs)
    completed = fit.completer([derive(config) for config in configs])
    losses_MC = fit.read(fit.encoder.encode_rows(completed.rows)).loss
    return np.asarray(completed.mean(losses_MC.T).T)
