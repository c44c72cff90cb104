"""Recommendations: the settings with the lowest predicted loss, and how much each of them matters.

What is asked for: plan_request.py. What is searched, and inside which ranges: plan_space.py. How:
plan_search.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ncpl.data.consistency import MAX_BATCH_TOKENS
from ncpl.data.fields import FIELDS
from ncpl.data.snapshot import Runs
from ncpl.errors import ConfigError
from ncpl.laws.steplaw import PUBLISHED
from ncpl.model.bundle import Bundle, Prediction
from ncpl.model.ensemble import Fit
from ncpl.plan.request import (
    FLOP_PER_PARAMETER_TOKEN,
    Sizes,
    check_ranges,
    finisher,
    optimizers_of,
    read_request,
    size_axis,
    support_of,
    training_runs,
)
from ncpl.plan.search import LINE, Pool, Space, member_losses, search, tied, ties
from ncpl.plan.space import (
    SIZE_FIELDS,
    WHOLE,
    Axis,
    axes_of,
    not_searched,
    restrict,
    unread,
)

NEAR_FRAC = 0.02
"""Candidates above the best by more than this share are never asked whether they are tied."""
EDGE_FRAC = 0.01
CHOSEN, GIVEN, CONSTANT = "chosen", "given", "as in all training runs"
FOLLOWS = "follows from the budget"


@dataclass(frozen=True)
class Setting:
    """One field of the recommended configuration."""

    name: str
    value: Any
    role: str
    """CHOSEN by the search, GIVEN with the request, FOLLOWS from a budget and the size, or
    CONSTANT: known at this value only."""
    searched: list[Any] | None = None
    """Lowest and highest value searched, or the names."""
    tied_alone: list[Any] | None = None
    """Lowest and highest value of this field alone that is tied with the best."""
    tied_together: list[Any] | None = None
    """The same over all tied candidates of the search, whatever their other fields."""
    worst_costs: float | None = None
    """Nats that the worst searched value of this field alone costs."""
    matters: bool | None = None
    """False where every searched value is tied with the best."""


@dataclass(frozen=True)
class Recommendation:
    """The chosen configuration, what it is predicted to give, and the published law beside it."""

    source: str
    config: dict[str, Any]
    prediction: Prediction
    settings: list[Setting]
    step_law: dict[str, Any]
    """The same with the learning rate and batch size of the published Step Law."""
    step_law_prediction: Prediction
    step_law_is_tied: bool
    """It is not told to be worse than the choice; it may be better, where it was not searched."""
    flop: float
    """6 x parameters x tokens."""
    candidates: int
    optimizers: list[dict[str, Any]] = field(default_factory=list)
    """Each optimizer at its best settings, best first; `tied` with the first or not."""
    notes: list[str] = field(default_factory=list)


def recommend(
    bundle: Bundle,
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
) -> Recommendation:
    """Return the best settings for a size and tokens, or a budget in FLOP.

    Best is the lowest upper end of the 90% interval, or with `cautious` off the lowest loss. All
    fields the fit knows to vary are searched together, inside the ranges of its training runs; with
    the snapshot's `runs`, of those of the same optimizer, and where some of them are near. `fixed`
    holds values that stay, `ranges` others to search in. With a budget (`flop` = 6 N D) the missing
    size, data, or both are searched too. `optimizers` are those to compare; all if not given.
    Raises ConfigError when the request does not determine a search.
    """
    fixed, ranges = dict(fixed or {}), dict(ranges or {})
    sizes, fit, fixed = read_request(bundle, params_non_embedding, train_tokens, flop, fixed)
    constants = {k: v for k, v in fit.encoder.constants.items() if k not in fixed}
    check_ranges(ranges, sizes)
    train = training_runs(runs, fit)
    length = fixed.get("sequence_length") or constants["sequence_length"]
    if "batch_tokens" in ranges:
        low, high = ranges.pop("batch_tokens")
        ranges["batch_size_sequences"] = (low / length, high / length)
    pools: list[Pool] = []
    far: list[str] = []
    for name in optimizers_of(bundle, fit, fixed, optimizers):
        own = {"optimizer": name} if name is not None else {}
        axes = restrict(axes_of(fit, name, length, train), {**constants, **fixed}, ranges)
        if sizes.is_free:
            seen = ranges.get("params_non_embedding")
            axes = {"params_non_embedding": size_axis(fit, sizes, seen), **axes}
        space = Space(
            axes, {**constants, **fixed, **own}, finisher(sizes), support_of(train, axes, name)
        )
        pool = search(bundle, fit, space, cautious=cautious, seed=seed)
        if not pool.loss:
            far.append(str(name))
            continue
        pools.append(pool)
        if on_optimizer is not None:
            on_optimizer(str(name))
    if not pools:
        raise ConfigError(
            "no candidate fits: a run must be one batch long at least, and near training runs; ask "
            "for more tokens or FLOP, fix fewer fields, or give a --range"
        )
    pools.sort(key=lambda pool: pool.rank[pool.best()])
    found = _told(bundle, fit, pools, fixed, constants, sizes, bool(train))
    if far:
        found.notes.append(f"no training run is near what was asked for: {', '.join(far)}")
    return found


def _told(
    bundle: Bundle, fit: Fit, pools: list[Pool], fixed: Mapping[str, Any],
    constants: Mapping[str, Any], asked: Sizes,
    has_runs: bool,
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
    near = np.flatnonzero(loss <= loss[best] * (1 + NEAR_FRAC)).tolist()
    tied_places = [i for i, t in zip(near, ties(pool, near, best), strict=True) if t]
    settings = [_setting(pool, best, axis, tied_places) for axis in pool.space.axes.values()]
    settings += _given(chosen, pool, fixed, constants, asked)
    rivals = []
    for other in pools:
        config = _clean(other.configs[other.best()])
        found = bundle.intervals(fit, [config])
        rivals.append(
            {
                "optimizer": config.get("optimizer"),
                "loss": float(found.loss[0]),
                "low": float(found.low[0]),
                "high": float(found.high[0]),
                "tied": bool(tied(member_losses(fit, [config]), best_M1)[0]),
                "config": config,
            }
        )
    notes = unread(fit)
    left = not_searched(fit)
    if left:
        notes.append(f"read by the model, but not searched here: {', '.join(left)}")
    if not has_runs and len(fit.encoder.categories.get("optimizer", ())) > 1:
        notes.append(
            "ranges are those of all optimizers together; with --snapshot, of each one's own runs"
        )
    flat = [s.name for s in settings if s.matters is False]
    if flat:
        notes.append(f"no effect that could be told from noise: {', '.join(flat)}")
    edge = [s.name for s in settings if s.matters and _is_at_edge(s)]
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
    if len(pools) > 1:
        settings.append(_optimizer_setting(rivals))
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
    )


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


def _setting(pool: Pool, best: int, axis: Axis, tied_places: list[int]) -> Setting:
    values = axis.grid(41 if axis.name == "learning_rate" else LINE)
    here = pool.picks[best][axis.name]
    looked = pool.look([{**pool.picks[best], axis.name: value} for value in values])
    places = [i for i in looked if i is not None]
    is_tied = ties(pool, places, best)
    alone = [pool.picks[i][axis.name] for i, t in zip(places, is_tied, strict=True) if t]
    return Setting(
        axis.name,
        int(here) if axis.name in WHOLE else here,
        CHOSEN,
        axis.ends,
        _span(axis, [here, *alone]),
        _span(axis, [here, *alone, *(pool.picks[i][axis.name] for i in tied_places)]),
        max((pool.loss[i] for i in places), default=pool.loss[best]) - pool.loss[best],
        not (places and bool(is_tied.all())),
    )


def _is_at_edge(setting: Setting) -> bool:
    """Return whether the best value, and so perhaps a better one, lies at an end of the search."""
    if setting.role != CHOSEN or isinstance(setting.value, str) or not setting.searched:
        return False
    low, high = setting.searched
    natural = FIELDS[setting.name].low
    at_low = setting.value <= low * (1 + EDGE_FRAC) and low > natural
    return bool(at_low or setting.value >= high * (1 - EDGE_FRAC))


def _span(axis: Axis, values: list[Any]) -> list[Any]:
    return sorted(set(values)) if axis.choices else [min(values), max(values)]


def _given(
    chosen: Mapping[str, Any], pool: Pool, fixed: Mapping[str, Any],
    constants: Mapping[str, Any], sizes: Sizes,
) -> list[Setting]:  # fmt: skip
    own = {"params_non_embedding": sizes.params, "train_tokens": sizes.tokens}
    found = [
        Setting(name, chosen[name], FOLLOWS if own.get(name, 0) is None else GIVEN)
        for name in dict.fromkeys((*SIZE_FIELDS, *fixed))
        if name in chosen and name not in pool.space.axes and name != "source"
    ]
    return found + [
        Setting(name, chosen[name], CONSTANT)
        for name in constants
        if name in chosen and name not in pool.space.axes
    ]


def _optimizer_setting(rivals: list[dict[str, Any]]) -> Setting:
    tied_names = sorted(r["optimizer"] for r in rivals if r["tied"])
    return Setting(
        "optimizer",
        rivals[0]["optimizer"],
        CHOSEN,
        sorted(r["optimizer"] for r in rivals),
        tied_names,
        tied_names,
        rivals[-1]["loss"] - rivals[0]["loss"],
        len(tied_names) < len(rivals),
    )
