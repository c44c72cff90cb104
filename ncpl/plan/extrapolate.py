"""Where a run in progress ends: its configuration and what it has logged, weighed together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ncpl.data.fields import Config, derive
from ncpl.data.progress import RunProgress
from ncpl.data.schedules import FIRST, Array
from ncpl.errors import ConfigError
from ncpl.model.intervals import Z90
from ncpl.model.predictor import Predictor
from ncpl.model.prefix import AnyPrefix, FamilyPrefix, PrefixModel, prefixes_of
from ncpl.model.settings_curves import SettingsCurves
from ncpl.plan.own_curves import OWN
from ncpl.plan.run_log import has_diverged, shares, spikes

POINTS = 40
"""Points of the rest of the curve."""
DRAWS = 4000
THIRD = 1 / 3
STOP, KEEP = 0.1, 0.9
"""Probability of the good end below which to stop; above which there is no doubt."""


@dataclass(frozen=True)
class LossInterval:
    """A final loss with its 90% interval, nats."""

    loss: float
    low: float
    high: float


@dataclass(frozen=True)
class RunForecast:
    """What is said of one run in progress; losses in nats per token."""

    name: str
    share: float
    """How much of the run is done."""
    points: int
    """Points of the log that count."""
    final: LossInterval | None
    """None where the run has diverged, or nothing is known yet."""
    configuration: LossInterval | None
    """By the configuration alone; None where no model knows the family."""
    source: str | None
    """Whose losses it is compared with; None where the level is the log's alone."""
    weight: float
    """Share of what the prefix says that counts; 0: the configuration alone answers."""
    curve: list[dict[str, float]] = field(default_factory=list)
    """The rest: percent, step, loss, low, high."""
    measured: list[dict[str, float]] = field(default_factory=list)
    """What counts of the log: percent, loss."""
    spikes: list[dict[str, float]] = field(default_factory=list)
    """Where the loss rose: step, rise above the lowest before."""
    is_diverged: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def change(self) -> float | None:
        """Return what the prefix changed in the final loss against the configuration, nats."""
        if self.final is None or self.configuration is None:
            return None
        return self.final.loss - self.configuration.loss

    def chance_below(self, target: float) -> float | None:
        """Return the probability that the final loss is at most a target; None without one."""
        if self.is_diverged:
            return 0.0
        if self.final is None:
            return None
        off = target - self.final.loss
        side = max(self.final.high - self.final.loss, 1e-9) if off > 0 else self.lower()
        tail = 0.5 * 10 ** (-abs(off) / side)  # a tenth of a Laplace lies beyond its 90% interval
        return 1 - tail if off > 0 else tail

    def lower(self) -> float:
        """Return how far the interval reaches below the forecast, nats."""
        assert self.final is not None
        return max(self.final.loss - self.final.low, 1e-9)

    def to_json(self) -> dict[str, Any]:
        """Return the forecast as plain values."""
        return asdict(self) | {"change": self.change}


