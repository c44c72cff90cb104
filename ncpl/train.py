"""Training: baseline, surface, then the network on top, one member at a time.

Legend: B runs, F fields.
"""

from __future__ import annotations

import hashlib
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ncpl.config import FitConfig
from ncpl.data import Family, Runs
from ncpl.encoder import Encoded, Encoder
from ncpl.features import derive
from ncpl.laws import chinchilla
from ncpl.laws.chinchilla import Chinchilla
from ncpl.model import NCPL
from ncpl.stacked import Stacked
from ncpl.surface import Surface, fit_surface, pseudo_huber

log = logging.getLogger(__name__)
CHECKPOINT_SECONDS = 20.0


@dataclass
class Fit:
    """What training gives for one family of comparable losses."""

    family: Family
    encoder: Encoder
    baseline: Chinchilla
    members: list[NCPL]
    seeds: list[int]
    calibration: dict[str, float] = field(default_factory=dict)

    @cached_property
    def stacked(self) -> Stacked:
        """Return the members side by side; made once, from the weights as they then are."""
        return Stacked(self.members)

    @torch.inference_mode()
    def predict(self, encoded: Encoded, batch_size: int = 192) -> tuple[Tensor, Tensor]:
        """Return losses and expected absolute errors of every member, each (members, B), nats."""
        tensors = tensors_of(encoded)
        parts = [
            self.stacked(*(t[i : i + batch_size] for t in tensors))
            for i in range(0, max(len(encoded), 1), batch_size)
        ]
        losses_MB, log_scales_MB = (torch.cat(p, dim=1) for p in zip(*parts, strict=True))
        return losses_MB.double(), log_scales_MB.exp().double()


def tensors_of(encoded: Encoded) -> tuple[Tensor, Tensor, Tensor]:
    """Return the network's three inputs."""
    return (
        torch.from_numpy(encoded.numbers),
        torch.from_numpy(encoded.codes),
        torch.from_numpy(encoded.law).float(),
    )


def sizes(runs: Runs) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return non-embedding parameters and tokens of every run; NaN where unknown."""
    rows = [derive(config) for config in runs.configs]
    columns = [
        np.array([row.get(name) or np.nan for row in rows], dtype=np.float64)
        for name in ("params_non_embedding", "data_tokens")
    ]
    return columns[0], columns[1]


def fit_family(
    train: Runs,
    config: FitConfig,
    *,
    seed: int,
    deadline: float | None = None,
    checkpoints: Path | None = None,
    on_step: Callable[[int, int, float], None] | None = None,
) -> Fit:
    """Return the ensemble fitted to the training runs of one family.

    `deadline` is a time.monotonic() value after which training stops where it is, once the first
    member has begun; with `checkpoints`, members continue from what an earlier call left there;
    `on_step(member, step, loss)` is told each step.
    """
    family = train.family[0]
    params, tokens = sizes(train)
    baseline = chinchilla.fit(params, tokens, train.loss, seed=0)
    encoder = Encoder.fit(train.configs, config.context_fields, config.recipe_fields)
    tensors = tensors_of(encoder.encode(train.configs))
    target_B = torch.from_numpy(train.loss).float()
    surface = fit_surface(
        tensors[2],
        target_B,
        delta=config.huber_delta,
        penalty=config.surface_penalty,
        margin=config.hull_margin,
    )
    members, seeds = [], []
    for i in range(config.members):
        if i and deadline is not None and time.monotonic() > deadline:
            log.warning("time is up: %d of %d members trained", i, config.members)
            break
        member_seed = seed * 1000 + i
        member = new_member(config, encoder, surface, member_seed)
        member.set_hull(*tensors)
        key = hashlib.sha256(repr((config.sha256(), family, target_B.tolist())).encode())
        path = checkpoints and checkpoints / f"{key.hexdigest()[:12]}-{member_seed}.safetensors"
        report = (lambda step, loss, i=i: on_step(i, step, loss)) if on_step else None
        train_member(
            member,
            tensors,
            target_B,
            config,
            seed=member_seed,
            deadline=deadline,
            checkpoint=path,
            on_step=report,
        )
        members.append(member.eval())
        seeds.append(member_seed)
    return Fit(family, encoder, baseline, members, seeds)


def new_member(config: FitConfig, encoder: Encoder, surface: Surface, seed: int) -> NCPL:
    """Return a fresh network whose initial weights depend on `seed` only."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        own = Surface()
        own.load_state_dict(surface.state_dict())
        return NCPL(config, encoder, own)


