"""Small runs before a large one: those that most narrow its recommended setting and loss.

Legend: B candidates.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from ncpl.data.fields import derive
from ncpl.data.own_runs import read_runs
from ncpl.data.sizes import FLOP_PER_PARAMETER_TOKEN
from ncpl.errors import ConfigError
from ncpl.model.family_law import PLACE, Effects, optimum_of
from ncpl.model.intervals import Z90
from ncpl.model.law_inputs import BATCH_REFERENCE, D_REFERENCE, N_REFERENCE, RATE_REFERENCE, Array
from ncpl.model.law_process import LawProcess, Reading
from ncpl.model.population import Population
from ncpl.plan.arms import flop_of
from ncpl.plan.narrowing import EXPONENT, Narrowed

SIZES = (1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4)
"""Sizes tried, over the target's."""
RATIOS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Tokens a parameter tried, over the target's."""
RATES, BATCHES = (1 / 3, 1.0, 3.0), (0.5, 1.0, 2.0)
"""Learning rates and batches tried, over the best ones as far as known."""
LEAST_STEPS, HIGHEST_RATE, LEAST_SIZE = 500, 0.05, 2e6
COST_OF_UNIT = 0.02
"""Nats that a learning rate or batch off by one log unit costs: what a narrower setting is worth
beside a narrower loss (docs/community.md: the curvature is alike in all families)."""
FAR = 1e6
ASPECT, FFN_RATIO, HEAD = 64.0, 8 / 3, 64
"""Width over depth, feed-forward over width, and width of a head of a shape nobody gave."""


@dataclass(frozen=True)
class KnownLosses:
    """What is expected at the target; half widths of 90%."""

    loss: float
    half: float
    """Nats."""
    learning_rate: float
    rate_factor: float
    """The best rate lies within this factor of the one told."""
    batch_tokens: float
    batch_factor: float


@dataclass(frozen=True)
class SweepRun:
    """One small run, and what is expected to be known after it."""

    config: Mapping[str, Any]
    flop: float
    half: float
    rate_factor: float
    batch_factor: float


@dataclass(frozen=True)
class Sweep:
    """The small runs before a large one."""

    now: KnownLosses
    runs: list[SweepRun]
    budget: float
    target_flop: float
    n_known: int
    notes: list[str]


def plan_sweep(
    population: Population,
    params: float,
    tokens: float,
    *,
    share: float = 0.05,
    count: int = 8,
    base: Mapping[str, Any],
    known: Sequence[Mapping[str, Any]] = (),
) -> Sweep:
    """Return the runs that a share of the target's compute should buy, in their order.

    `base` holds what all runs share: `sequence_length`, that of most known runs where it has none,
    and what a configuration states besides size, tokens, rate and batch. `known` are runs already
    done (see `ncpl.data.own_runs`). Raises ConfigError where the share buys no run.
    """
    own = read_runs(known)
    base, given = with_length(base, own.rows)
    flop = FLOP_PER_PARAMETER_TOKEN * params * tokens
    target = derive(made(base, params, tokens, RATE_REFERENCE, BATCH_REFERENCE, exact=True))
    effects = replace(Effects.of([*own.rows, target]), habit=None)
    belief = LawProcess.of(population, effects, own.rows[: own.n_runs], own.loss[: own.n_runs])
    rate, batch = best_setting(belief, params, tokens)
    target = derive(made(base, params, tokens, rate, batch, exact=True))
    configs = candidates(belief, params, tokens, base, share * flop)
    if not configs:
        raise ConfigError(
            f"{share:.3g} of the target's {flop:.3g} FLOP buys no run of {LEAST_STEPS} steps; give "
            "a larger --share"
        )
    rows = [derive(config) for config in configs]
    cost = np.array([flop_of(row) for row in rows])
    at = belief.read([target])
    asked = Reading(
        np.concatenate([at.loss, np.zeros(2)]),
        np.concatenate([at.slope, COST_OF_UNIT * setting_slopes(belief, params, tokens)]),
        np.concatenate([at.place, np.full((2, 4), FAR)]),
    )
    told = Narrowed(belief, belief.read(rows), asked)
    loss, _ = belief.predict([target])
    now = KnownLosses(
        float(loss[0]), told.half(), rate, _factor(told, 1), batch, _factor(told, 2)
    )  # fmt: skip
    runs: list[SweepRun] = []
    left = share * flop
    price = cost**EXPONENT
    while len(runs) < count and (cost <= left).any():
        place = int(np.argmax(np.where(cost <= left, told.gains() / price, -np.inf)))
        told.measure(place)
        left -= float(cost[place])
        runs.append(
            SweepRun(
                configs[place], float(cost[place]), told.half(), _factor(told, 1), _factor(told, 2)
            )
        )
    notes = [*own.notes, *given]
    if not own.n_runs:
        notes.append("no run of this family is known: the level of its losses is open")
    return Sweep(now, runs, share * flop, flop, own.n_runs, notes)


