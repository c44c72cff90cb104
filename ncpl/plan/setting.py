"""The fields of a recommended configuration: what is tied with each, and whether it matters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ncpl.data.fields import FIELDS
from ncpl.plan.request import Sizes
from ncpl.plan.search import LINE, Pool, ties
from ncpl.plan.space import SIZE_FIELDS, WHOLE, Axis

EDGE_FRAC = 0.01
CHOSEN, GIVEN, CONSTANT = "chosen", "given", "as in all training runs"
AS_OWN = "as in most own runs"
FOLLOWS, SHAPED = "follows from the budget", "a shape like the training runs'"


@dataclass(frozen=True)
class Setting:
    """One field of the recommended configuration."""

    name: str
    value: Any
    role: str
    """CHOSEN by the search, GIVEN with the request, FOLLOWS from a budget and the size,
    CONSTANT: known at this value only, or AS_OWN."""
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


def chosen_setting(pool: Pool, best: int, axis: Axis, tied_places: list[int]) -> Setting:
    """Return a searched field at its best value, and which other values are tied with it."""
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


def as_own(setting: Setting) -> Setting:
    """Return a setting as a plan in a family of own runs tells it."""
    return replace(setting, role=AS_OWN) if setting.role == CONSTANT else setting


def is_at_edge(setting: Setting) -> bool:
    """Return whether the best value, and so perhaps a better one, lies at an end of the search."""
    if setting.role != CHOSEN or isinstance(setting.value, str) or not setting.searched:
        return False
    low, high = setting.searched
    natural = FIELDS[setting.name].low
    at_low = setting.value <= low * (1 + EDGE_FRAC) and low > natural
    return bool(at_low or setting.value >= high * (1 - EDGE_FRAC))


def _span(axis: Axis, values: list[Any]) -> list[Any]:
    return sorted(set(values)) if axis.choices else [min(values), max(values)]


def given_settings(
    chosen: Mapping[str, Any], pool: Pool, fixed: Mapping[str, Any],
    constants: Mapping[str, Any], sizes: Sizes, shape: Mapping[str, Any],
) -> list[Setting]:  # fmt: skip
    """Return what was not searched: given, following from the budget, a shape, or constant."""
    own = {"params_non_embedding": sizes.params, "train_tokens": sizes.tokens}
    found = [
        Setting(name, chosen[name], FOLLOWS if own.get(name, 0) is None else GIVEN)
        for name in dict.fromkeys((*SIZE_FIELDS, *fixed))
        if name in chosen and name not in pool.space.axes and name != "source"
    ]
    found += [Setting(name, value, SHAPED) for name, value in shape.items()]
    return found + [
        Setting(name, chosen[name], CONSTANT)
        for name in constants
        if name in chosen and name not in pool.space.axes
    ]


def optimizer_setting(rivals: list[dict[str, Any]]) -> Setting:
    """Return the optimizer as a setting, from each one at its best settings."""
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
