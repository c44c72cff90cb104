"""What was measured near a recommendation: the best run of the nearest group, and shapes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ncpl.data.fields import Config, derive
from ncpl.data.snapshot import Runs
from ncpl.plan.own_family import PlanFit

SHAPE = ("n_layers", "d_model", "d_ff", "n_heads")
SAME_SIZE = math.log(1.05)
"""Logs of size within which a model has the shape of training runs."""
SAME_GROUP = 1.05
"""Ratio of sizes, or of tokens, up to which runs are of one group."""
SHOWN = ("learning_rate", "batch_size_sequences", "weight_decay", "warmup_steps", "schedule")


@dataclass(frozen=True)
class Measured:
    """The best measured run of the group of size and tokens nearest to a configuration."""

    run_id: str
    loss: float
    """Nats per token."""
    n: int
    """Runs of the group."""
    params_non_embedding: float
    data_tokens: float
    is_same: bool
    """The group has the size and tokens asked for."""
    config: dict[str, Any]
    """What it was run at, of the fields a plan chooses."""


@dataclass(frozen=True)
class MeasuredRuns:
    """Runs that were measured, as derived configurations."""

    run_ids: Sequence[str]
    rows: Sequence[Config]
    loss: Sequence[float]

    @classmethod
    def of(cls, fit: PlanFit, runs: Runs | None) -> MeasuredRuns:
        """Return a snapshot's runs of the family, held-out ones too, else those the bundle kept."""
        if runs is not None:
            part = runs.where(family=fit.family).readable()
            return cls(part.run_ids, [derive(c) for c in part.configs], part.loss.tolist())
        known = getattr(fit, "known", None)
        if known is None:
            return cls([], [], [])
        return cls(known.run_ids, [derive(c) for c in known.configs], known.losses)

    def nearest(self, config: Mapping[str, Any]) -> Measured | None:
        """Return the best run of the nearest group of the same optimizer; None if it has no run."""
        asked = derive(config)
        size, tokens = asked["params_non_embedding"], asked["data_tokens"]
        own: dict[tuple[float, float], list[int]] = {}
        for i, row in enumerate(self.rows):
            if asked.get("optimizer") in (None, row.get("optimizer")):
                key = (float(row["params_non_embedding"]), float(row["data_tokens"]))
                own.setdefault(key, []).append(i)

        def far(key: tuple[float, float]) -> float:
            return abs(math.log(key[0] / size)) + abs(math.log(key[1] / tokens))

        if not own:
            return None
        key = min(own, key=far)
        best = min(own[key], key=self.loss.__getitem__)
        row = self.rows[best]
        same = all(
            1 / SAME_GROUP <= a / b <= SAME_GROUP for a, b in zip(key, (size, tokens), strict=True)
        )
        shown = {name: row[name] for name in SHOWN if row.get(name) is not None}
        return Measured(
            self.run_ids[best], self.loss[best], len(own[key]), key[0], key[1], same, shown
        )


def shape_like(train: Sequence[Config], params: float) -> dict[str, Any]:
    """Return the commonest shape of training runs of a size; empty where none has or states one."""
    found: dict[tuple[Any, ...], int] = {}
    for config in train:
        size = derive(config).get("params_non_embedding")
        if (
            size
            and all(config.get(name) for name in SHAPE[:3])
            and abs(math.log(size / params)) <= SAME_SIZE
        ):
            key = tuple(config.get(name) for name in SHAPE)
            found[key] = found.get(key, 0) + 1
    if not found:
        return {}
    best = max(found, key=lambda key: found[key])
    return {name: value for name, value in zip(SHAPE, best, strict=True) if value is not None}