def with_length(
    base: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> tuple[dict[str, Any], list[str]]:
    """Return the base with the sequence length of most known runs where it states none; a note.

    Raises ConfigError where neither states one.
    """
    if base.get("sequence_length"):
        return dict(base), []
    lengths = Counter(row["sequence_length"] for row in rows if row.get("sequence_length"))
    if not lengths:
        raise ConfigError("give --sequence-length: batches are counted in sequences")
    length = lengths.most_common(1)[0][0]
    note = f"sequences of {length:,.0f} tokens, as in {lengths[length]} of {len(rows)} own runs"
    return dict(base) | {"sequence_length": length}, [note]


def _factor(told: Narrowed, place: int) -> float:
    variance = float(told.target[place]) - told.belief.scales.amplitude**2  # no process there
    return math.exp(Z90 * math.sqrt(max(variance, 0.0)) / COST_OF_UNIT)


def best_setting(belief: LawProcess, params: float, tokens: float) -> tuple[float, float]:
    """Return the best learning rate and batch in tokens, as far as known."""
    return optimum_of(belief.theta, params, tokens)


def setting_slopes(belief: LawProcess, params: float, tokens: float) -> Array:
    """Return how the logs of the best rate and batch move with the law's numbers, (2, P)."""
    n, d = math.log(params / N_REFERENCE), math.log(tokens / D_REFERENCE)
    per_batch = float(belief.theta[PLACE["rate_batch"]])
    batch = float(belief.theta[PLACE["batch"]] + belief.theta[PLACE["batch_d"]] * d)
    found = np.zeros((2, len(belief.theta)))
    for name, value in (
        ("rate", 1.0), ("rate_n", n), ("rate_d", d), ("rate_batch", batch), ("batch", per_batch),
        ("batch_d", per_batch * d),
    ):  # fmt: skip
        found[0, PLACE[name]] = value
    found[1, PLACE["batch"]], found[1, PLACE["batch_d"]] = 1.0, d
    return found


def candidates(
    belief: LawProcess, params: float, tokens: float, base: Mapping[str, Any], budget: float
) -> list[dict[str, Any]]:
    """Return the runs tried: smaller sizes and data, rates and batches about the best."""
    found = []
    for size, ratio in product(SIZES, RATIOS):
        shape = made(base, params * size, 1e9, RATE_REFERENCE, BATCH_REFERENCE)
        n = float(shape["params_non_embedding"])
        d = ratio * n * tokens / params
        if n < LEAST_SIZE or FLOP_PER_PARAMETER_TOKEN * n * d > budget:
            continue
        rate, batch = best_setting(belief, n, d)
        for by, times in product(RATES, BATCHES):
            if batch * times * LEAST_STEPS <= d and rate * by <= HIGHEST_RATE:
                found.append(made(base, n, d, rate * by, batch * times))
    return found


def made(
    base: Mapping[str, Any], params: float, tokens: float, rate: float, batch_tokens: float,
    *, exact: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Return a configuration near a size, with the shape of the base or a usual one.

    With `exact` the size is the one asked for and the shape is left out.
    """
    length = int(base["sequence_length"])
    left = {"params_non_embedding", "train_tokens", "nominal_train_tokens", "train_steps", "run_id",
            "n_layers", "d_model", "d_ff", "n_heads", "n_kv_heads", "head_dim", "warmup_steps",
            "decay_steps", "final_loss", "curve", "params_total"}  # fmt: skip
    config = {name: value for name, value in base.items() if name not in left}
    config.setdefault("optimizer", "adamw")
    config.setdefault("schedule", "cosine")
    sequences = max(1, round(batch_tokens / length))
    steps = max(1, round(tokens / (sequences * length)))
    if exact:
        config["params_non_embedding"] = params
    else:
        shape = shape_of(base, params)
        config |= shape
        config["params_non_embedding"] = derive(shape)["params_non_embedding"]
    config |= {
        "learning_rate": float(f"{rate:.3g}"), "batch_size_sequences": sequences,
        "train_steps": steps, "train_tokens": steps * sequences * length,
    }  # fmt: skip
    if base.get("warmup_steps") and base.get("train_steps"):
        config["warmup_steps"] = max(1, round(base["warmup_steps"] / base["train_steps"] * steps))
    return config


def shape_of(base: Mapping[str, Any], params: float) -> dict[str, int]:
    """Return layers, widths and heads near a size, in the proportions of the base."""
    width, depth = base.get("d_model"), base.get("n_layers")
    aspect = width / depth if width and depth else ASPECT
    ratio = base["d_ff"] / width if width and base.get("d_ff") else FFN_RATIO
    per_layer = 4 + 3 * ratio
    ideal = (params * aspect / per_layer) ** (1 / 3)
    d_model = max(HEAD, HEAD * round(ideal / HEAD))
    n_layers = max(1, round(params / (per_layer * d_model**2)))
    d_ff = max(HEAD, HEAD * round(ratio * d_model / HEAD))
    return {
        "n_layers": n_layers, "d_model": d_model, "d_ff": d_ff, "n_heads": d_model // HEAD,
    }  # fmt: skip