def forecast(
    progress: RunProgress,
    config: Config,
    bundle: Predictor | None,
    model: PrefixModel,
    own: SettingsCurves | None = None,
) -> RunForecast:
    """Return where a run ends.

    `bundle` answers for the configuration; None where its losses compare with no known ones: the
    level is then the log's alone, and intervals are openly wide. `own` is the law of curves of own
    finished runs, where there are enough. Raises ConfigError where the log does not fit the plan.
    """
    row = derive(config)
    frac_P, step_P = shares(progress, row)
    loss_P = progress.loss
    known = frac_P > FIRST
    cut = float(frac_P[-1]) if len(frac_P) else 0.0
    notes = list(progress.notes)
    common: dict[str, Any] = {
        "name": progress.name, "share": cut, "points": int(known.sum()),
        "spikes": spikes(step_P[known], loss_P[known]),
        "measured": [
            {"percent": 100 * f, "loss": loss}
            for f, loss in zip(frac_P[known].tolist(), loss_P[known].tolist(), strict=True)
        ],
    }  # fmt: skip
    alone = source = None
    if bundle is not None:
        (said,) = bundle.predict([config])
        notes += list(said.warnings)
        alone, source = LossInterval(said.loss, said.low, said.high), said.source
    if progress.status == "diverged" or has_diverged(loss_P[known]):
        notes.append("the loss has left its course and not come back: no end is forecast")
        return RunForecast(
            **common, final=None, configuration=alone, source=source, weight=1.0,
            is_diverged=True, notes=notes,
        )  # fmt: skip
    at_Q = np.linspace(cut, 1.0, POINTS + 1)[1:] if cut < 1 else np.ones(1)
    found = None
    if bundle is not None and alone is not None and source in model.families:
        found = in_family(model.families[source], bundle, config, frac_P, loss_P, cut, at_Q, alone)
    if found is None and own is not None and known.any():
        found = by_own_curves(own, row, frac_P[known], loss_P[known], at_Q)
        notes.append("by the curves of own finished runs, whose law follows their settings")
    if found is None and known.any():
        found = without_family(model.anywhere, row, frac_P, loss_P, cut, at_Q, alone)
        notes += told_without(row, alone)
    if found is None:
        if alone is None:
            raise ConfigError(
                f"{progress.name}: nothing of the log counts yet (2% of the run is needed), and "
                "no model knows its family; wait, or give --source or --runs"
            )
        notes.append("nothing of the log counts yet (2% of the run): the configuration answers")
        return RunForecast(
            **common, final=alone, configuration=alone, source=source, weight=0.0, notes=notes
        )
    if found.beyond:
        notes.append(
            f"the log lies {found.beyond:.3g} nats farther off its configuration's curve than 99% "
            f"of {source}'s runs did: the interval is as much wider. Is the loss of the same data "
            "and tokenizer, in nats per token, and the configuration that of this run?"
        )
    if found.weight == 0:
        notes.append("too little is known yet: the configuration alone answers")
    curve = points_of(found, at_Q, row.get("train_steps"))
    final = LossInterval(*(float(values[-1]) for values in found[:3]))
    if common["spikes"]:
        count = len(common["spikes"])
        spiked = "a spike" if count == 1 else f"{count} spikes"
        notes.append(f"{spiked}: such runs are forecast worse")
    return RunForecast(
        **common, final=final, configuration=alone, source=source, weight=found.weight,
        curve=curve, notes=notes,
    )  # fmt: skip


class Rest(NamedTuple):
    """The rest of a run at Q shares, nats."""

    loss: Array
    low: Array
    high: Array
    weight: float
    beyond: float = 0.0
    """How much farther off its predicted curve the log lies than any run of training."""


def in_family(
    own: FamilyPrefix,
    bundle: Predictor,
    config: Config,
    frac_P: Array,
    loss_P: Array,
    cut: float,
    at_Q: Array,
    alone: LossInterval,
) -> Rest | None:
    """Return the rest of a run of a family that a model of prefixes knows; None without curves."""
    base_Q = _curve(bundle, config, at_Q)
    if base_Q is None:
        return None
    at = max(cut, FIRST)
    prefixes = prefixes_of(frac_P, loss_P, lambda f: bundle.curves([config], f.tolist())[0], at)
    found = own.correct(derive(config), prefixes, at, at_Q, (alone.high - alone.low) / 2)
    if found.weight == 0:
        low, high = alone.loss - alone.low + found.beyond, alone.high - alone.loss + found.beyond
        return Rest(base_Q, base_Q - low, base_Q + high, 0.0, found.beyond)
    mean_Q = base_Q + found.shift
    return Rest(mean_Q, mean_Q - found.half, mean_Q + found.half, found.weight, found.beyond)


def by_own_curves(
    own: SettingsCurves, row: Config, frac_P: Array, loss_P: Array, at_Q: Array
) -> Rest:
    """Return the rest of a run by the law of own finished runs' curves."""
    told = own.tell(row, OWN, frac_P, loss_P, at_Q)
    half_Q = Z90 * told.spread
    return Rest(told.mean, told.mean - half_Q, told.mean + half_Q, 1.0)


