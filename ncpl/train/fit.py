"""Training: baseline, surface, then the network on top, one member at a time.

Legend: B runs, F fields.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ncpl.data.snapshot import Points, Runs, sizes
from ncpl.laws import chinchilla
from ncpl.model.config import FitConfig
from ncpl.model.divergence import Risk, fit_risk
from ncpl.model.encoder import Encoder
from ncpl.model.ensemble import Fit, tensors_of
from ncpl.model.gaussian_process import fit_process
from ncpl.model.neighbours import KnownRuns
from ncpl.model.network import NCPL, new_member, sized
from ncpl.model.process_mean import ProcessMean
from ncpl.model.response_surface import MIN_KEPT, Surface, choose_floor, fit_surface, pseudo_huber
from ncpl.train.curves import fit_curves
from ncpl.train.warm_start import warm_start

log = logging.getLogger(__name__)
CHECKPOINT_SECONDS = 20.0


def fit_family(
    train: Runs,
    config: FitConfig,
    *,
    seed: int,
    start: Fit | None = None,
    kernel: Tensor | None = None,
    points: Points | None = None,
    diverged: Runs | None = None,
    deadline: float | None = None,
    checkpoints: Path | None = None,
    on_step: Callable[[int, int, float], None] | None = None,
) -> Fit:
    """Return the ensemble fitted to the training runs of one family.

    With `points`, the measured curves of the runs, it learns curves too; with `diverged`, runs that
    diverged where training runs did not, their risk. `start` is an older fit whose networks the
    members begin with; `kernel` holds numbers of a process's kernel that are taken, not fitted.
    `deadline` is a time.monotonic() value after which training stops where it is, once the first
    member has begun; with `checkpoints`, members continue from what an earlier call left there;
    `on_step(member, step, loss)` is told each step.
    """
    family = train.family[0]
    params, tokens = sizes(train)
    baseline = chinchilla.fit(params, tokens, train.loss, seed=0)
    encoder = Encoder.fit(
        train.configs, config.context_fields, config.recipe_fields, config.process_fields
    )
    tensors = tensors_of(encoder.encode(train.configs))
    target_B = torch.from_numpy(train.loss).float()
    settings: dict[str, Any] = {
        "delta": config.huber_delta,
        "penalty": config.surface_penalty,
        "margin": config.hull_margin,
        "n_optimizers": len(encoder.optimizers),
    }
    floor = config.floor or choose_floor(tensors[2], target_B, **settings)
    surface = fit_surface(tensors[2], target_B, floor=floor, **settings)
    if not config.is_structured:
        surface.flatten_to(baseline)
    fit = Fit(family, encoder, baseline, [], [], process_share=config.process_share)
    if config.process_share:
        with torch.no_grad():
            law_B = surface.value(surface.coefficients(tensors[2]), tensors[2])
        fit.process = fit_process(
            tensors, target_B - law_B, surface, encoder, seed=seed, logs=kernel
        )
        carries = config.carry == "yes" or (
            config.carry == "chosen"
            and level_carries(tensors, target_B, encoder, floor=floor, seed=seed, **settings)
        )
        fit.process.carries_level.fill_(carries)
        fit.known = KnownRuns.of(train)
        if diverged is not None and len(diverged):
            fit.risk = risk_of(fit, surface, tensors, diverged)
    for i in range(config.members):
        if i and deadline is not None and time.monotonic() > deadline:
            log.warning("time is up: %d of %d members trained", i, config.members)
            break
        member_seed = seed * 1000 + i
        member = new_member(config, encoder, surface, member_seed)
        member.set_hull(*tensors)
        begun = ""
        if start is not None:
            older = start.members[i % len(start.members)]
            warm_start(member, encoder, older, start.encoder)
            begun = hashlib.sha256(older.names.detach().numpy().tobytes()).hexdigest()
        key = hashlib.sha256(repr((config.sha256(), family, target_B.tolist(), begun)).encode())
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
        fit.members.append(member.eval())
        fit.seeds.append(member_seed)
    if points is not None and config.curve_steps:
        fit.heads = fit_curves(fit, train, points, config)
    return fit


def settled(config: FitConfig, fit: Fit) -> FitConfig:
    """Return a configuration in which what training chose for a fit is given."""
    carries = fit.process is None or bool(fit.process.carries_level)
    floor = float(fit.surface.start[4])
    return dataclasses.replace(config, floor=floor, carry="yes" if carries else "no")


def level_carries(
    inputs: tuple[Tensor, Tensor, Tensor],
    target_B: Tensor,
    encoder: Encoder,
    *,
    floor: float,
    seed: int,
    **settings: Any,
) -> bool:
    """Return whether what the process says of the largest size helps beyond it.

    The largest size, then the two largest, are left out and predicted with and without. Where
    fewer than two sizes would be left, which say nothing of how loss goes with size, it is carried.
    """
    size_B = inputs[2][:, 0]
    errors = {True: 0.0, False: 0.0}
    for first_out in torch.unique(size_B)[2:][-2:]:
        out = size_B >= first_out
        if (~out).sum() < MIN_KEPT:
            continue
        numbers, codes, law = (t[~out] for t in inputs)
        surface = fit_surface(law, target_B[~out], floor=floor, **settings)
        with torch.no_grad():
            law_B = surface.value(surface.coefficients(inputs[2]), inputs[2])
        residual_B = target_B - law_B
        process = fit_process((numbers, codes, law), residual_B[~out], surface, encoder, seed=seed)
        for carries in errors:
            process.carries_level.fill_(carries)
            missed = ProcessMean(process)(inputs, surface) - residual_B
            errors[carries] += float(missed[out].abs().mean())
    return errors[True] <= errors[False]


def risk_of(
    fit: Fit, surface: Surface, tensors: tuple[Tensor, Tensor, Tensor], diverged: Runs
) -> Risk | None:
    """Return the risk law of training runs beside runs that diverged."""
    assert fit.process is not None
    more = tensors_of(fit.encoder.encode(diverged.configs))
    numbers, codes, law = (torch.cat(pair) for pair in zip(tensors, more, strict=True))
    label = torch.cat([torch.zeros(len(tensors[0])), torch.ones(len(diverged))])
    return fit_risk((numbers, codes, sized(law)), label, fit.process, surface)


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
