"""The plan of training: which runs a step reads, and how ranks and passes share them.

Everything follows from (seed, step), never from what happened before: a resumed run repeats it,
and any number of processes reads the same runs in the same step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ncpl.language.settings import LanguageConfig


@dataclass(frozen=True)
class Stage:
    """One of the two stages of training."""

    name: str
    is_base_frozen: bool
    n_steps: int
    learning_rate: float
    warmup_steps: int
    begins_at: int
    """Steps of the stages before."""

    def rate(self, step: int) -> float:
        """Return the learning rate of a step: warm-up times a straight line to zero.

        As the reference's, src/train.py, whose first step has rate zero where there is a warm-up.
        """
        own = step - self.begins_at
        warm = min(1.0, own / self.warmup_steps) if self.warmup_steps else 1.0
        return self.learning_rate * warm * (1 - own / self.n_steps)


def stages_of(config: LanguageConfig, n_runs: int) -> list[Stage]:
    """Return the stages that have steps; an epoch reads every run once."""
    steps_per_epoch = math.ceil(n_runs / config.batch_size_runs)
    first, second = (steps_per_epoch * n for n in (config.stage1_epochs, config.stage2_epochs))
    share = config.stage1_warmup_frac
    warmup = max(1, int(first * share)) if share > 0 else 0
    stages = [
        Stage("stage1", True, first, config.stage1_learning_rate, min(warmup, first), 0),
        Stage(
            "stage2", False, second, config.stage2_learning_rate,
            min(config.stage2_warmup_steps, second), first,
        ),
    ]  # fmt: skip
    return [stage for stage in stages if stage.n_steps]


def seeded(*numbers: int) -> torch.Generator:
    """Return a generator that depends on these numbers only."""
    mixed = 0
    for number in numbers:
        mixed = (mixed * 1_000_003 + number + 1) % (1 << 62)
    return torch.Generator().manual_seed(mixed)


def rows_of(step: int, n_runs: int, batch_size: int, seed: int) -> list[int]:
    """Return the runs of a step: each epoch is a permutation, its last batch may be smaller."""
    per_epoch = math.ceil(n_runs / batch_size)
    epoch, at = divmod(step, per_epoch)
    order = torch.randperm(n_runs, generator=seeded(seed, 1, epoch)).tolist()
    return order[at * batch_size : (at + 1) * batch_size]


def hidden_fields(
    step: int, n_rows: int, fields: Sequence[str], share: float, seed: int
) -> list[frozenset[str]]:
    """Return the fields left out of each row of a step."""
    if not share:
        return [frozenset()] * n_rows
    drawn = torch.rand(n_rows, len(fields), generator=seeded(seed, 2, step)) < share
    return [frozenset(f for f, is_hidden in zip(fields, row, strict=True) if is_hidden)
            for row in drawn.tolist()]  # fmt: skip


def passes_of(
    lengths: Sequence[int], max_tokens: int, world: int = 1, rank: int = 0
) -> list[list[int]]:
    """Return the forward passes of one rank, as places in `lengths`, of like length each.

    Every rank has the same number of passes (a sharded model needs that); those too many are
    empty, and the caller fills them with something of no weight.
    """
    order = sorted(range(len(lengths)), key=lambda i: (lengths[i], i))
    ranks = [_cut(order[r::world], lengths, max_tokens) for r in range(world)]
    most = max(map(len, ranks))
    own = ranks[rank]
    return own + [[] for _ in range(most - len(own))]


def _cut(order: Sequence[int], lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
    passes: list[list[int]] = []
    for i in order:  # shortest first: the newest is the longest, so it gives the padded width
        if passes and (len(passes[-1]) + 1) * lengths[i] <= max_tokens:
            passes[-1].append(i)
        else:
            passes.append([i])
    return passes