def train_member(
    member: NCPL,
    inputs: tuple[Tensor, Tensor, Tensor],
    target_B: Tensor,
    config: FitConfig,
    *,
    seed: int,
    deadline: float | None = None,
    checkpoint: Path | None = None,
    on_step: Callable[[int, float], None] | None = None,
) -> None:
    """Train one member in place and leave it with the moving average of its weights."""
    weights = {name: p for name, p in member.named_parameters() if p.requires_grad}
    decayed = [p for p in weights.values() if p.ndim > 1]
    plain = [p for p in weights.values() if p.ndim <= 1]
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": plain},
    ]
    optimizer = torch.optim.AdamW(
        groups,
        lr=config.learning_rate,
        betas=(0.9, 0.98),
        weight_decay=0.0,
    )
    average = {name: p.detach().clone() for name, p in weights.items()}
    state = State(weights, average, optimizer)
    first = state.restore(checkpoint) if checkpoint is not None and checkpoint.is_file() else 0
    numbers_BF, codes_BF, law_B5 = inputs
    saved = time.monotonic()
    member.train()
    for step in range(first, config.steps):
        # Everything random in a step comes from (seed, step): a resumed run repeats it exactly.
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        rows = torch.randperm(len(target_B), generator=generator)[: config.batch_size]
        hidden = torch.rand(codes_BF[rows].shape, generator=generator) < config.field_dropout
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * schedule(step, config.steps)
        codes = codes_BF[rows].masked_fill(hidden, 0)
        out = member(numbers_BF[rows], codes, law_B5[rows])
        error_B = out.loss - target_B[rows]
        # The scale learns from the error, the error learns nothing from the scale.
        surprise_B = error_B.detach().abs() * (-out.log_scale).exp() + out.log_scale
        loss = (
            pseudo_huber(error_B, config.huber_delta).mean()
            + config.coefficient_penalty * out.correction.square().mean()
            + config.residual_penalty * out.residual.square().mean()
            + 1e-3 * surprise_B.mean()
        )
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(weights.values()), 1.0)
        optimizer.step()
        decay = min(config.ema_decay, (1 + step) / (10 + step))
        with torch.no_grad():
            for name, p in weights.items():
                average[name].lerp_(p, 1 - decay)
        if on_step is not None:
            on_step(step, float(error_B.detach().abs().mean()))
        now = time.monotonic()
        late = deadline is not None and now > deadline
        if checkpoint is not None and (
            now - saved > CHECKPOINT_SECONDS or late or step + 1 == config.steps
        ):
            state.store(checkpoint, step + 1)
            saved = now
        if late:
            log.warning("time is up: this member stopped at step %d of %d", step + 1, config.steps)
            break
    with torch.no_grad():
        for name, p in weights.items():
            p.copy_(average[name])


def schedule(step: int, steps: int) -> float:
    """Return the learning rate as a share of its peak: 5% warm-up, then a cosine to zero."""
    warmup = max(1, steps // 20)
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


@dataclass(frozen=True)
class State:
    """Weights, their moving average and the optimizer's moments, as one file."""

    weights: dict[str, torch.nn.Parameter]
    average: dict[str, Tensor]
    optimizer: torch.optim.Optimizer

    def store(self, path: Path, step: int) -> None:
        """Write the state after `step` steps; a reader sees the old file or the new one."""
        tensors = {"step": torch.tensor(step)}
        for name, weight in self.weights.items():
            tensors |= {f"weight/{name}": weight.detach(), f"average/{name}": self.average[name]}
            moments = self.optimizer.state[weight]
            tensors |= {f"{key}/{name}": value for key, value in moments.items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(".part")
        save_file({name: t.contiguous().clone() for name, t in tensors.items()}, fresh)
        fresh.replace(path)

    @torch.no_grad()
    def restore(self, path: Path) -> int:
        """Read a state back in place and return its number of steps."""
        tensors = load_file(path)
        for name, weight in self.weights.items():
            weight.copy_(tensors[f"weight/{name}"])
            self.average[name].copy_(tensors[f"average/{name}"])
            self.optimizer.state[weight] = {
                key: tensors[f"{key}/{name}"] for key in ("step", "exp_avg", "exp_avg_sq")
            }
        return int(tensors["step"])
