"""The batch of a run: the best one, the critical one, and what another one costs.

Legend: M members, B batches, R learning rates.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ncpl.data.fields import derive
from ncpl.data.snapshot import Runs
from ncpl.errors import ConfigError
from ncpl.laws.kaplan_nsb import PUBLISHED as KAPLAN
from ncpl.model.bundle import Bundle
from ncpl.plan.cost import half_width
from ncpl.plan.measured import SAME_GROUP, MeasuredRuns
from ncpl.plan.optima import LEVEL, Optimum, batch_cells, carried, envelope
from ncpl.plan.own_family import OwnPlans
from ncpl.plan.recommend import Recommendation, recommend
from ncpl.plan.search import TIE_FRAC, Z, intervals_of, member_losses

Array = npt.NDArray[np.float64]
BATCHES, RATES = 15, 61
SAME_BATCH = 1.03
GRID = np.geomspace(1e3, 1e10, 400)
"""Critical batches tried, tokens."""


@dataclass(frozen=True)
class Row:
    """One batch at its best learning rate."""

    batch_size_sequences: int
    batch_tokens: float
    learning_rate: float
    loss: float
    cost: float
    """Nats above the best batch."""
    cost_low: float
    cost_high: float
    is_tied: bool
    measured: float | None
    """Best measured run of this size, tokens and batch, nats per token."""
    measured_learning_rate: float | None


@dataclass(frozen=True)
class BatchPlan:
    """Batches of one size and number of tokens, and the rules beside."""

    recommendation: Recommendation
    rows: list[Row]
    critical_tokens: float | None
    """McCandlish et al. 2018: at this batch a run needs twice the tokens; fitted to the predicted
    losses of batches above the best one. None where they do not rise."""
    critical_low: float | None
    critical_high: float | None
    kaplan_critical_tokens: float
    """Kaplan et al. 2020, equation 5.3, at the predicted loss."""
    catalog: Optimum | None
    """The best batch by the optima of measured sweeps, carried to this size and tokens."""
    step_law_tokens: float
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return the plan as plain values."""
        found = asdict(self)
        found["recommendation"] = {"config": self.recommendation.config}
        return found


def plan_batch(
    bundle: Bundle | OwnPlans, *, params_non_embedding: float, train_tokens: float,
    fixed: dict[str, Any] | None = None, optimizers: tuple[str, ...] = (),
    runs: Runs | None = None,
) -> BatchPlan:  # fmt: skip
    """Return the best and critical batch of a run, and what others cost at their best rate.

    Raises ConfigError as `recommend` does.
    """
    found = recommend(
        bundle, params_non_embedding=params_non_embedding, train_tokens=train_tokens, fixed=fixed,
        optimizers=optimizers, runs=runs, cautious=False, with_cost=False,
    )  # fmt: skip
    config = found.config
    fit = bundle.fit_for(derive({**config, "source": found.source}))
    length = float(config["sequence_length"])
    if "batch_tokens" not in fit.encoder.ranges:
        raise ConfigError(
            "no own run states its batch: give batch_size_sequences and sequence_length of each"
        )
    low, high = fit.encoder.ranges["batch_tokens"]
    sizes = np.geomspace(low, min(high, train_tokens), BATCHES) / length
    batches = sorted({*(max(1, round(b)) for b in sizes), int(config["batch_size_sequences"])})
    rates = np.geomspace(*fit.encoder.ranges["learning_rate"], RATES)
    configs = [
        config | {"batch_size_sequences": batch, "learning_rate": float(rate)}
        for batch in batches
        for rate in rates
        if rate >= (config.get("min_learning_rate") or 0.0)
    ]
    n_rates = len(configs) // len(batches)
    loss_BR = intervals_of(bundle, fit, configs).loss.reshape(len(batches), n_rates)
    at_B = loss_BR.argmin(1)
    chosen = [configs[i * n_rates + at] for i, at in enumerate(at_B.tolist())]
    losses_MB = member_losses(fit, chosen)
    best = int(losses_MB.mean(0).argmin())
    known = MeasuredRuns.of(fit, runs)
    rows = _rows(known, chosen, losses_MB, best, length)
    law = fit.baseline
    data_term = law.b * (train_tokens / 1e9) ** -law.beta
    tokens_B = np.array([row.batch_tokens for row in rows])
    critical_M = [
        _critical(tokens_B[best:], loss_B[best:], data_term, law.beta) for loss_B in losses_MB
    ]
    told = [c for c in critical_M if c is not None]
    enough = len(told) == len(critical_M)
    ends = np.quantile(told, LEVEL) if enough else (None, None)
    optimizer = config.get("optimizer")
    loss = float(losses_MB.mean(0)[best])
    notes = [] if enough else ["losses do not rise with the batch: no critical batch to tell"]
    if any(math.isclose(r.learning_rate, e, rel_tol=1e-6) for r in rows for e in rates[[0, -1]]):
        notes.append(
            "some rates are at the end of what training has seen; better ones may lie beyond"
        )
    notes.append("ramps of the batch: no run of these sources has one, so nothing is told of them")
    return BatchPlan(
        found, rows,
        float(np.median(told)) if enough else None,
        None if ends[0] is None else float(ends[0]), None if ends[1] is None else float(ends[1]),
        math.exp(KAPLAN["log_B_star"]) / loss ** (1 / KAPLAN["alpha_B"]),
        carried(batch_cells(known, optimizer), params_non_embedding, train_tokens),
        found.step_law["batch_size_sequences"] * length,
        notes,
    )  # fmt: skip


def _rows(
    known: MeasuredRuns, chosen: list[dict[str, Any]], losses_MB: Array, best: int, length: float
) -> list[Row]:
    config = chosen[best]
    params = derive(config)["params_non_embedding"]
    tokens = derive(config)["data_tokens"]

    def is_same(n: float, d: float) -> bool:
        return all(1 / SAME_GROUP <= a / b <= SAME_GROUP for a, b in ((n, params), (d, tokens)))

    measured = envelope(known, config.get("optimizer"), is_same)
    rows = []
    for i, own in enumerate(chosen):
        difference_M = losses_MB[:, i] - losses_MB[:, best]
        spread = float(difference_M.std(ddof=1)) if len(difference_M) > 1 else 0.0
        cost = float(difference_M.mean())
        half = half_width(cost, spread) if i != best else 0.0
        least = TIE_FRAC * float(losses_MB[:, best].mean())
        batch = int(own["batch_size_sequences"])
        near = [
            e for b, e in measured.items() if 1 / SAME_BATCH <= b / (batch * length) <= SAME_BATCH
        ]
        seen = min(near, default=None)
        rows.append(
            Row(
                batch, batch * length, float(own["learning_rate"]), float(losses_MB[:, i].mean()),
                cost, cost - half, cost + half, cost <= max(least, Z * spread),
                None if seen is None else seen[0], None if seen is None else seen[1],
            )
        )  # fmt: skip
    return rows


def _critical(tokens_B: Array, loss_B: Array, data_term: float, beta: float) -> float | None:
    """Return the critical batch under which losses rise as fewer effective tokens make them.

    loss = level + data term x ((1 + batch / critical)^beta - 1), the level free.
    """
    if len(tokens_B) < 3 or loss_B[-1] <= loss_B[0]:
        return None
    shape_GB = data_term * ((1 + tokens_B / GRID[:, None]) ** beta - 1)
    off_GB = loss_B - shape_GB
    missed_G = ((off_GB - off_GB.mean(1, keepdims=True)) ** 2).sum(1)
    return float(GRID[missed_G.argmin()])
