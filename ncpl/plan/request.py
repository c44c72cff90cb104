"""What a plan is asked for: size and data, fixed fields, and the space they leave open."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ncpl.data.checks import check_config
from ncpl.data.consistency import checked
from ncpl.data.fields import FIELDS, Config, derive
from ncpl.data.sizes import FLOP_PER_PARAMETER_TOKEN
from ncpl.data.snapshot import Runs
from ncpl.errors import ConfigError
from ncpl.model.bundle import Bundle
from ncpl.plan.own_family import OwnFit, OwnPlans, PlanFit
from ncpl.plan.search import Support
from ncpl.plan.space import SIZE_FIELDS, Axis


@dataclass(frozen=True)
class Sizes:
    """The size and data of a request: both given, or one or none under a compute budget."""

    params: float | None
    tokens: float | None
    flop: float | None

    def __post_init__(self) -> None:
        """Raise ConfigError when they do not determine a search."""
        given = sum(value is not None for value in (self.params, self.tokens, self.flop))
        if given == 3 or (self.flop is None and given < 2):
            raise ConfigError(
                "give a size and tokens, or a compute budget, or a budget with one of the two"
            )
        for name, value in (
            ("parameters", self.params), ("tokens", self.tokens), ("budget", self.flop),
        ):  # fmt: skip
            if value is not None and not 0 < value < float("inf"):
                raise ConfigError(f"{name}: found {value:g}, expected a positive number")

    @property
    def is_free(self) -> bool:
        """Return whether the size is searched too."""
        return self.params is None and self.tokens is None

    def pair(self, params: float | None = None) -> tuple[float, float]:
        """Return parameters and tokens, for a size on the axis where it is free."""
        n, d = self.params or params, self.tokens
        if self.flop is not None:
            budget = self.flop / FLOP_PER_PARAMETER_TOKEN
            n = n or budget / float(d or 1)
            d = d or budget / n
        return float(n or 0), float(d or 0)


def read_request(
    bundle: Bundle | OwnPlans, params: float | None, tokens: float | None, flop: float | None,
    fixed: dict[str, Any],
) -> tuple[Sizes, PlanFit, dict[str, Any]]:  # fmt: skip
    """Return sizes, the fit that answers, and the fixed fields in the units of the schema."""
    shape = derive(fixed).get("params_non_embedding")
    for name, value in (("params_non_embedding", params), ("train_tokens", tokens)):
        if value is not None and fixed.get(name) not in (None, value):
            raise ConfigError(f"{name} is given twice: {value:g} and {fixed[name]:g}")
    told = fixed.get("train_tokens") or fixed.get("nominal_train_tokens")
    sizes = Sizes(shape if params is None else params, told if tokens is None else tokens, flop)
    batch_tokens = fixed.pop("batch_tokens", None)
    fit = bundle.fit_for({**fixed, "params_non_embedding": 1e8, "data_tokens": 1e9})
    if not hasattr(fit, "encoder"):
        raise ConfigError(
            "this kind of bundle does not say what it knows to vary; plan with another"
        )
    if "sequence_length" not in {**fixed, **fit.encoder.constants}:
        seen = fit.encoder.ranges.get("sequence_length")
        known_at = f" (in training {seen[0]:g} to {seen[1]:g} tokens)" if seen else ""
        raise ConfigError(f"give --sequence-length{known_at}: batches are counted in sequences")
    if batch_tokens is not None:
        length = fixed.get("sequence_length") or fit.encoder.constants["sequence_length"]
        fixed["batch_size_sequences"] = max(1, round(batch_tokens / length))
    checked({**fit.encoder.constants, **fixed}, where="the request", read=fit.encoder.fields)
    return sizes, fit, check_config(fixed, where="the request")


def check_ranges(ranges: Collection[str], sizes: Sizes) -> None:
    """Raise ConfigError for a range of size or data that would not be searched."""
    for name in SIZE_FIELDS:
        if name in ranges and not (sizes.is_free and name == "params_non_embedding"):
            raise ConfigError(
                f"--range {name}: of size and data only params_non_embedding can be searched, and "
                "only for a budget (flop) alone"
            )


def training_runs(runs: Runs | None, fit: PlanFit) -> list[Config]:
    """Return configurations of training runs: a snapshot's, else what the bundle kept of its own.

    Raises ConfigError when the snapshot has none of this fit's.
    """
    if isinstance(fit, OwnFit):  # own runs are few: what all families share is known beside them
        return []
    if runs is None:
        return list(getattr(getattr(fit, "known", None), "configs", ()))
    train = runs.where(family=fit.family, split="train").readable()
    if not len(train):
        raise ConfigError(f"the snapshot has no training runs of {fit.family[0]}")
    return list(train.configs)


def supports_of(
    train: Sequence[Config], axes: Mapping[str, Axis], optimizer: str | None
) -> list[tuple[Support | None, str]]:
    """Return where to search, the closest to training runs first, and what to say of each.

    Near is judged in what is searched and was not asked for by range. What is asked for gets an
    answer, with whatever interval it has: where no run is near, the search goes on farther away.
    """
    names = {"learning_rate": "learning_rate", "batch_size_sequences": "batch_tokens"}
    free = [names[name] for name in names if name in axes and not axes[name].is_asked]
    rows = [derive(c) for c in train if optimizer in (None, c.get("optimizer"))]
    near = Support(rows, free)
    if not free or not len(near.log_RK):
        return [(None, "")]
    return [
        (near, ""),
        (
            Support(rows, free, any_data=True),
            "no training run is near its tokens; searched where runs with other tokens lie",
        ),
        (None, "no training run is near; searched over all that training has seen"),
    ]


def optimizers_of(
    bundle: Bundle | OwnPlans, fit: PlanFit, fixed: Mapping[str, Any], asked: Sequence[str]
) -> list[str | None]:
    """Return the optimizers to search, each on its own; None where the fit knows none by name.

    Raises ConfigError for one that is asked for and that the fit does not know.
    """
    known = fit.encoder.categories.get("optimizer", ())
    wanted = [fixed["optimizer"]] if "optimizer" in fixed else list(asked)
    if isinstance(bundle, OwnPlans) and not known:
        return [None]  # a choice that no own run made has the effect it had elsewhere
    for name in wanted:
        if name not in known:
            others = [
                f"--source {other.family[0]}"
                for other in bundle.fits
                if name in other.encoder.categories.get("optimizer", ())
            ]
            hint = f"; runs of it: {', '.join(others)}" if others else ""
            raise ConfigError(
                f"{fit.family[0]} knows no optimizer {name!r}; it has {', '.join(known)}{hint}"
            )
    return [*(wanted or known)] or [None]


def size_axis(fit: PlanFit, sizes: Sizes, asked: tuple[float, float] | None) -> Axis:
    """Return the sizes of a budget: trained ones, and larger ones whose tokens training has seen.

    The law says how loss goes on beyond the trained sizes; to keep a large budget to them would
    spend it on tokens. Of the trained sizes, those count that need no more tokens than were seen.
    """
    if asked is not None:
        return Axis("params_non_embedding", *asked, is_asked=True)
    low, high = fit.encoder.ranges["params_non_embedding"]
    least, most = fit.encoder.ranges["data_tokens"]
    budget = float(sizes.flop or 0) / FLOP_PER_PARAMETER_TOKEN
    smallest = max(low, budget / most)
    largest = min(max(high, budget / least), FIELDS["params_non_embedding"].high)
    return Axis("params_non_embedding", smallest if smallest <= high else low, largest)


def finisher(sizes: Sizes) -> Callable[[dict[str, Any]], dict[str, Any] | None]:
    """Return what makes a candidate whole, or None of one that contradicts itself."""

    def finish(config: dict[str, Any]) -> dict[str, Any] | None:
        n, d = sizes.pair(config.get("params_non_embedding"))
        whole = {**config, "params_non_embedding": n, "train_tokens": d}
        steps = None
        if whole.get("batch_size_sequences"):
            steps = d / (whole["batch_size_sequences"] * whole["sequence_length"])
            if steps < 1:
                return None
        decay_frac = whole.pop("decay_frac", None)
        if decay_frac is not None and steps is not None:
            whole["decay_steps"] = round(decay_frac * steps)
        if (whole.get("min_learning_rate") or 0) > (whole.get("learning_rate") or 1):
            return None
        return whole

    return finish
