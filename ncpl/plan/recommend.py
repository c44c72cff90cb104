"""Recommendations: the settings with the lowest predicted loss, and how much each of them matters.

What is asked for: request.py. What is searched, and inside which ranges: space.py. How: search.py.
What a constraint costs: cost.py. What was measured near: measured.py.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ncpl.data.consistency import MAX_BATCH_TOKENS
from ncpl.data.fields import Config
from ncpl.data.sizes import FLOP_PER_PARAMETER_TOKEN
from ncpl.data.snapshot import Runs
from ncpl.errors import ConfigError
from ncpl.laws.steplaw import PUBLISHED
from ncpl.model.bundle import Bundle, Prediction
from ncpl.model.community import CommunityPrediction
from ncpl.plan.cost import Cost, constrained, cost_of
from ncpl.plan.measured import Measured, MeasuredRuns, shape_like
from ncpl.plan.own_family import OwnFit, OwnPlans, PlanFit
from ncpl.plan.power_lines import best_weight_decay
from ncpl.plan.request import (
    Sizes,
    check_ranges,
    finisher,
    optimizers_of,
    read_request,
    size_axis,
    supports_of,
    training_runs,
)
from ncpl.plan.search import Pool, Space, intervals_of, member_losses, search, tied, ties
from ncpl.plan.setting import (
    Setting,
    as_own,
    chosen_setting,
    given_settings,
    is_at_edge,
    optimizer_setting,
)
from ncpl.plan.space import SHAPE_FIELDS, WHOLE, axes_of, not_searched, restrict, unread

NEAR_FRAC = 0.02
"""Candidates above the best by more than this share are never asked whether they are tied."""


@dataclass(frozen=True)
class Recommendation:
    """The chosen configuration, what it is predicted to give, and the published law beside it."""

    source: str
    config: dict[str, Any]
    prediction: Prediction | CommunityPrediction
    settings: list[Setting]
    step_law: dict[str, Any]
    """The same with the learning rate and batch size of the published Step Law."""
    step_law_prediction: Prediction | CommunityPrediction
    step_law_is_tied: bool
    """It is not told to be worse than the choice; it may be better, where it was not searched."""
    flop: float
    """6 x parameters x tokens."""
    candidates: int
    optimizers: list[dict[str, Any]] = field(default_factory=list)
    """Each optimizer at its best settings, best first; `tied` with the first or not; `measured`, as
    below; `note`, where no training run is near."""
    notes: list[str] = field(default_factory=list)
    measured: Measured | None = None
    """The best measured run of the nearest size and tokens, of the chosen optimizer."""
    cost: Cost | None = None
    """What the fixed fields give up; None where nothing that a plan chooses was fixed."""


def recommend(
    bundle: Bundle | OwnPlans,
    *,
    params_non_embedding: float | None = None,
    train_tokens: float | None = None,
    flop: float | None = None,
    fixed: Mapping[str, Any] | None = None,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    optimizers: Sequence[str] = (),
    runs: Runs | None = None,
    cautious: bool = True,
    seed: int = 0,
    on_optimizer: Callable[[str], None] | None = None,
    with_cost: bool = True,
) -> Recommendation:
    """Return the best settings for a size and tokens, or a budget in FLOP.

    Best is the lowest upper end of the 90% interval, or with `cautious` off the lowest loss. All
    fields the fit knows to vary are searched together, inside the ranges of its training runs; with
    the snapshot's `runs`, of those of the same optimizer, and where some of them are near. `fixed`
    holds values that stay, `ranges` others to search in. With a budget (`flop` = 6 N D) the missing
    size, data, or both are searched too. `optimizers` are those to compare; all if not given. What
    is fixed is set against the best without it, unless `with_cost` is off. The shape, where none is
    given, is that of training runs of this size.
    Raises ConfigError when the request does not determine a search.
    """
    fixed, ranges = dict(fixed or {}), dict(ranges or {})
    request = (params_non_embedding, train_tokens, flop)
    sizes, fit, fixed = read_request(bundle, params_non_embedding, train_tokens, flop, fixed)
    constants = {k: v for k, v in fit.encoder.constants.items() if k not in fixed}
    check_ranges(ranges, sizes)
    train = training_runs(runs, fit)
    length = fixed.get("sequence_length") or constants["sequence_length"]
    given_ranges = dict(ranges)
    if "batch_tokens" in ranges:
        low, high = ranges.pop("batch_tokens")
        ranges["batch_size_sequences"] = (low / length, high / length)
    pools: list[Pool] = []
    far: dict[int, str] = {}
    shape = _shape(sizes, fixed, train)
    for name in optimizers_of(bundle, fit, fixed, optimizers):
        own = {"optimizer": name} if name is not None else {}
        axes = restrict(axes_of(fit, name, length, train), {**constants, **fixed}, ranges)
        if sizes.is_free:
            seen = ranges.get("params_non_embedding")
            axes = {"params_non_embedding": size_axis(fit, sizes, seen), **axes}
        whole = {**constants, **fixed, **own, **shape}
        for support, told in supports_of(train, axes, name):
            space = Space(axes, whole, finisher(sizes), support)
            pool = search(bundle, fit, space, cautious=cautious, seed=seed)
            if pool.loss:
                pools.append(pool)
                far[id(pool)] = told
                break
        if on_optimizer is not None:
            on_optimizer(str(name))
    if not pools:
        raise ConfigError(
            "no candidate fits: a run must be one batch long at least, and near training runs; ask "
            "for more tokens or FLOP, fix fewer fields, or give a --range"
        )
    pools.sort(key=lambda pool: pool.rank[pool.best()])
    told_of = [far[id(pool)] for pool in pools]
    known = MeasuredRuns.of(fit, runs)
    found = _told(bundle, fit, pools, told_of, known, fixed, constants, sizes, shape, bool(train))
    kept = constrained(fixed)
    if not with_cost or not kept:
        return found
    free = recommend(
        bundle,
        params_non_embedding=request[0], train_tokens=request[1], flop=request[2],
        fixed={name: value for name, value in fixed.items() if name not in kept},
        ranges=given_ranges, optimizers=optimizers, runs=runs, cautious=cautious,
        seed=seed, with_cost=False,
    )  # fmt: skip
    return dataclasses.replace(found, cost=cost_of(fit, kept, found.config, free.config))


def _shape(sizes: Sizes, fixed: Mapping[str, Any], train: Sequence[Config]) -> dict[str, Any]:
    """Return a shape like that of training runs of the size asked for, where none is given."""
    if sizes.params is None or any(name in fixed for name in SHAPE_FIELDS):
        return {}
    return shape_like(train, sizes.params)


def _told(
    bundle: Bundle | OwnPlans, fit: PlanFit, pools: list[Pool], told_of: Sequence[str],
    known: MeasuredRuns,
    fixed: Mapping[str, Any], constants: Mapping[str, Any], asked: Sizes,
    shape: Mapping[str, Any], has_runs: bool,
) -> Recommendation:  # fmt: skip
    pool = pools[0]
    best = pool.best()
    chosen = _clean(pool.configs[best])
    published = _step_law(chosen)
    prediction, published_prediction = bundle.predict(
        [{**config, "source": fit.family[0]} for config in (chosen, published)]
    )
    best_M1 = member_losses(fit, [chosen])
    loss = np.array(pool.loss)
    close = np.flatnonzero(loss <= loss[best] * (1 + NEAR_FRAC)).tolist()
    tied_places = [i for i, t in zip(close, ties(pool, close, best), strict=True) if t]
    settings = [chosen_setting(pool, best, axis, tied_places) for axis in pool.space.axes.values()]
    settings += given_settings(chosen, pool, fixed, constants, asked, shape)
    if isinstance(fit, OwnFit):
        settings = [as_own(setting) for setting in settings]
    rivals = []
    for other, told in zip(pools, told_of, strict=True):
        config = _clean(other.configs[other.best()])
        found = intervals_of(bundle, fit, [config])
        near = known.nearest(config)
        rivals.append(
            {
                "optimizer": config.get("optimizer"),
                "loss": float(found.loss[0]),
                "low": float(found.low[0]),
                "high": float(found.high[0]),
                "tied": bool(tied(member_losses(fit, [config]), best_M1)[0]),
                "config": config,
                "measured": None if near is None else dataclasses.asdict(near),
                "note": told or None,
            }
        )
    notes = [
        f"{rival['optimizer'] or 'choice'}: {rival['note']}" for rival in rivals if rival["note"]
    ]
    notes += _only_others(rivals)
    notes += fit.notes if isinstance(fit, OwnFit) else ()
    notes += unread(fit)
    left = not_searched(fit)
    if left:
        notes.append(f"read by the model, but not searched here: {', '.join(left)}")
    if (
        not isinstance(fit, OwnFit)
        and not has_runs
        and len(fit.encoder.categories.get("optimizer", ())) > 1
    ):
        notes.append(
            "ranges are those of all optimizers together; with --snapshot, of each one's own runs"
        )
    flat = [s.name for s in settings if s.matters is False]
    if flat:
        notes.append(f"no effect that could be told from noise: {', '.join(flat)}")
    edge = [s.name for s in settings if s.matters and is_at_edge(s)]
    asked_for = [name for name in edge if pool.space.axes[name].is_asked]
    if asked_for:
        notes.append(
            f"best at the end of the range asked for: {', '.join(asked_for)}; better values may "
            "lie beyond"
        )
    edge = [name for name in edge if name not in asked_for]
    if edge:
        notes.append(
            f"best at the end of what was searched: {', '.join(edge)}; better values may lie "
            "beyond, where no runs are known"
        )
    decay = best_weight_decay(known, chosen)
    notes += [decay.sentence()] if decay is not None else []
    if len(pools) > 1:
        settings.append(optimizer_setting(rivals))
    return Recommendation(
        fit.family[0],
        chosen,
        prediction,
        settings,
        published,
        published_prediction,
        bool(tied(member_losses(fit, [published]), best_M1)[0]),
        FLOP_PER_PARAMETER_TOKEN * chosen["params_non_embedding"] * chosen["train_tokens"],
        sum(len(p.loss) for p in pools),
        rivals,
        notes,
        known.nearest(chosen),
    )


def _only_others(rivals: Sequence[dict[str, Any]]) -> list[str]:
    """Return one sentence where the first optimizer was not measured here, and others were."""
    here = [r for r in rivals if r["measured"] and r["measured"]["is_same"]]
    if not here or rivals[0] in here:
        return []
    here.sort(key=lambda rival: rival["measured"]["loss"])
    names = ", ".join(f"{r['optimizer']} {r['measured']['loss']:.4f}" for r in here)
    return [
        f"{rivals[0]['optimizer']} was not measured at this size and tokens; those that were, best "
        f"first: {names}"
    ]


def _clean(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration with whole numbers as such, in plain types."""
    whole = (*WHOLE, "sequence_length")
    return {k: int(v) if k in whole and v is not None else v for k, v in config.items()}


def _step_law(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Return the published law's settings, as far as they are those of a sane run."""
    rate, batch = PUBLISHED.optimum(chosen["params_non_embedding"], chosen["train_tokens"])
    length = chosen["sequence_length"]
    return {
        **chosen,
        "learning_rate": min(float(rate), 1.0),
        "batch_size_sequences": max(1, round(min(float(batch), MAX_BATCH_TOKENS) / length)),
    }