def told_without(row: Config, alone: LossInterval | None) -> list[str]:
    """Return what is to be said where no model knows the curves of the family."""
    said = []
    if alone is None:
        said.append(
            "no model of this family: the log and the schedule alone, openly wide; give --source "
            "or --runs to compare with known runs"
        )
    if row.get("schedule") is None:
        said.append("no schedule given: a cosine to zero was assumed")
    return said


def points_of(rest: Rest, at_Q: Array, steps: float | None) -> list[dict[str, float]]:
    """Return the rest of a run as points, with steps where the plan has them."""
    columns = (at_Q, rest.loss, rest.low, rest.high)
    return [
        {"percent": 100 * f, "loss": loss, "low": low, "high": high}
        | ({"step": f * steps} if steps else {})
        for f, loss, low, high in zip(*(v.tolist() for v in columns), strict=True)
    ]


def without_family(
    shape: AnyPrefix,
    row: Config,
    frac_P: Array,
    loss_P: Array,
    cut: float,
    at_Q: Array,
    alone: LossInterval | None,
) -> Rest:
    """Return the rest of a run whose family no model of prefixes knows.

    The shape of any curve tells of the log; a configuration's answer is weighed by its precision,
    and moves the rest of the curve by as much as is still to come.
    """
    told = shape.tell(row, frac_P, loss_P, cut, at_Q)
    if alone is None:
        return Rest(told.shift, told.shift - told.half, told.shift + told.half, 1.0)
    ours, theirs = told.half[-1] ** -2, ((alone.high - alone.low) / 2) ** -2
    weight = float(ours / (ours + theirs))
    moved = (1 - weight) * (alone.loss - told.shift[-1])
    share_Q = np.clip((at_Q - cut) / max(1 - cut, 1e-9), 0, 1)
    half_Q = told.half + share_Q * ((ours + theirs) ** -0.5 - told.half[-1])
    mean_Q = told.shift + share_Q * moved
    return Rest(mean_Q, mean_Q - half_Q, mean_Q + half_Q, weight)


def _curve(bundle: Predictor, config: Config, at_Q: Array) -> Array | None:
    """Return the predicted losses at shares of the run; None where the bundle knows no curve."""
    try:
        found = bundle.curves([config], at_Q.tolist())[0]
    except ConfigError:
        return None
    return None if np.isnan(found).any() else np.asarray(found)


def chances_of_third(forecasts: Sequence[RunForecast], *, seed: int = 0) -> list[float | None]:
    """Return the probability of each run to end in the best third of all.

    None for a run without a forecast; a diverged one ends last.
    """
    rng = np.random.default_rng(seed)
    ends = np.full((len(forecasts), DRAWS), np.inf)
    for i, f in enumerate(forecasts):
        draws = rng.laplace(size=DRAWS) / math.log(10)
        if f.final is not None:
            up = f.final.high - f.final.loss
            ends[i] = f.final.loss + np.where(draws < 0, draws * f.lower(), draws * up)
    kept = max(1, math.ceil(len(forecasts) * THIRD))
    rank = ends.argsort(0, kind="stable").argsort(0, kind="stable")
    return [
        None if f.final is None and not f.is_diverged else float((rank[i] < kept).mean())
        for i, f in enumerate(forecasts)
    ]


def advice(forecasts: Sequence[RunForecast], target: float | None) -> list[Mapping[str, Any]]:
    """Return for each run the chance of a good end and whether to stop it.

    A good end: a final loss of at most `target`, else to be among the best third where several run.
    """
    if target is not None:
        chances = [f.chance_below(target) for f in forecasts]
    elif len(forecasts) > 1:
        chances = chances_of_third(forecasts)
    else:
        chances = [0.0 if f.is_diverged else None for f in forecasts]
    said: list[Mapping[str, Any]] = []
    for chance in chances:
        word = None
        if chance is not None:
            word = "stop" if chance < STOP else "keep" if chance > KEEP else "open"
        said.append({"chance": chance, "advice": word})
    return said
