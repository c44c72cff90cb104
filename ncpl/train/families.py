"""Which families of a snapshot can be trained on, and why others can not."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ncpl.data.sizes import is_mixture
from ncpl.data.snapshot import Family, Runs

UNITS = ("nats_per_token", "")
"""Units of a loss that the law's scales are made for; empty where the source does not say."""


@dataclass(frozen=True)
class FamilyOutcome:
    """What became of one family of comparable losses."""

    source: str
    metric: str
    dataset: str | None
    train_runs: int
    """Runs of the train split that a model can read, whole ones only."""
    is_trained: bool
    reason: str | None = None
    """Why it was not trained on."""
    left_out: str | None = None
    """Which runs of the train split could not be read."""

    @classmethod
    def of(
        cls, family: Family, train_runs: int, *, reason: str | None, left_out: str | None
    ) -> FamilyOutcome:
        """Return the outcome of a family; trained where there is no reason against it."""
        source, metric, dataset, *_ = family
        return cls(source, metric, dataset or None, train_runs, reason is None, reason, left_out)

    def to_json(self) -> dict[str, Any]:
        """Return the outcome as plain values."""
        return asdict(self)


def line(outcome: dict[str, Any]) -> str:
    """Return an outcome, as plain values, in one line of text."""
    name = f"{outcome['source']} ({outcome['metric']}"
    name += f", {outcome['dataset']})" if outcome["dataset"] else ")"
    runs = f"{outcome['train_runs']:,} runs"
    text = f"{name}: trained on {runs}" if outcome["is_trained"] else f"{name}: not trained"
    said = [outcome["reason"], outcome["left_out"] and f"left out: {outcome['left_out']}"]
    return "; ".join([text, *(part for part in said if part)])


def trainable(runs: Runs, family: Family, min_runs: int) -> tuple[Runs, str | None, str | None]:
    """Return a family's training runs, why no model can be trained on them, and what was left out.

    The reason is None where there are enough; so is what was left out where nothing was.
    """
    every = runs.where(family=family, split="train")
    readable = every.readable()
    train = readable.finished()
    odd = []
    experts = sum(is_mixture(config) for config in every.configs)
    for count, what in (
        (experts, "of mixtures of experts"),
        (len(every) - len(readable) - experts, "that do not state size and tokens"),
        (len(readable) - len(train), "whose last loss is not that of the whole run"),
    ):
        if count:
            odd.append(f"{count:,} {what}")
    left_out = ", ".join(odd) or None
    unit = family[-1]
    if unit not in UNITS:
        return train, f"its losses are in {unit}, not in nats per token", left_out
    if not len(every):
        n_runs = sum(own == family for own in runs.family)
        return train, f"none of its {n_runs:,} runs is in the training part of the split", None
    if len(train) < min_runs:
        return train, f"{len(train)} training runs, expected {min_runs} at least", left_out
    return train, None, left_out
