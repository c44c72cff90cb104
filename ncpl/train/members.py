"""The members of a fit: initial weights, the loop that trains all of them side by side.

Legend: M members, B runs, F fields.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ncpl.model.arrays import Array
from ncpl.model.config import FitConfig
from ncpl.model.encoder import Encoder
from ncpl.model.inputs import Inputs
from ncpl.model.network import Network
from ncpl.model.response_surface import Surface
from ncpl.model.weight_shapes import check_backbone, shapes_of
from ncpl.train.checkpoint import State
from ncpl.train.response_surface import pseudo_huber

log = logging.getLogger(__name__)
CHECKPOINT_SECONDS = 20.0
MAX_NORM = 1.0
"""Norm at which a member's gradient is cut."""
WORDS = "backbone.embed_tokens.weight"
INITIAL_SPREAD = 0.02
"""Standard deviation of the decoder's initial weights, that of transformers' configurations."""


def fresh_network(
    config: FitConfig, encoder: Encoder, surface: Surface, seeds: Sequence[int]
) -> Network:
    """Return members whose initial weights depend on their seeds only.

    Raises ConfigError for an unknown backbone.
    """
    check_backbone(config)
    states = [initial_weights(config, encoder, seed) for seed in seeds]
    weights = {name: np.stack([state[name] for state in states]) for name in states[0]}
    return Network.of(config, encoder, surface, weights)


def initial_weights(config: FitConfig, encoder: Encoder, seed: int) -> dict[str, Array]:
    """Return the initial weights of one member, by name."""
    shapes = shapes_of(config, encoder)
    width = config.width
    matrices = [name for name in shapes if "_proj" in name]
    found: dict[str, Tensor] = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        # Modules draw weights that are thrown away when they are made: as transformers did, so that
        # a seed means what it has always meant.
        nn.Embedding(shapes[WORDS][0], shapes[WORDS][1])
        for name in matrices:
            nn.Linear(shapes[name][1], shapes[name][0], bias=False)
        for name in (WORDS, *matrices):
            found[name] = torch.empty(shapes[name]).normal_(0.0, INITIAL_SPREAD)
        found[WORDS].normal_()
        for name in ("numbers.slope", "numbers.shift", "numbers.out", "names", "readers"):
            found[name] = torch.randn(shapes[name])
        found["numbers.out"] *= width**-0.5
    for name, shape in shapes.items():
        if name not in found:
            found[name] = torch.ones(shape) if "norm" in name else torch.zeros(shape)
    return {name: tensor.numpy() for name, tensor in found.items()}


def train_members(
    network: Network,
    inputs: Inputs,
    target_B: Array,
    config: FitConfig,
    *,
    seeds: Sequence[int],
    deadline: float | None = None,
    checkpoint: Path | None = None,
    on_step: Callable[[int, list[float]], None] | None = None,
) -> Network:
    """Return the network with the moving average of its members' weights after training.

    Each member is trained as if it were alone: its batches, hidden fields and gradient norm are its
    own. `on_step(step, errors)` is told the mean absolute error of each member's batch, nats.
    """
    fixed = network.map(torch.from_numpy)
    weights = {name: nn.Parameter(tensor.clone()) for name, tensor in fixed.weights.items()}
    trained = replace(fixed, weights=weights)
    decayed = [p for p in weights.values() if p.ndim > 2]  # the member axis is one of them
    plain = [p for p in weights.values() if p.ndim <= 2]
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": plain},
    ]
    optimizer = torch.optim.AdamW(
        groups, lr=config.learning_rate, betas=(0.9, 0.98), weight_decay=0.0
    )
    average = {name: p.detach().clone() for name, p in weights.items()}
    state = State(weights, average, optimizer)
    first = state.restore(checkpoint) if checkpoint is not None and checkpoint.is_file() else 0
    whole, target = inputs.map(torch.from_numpy), torch.from_numpy(target_B)
    saved = time.monotonic()
    for step in range(first, config.steps):
        rows_MB, hidden_MBF = batches(seeds, step, len(target), whole.codes.shape[1], config)
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * schedule(step, config.steps)
        batch = whole.take(rows_MB)
        out = trained(batch._replace(codes=batch.codes.masked_fill(hidden_MBF, 0)))
        error_MB = out.loss - target[rows_MB]
        # The scale learns from the error, the error learns nothing from the scale.
        surprise_MB = error_MB.detach().abs() * (-out.log_scale).exp() + out.log_scale
        loss_M = (
            pseudo_huber(error_MB, config.huber_delta).mean(1)
            + config.coefficient_penalty * out.correction.square().mean((1, 2))
            + config.residual_penalty * out.residual.square().mean(1)
            + 1e-3 * surprise_MB.mean(1)
        )
        optimizer.zero_grad()
        loss_M.sum().backward()
        cut_gradients(weights)
        optimizer.step()
        decay = min(config.ema_decay, (1 + step) / (10 + step))
        with torch.no_grad():
            for name, p in weights.items():
                average[name].lerp_(p, 1 - decay)
        if on_step is not None:
            on_step(step, error_MB.detach().abs().mean(1).tolist())
        now = time.monotonic()
        late = deadline is not None and now > deadline
        if checkpoint is not None and (
            now - saved > CHECKPOINT_SECONDS or late or step + 1 == config.steps
        ):
            state.store(checkpoint, step + 1)
            saved = now
        if late:
            log.warning("time is up: training stopped at step %d of %d", step + 1, config.steps)
            break
    return replace(network, weights={name: t.numpy() for name, t in average.items()})


def batches(
    seeds: Sequence[int], step: int, n_runs: int, n_fields: int, config: FitConfig
) -> tuple[Tensor, Tensor]:
    """Return each member's runs (M, B) of a step, and which of their fields are hidden (M, B, F).

    Everything random in a step comes from (seed, step): a resumed run repeats it exactly.
    """
    rows, hidden = [], []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        rows.append(torch.randperm(n_runs, generator=generator)[: config.batch_size])
        shape = (len(rows[-1]), n_fields)
        hidden.append(torch.rand(shape, generator=generator) < config.field_dropout)
    return torch.stack(rows), torch.stack(hidden)


@torch.no_grad()
def cut_gradients(weights: dict[str, nn.Parameter]) -> None:
    """Scale each member's gradient down to MAX_NORM, in place."""
    given = [p.grad for p in weights.values() if p.grad is not None]
    norm_M = torch.stack([grad.flatten(1).square().sum(1) for grad in given]).sum(0).sqrt()
    share_M = (MAX_NORM / (norm_M + 1e-6)).clamp(max=1.0)
    for grad in given:
        grad.mul_(share_M.view(-1, *[1] * (grad.ndim - 1)))


def schedule(step: int, steps: int) -> float:
    """Return the learning rate as a share of its peak: 5% warm-up, then a cosine to zero."""
    warmup = max(1, steps // 20)
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
