"""Training: baseline, surface, then the network on top, one member at a time.

Legend: B runs, F fields.
"""

from __future__ import annotations

import hashlib
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ncpl.config import FitConfig
from ncpl.curve import EARLY_WEIGHT, LATE, N_SCHEDULE_INPUTS, Array, CurveHead, Schedules, fit_head
from ncpl.data import Family, Points, Runs
from ncpl.encoder import Encoded, Encoder, column
from ncpl.errors import ConfigError
from ncpl.features import Config, derive
from ncpl.known import Known, KnownRuns
from ncpl.laws import chinchilla
from ncpl.laws.chinchilla import Chinchilla
from ncpl.model import NCPL, sized
from ncpl.process import Process, fit_process
from ncpl.risk import Risk, fit_risk
from ncpl.stacked import Stacked
from ncpl.surface import Surface, choose_floor, fit_surface, pseudo_huber
from ncpl.warm import warm_start

log = logging.getLogger(__name__)
CHECKPOINT_SECONDS = 20.0
MIN_POINTS, MIN_CURVES = 4, 60
"""Points a curve needs, and curves a family needs, to be learned from."""
N_READINGS = 5
"""Readings of each run a curve head trains on: one with all fields, the others with some hidden."""


@dataclass
class Fit:
    """What training gives for one family of comparable losses."""

    family: Family
    encoder: Encoder
    baseline: Chinchilla
    members: list[NCPL]
    seeds: list[int]
    process: Process | None = None
    process_share: float = 0.0
    """Weight of the process beside each member."""
    heads: list[CurveHead] = field(default_factory=list)
    """One a member, or none: then the fit knows no curves."""
    risk: Risk | None = None
    """Risk of divergence; None where too few training runs diverged."""
    known: KnownRuns = field(default_factory=lambda: KnownRuns([], [], []))
    """The training runs, in the order of the process."""
    calibration: dict[str, float] = field(default_factory=dict)

    @property
    def surface(self) -> Surface:
        """Return the law, which all members share."""
        return self.members[0].surface

    @cached_property
    def stacked(self) -> Stacked:
        """Return the members side by side; made once, from the weights as they then are."""
        return Stacked(self.members)

    @torch.inference_mode()
    def read(self, encoded: Encoded, batch_size: int = 192) -> Readings:
        """Return what every member says about the runs."""
        tensors = tensors_of(encoded)
        parts = [
            self._read(*(t[i : i + batch_size] for t in tensors))
            for i in range(0, max(len(encoded), 1), batch_size)
        ]
        loss_MB, log_scale_MB, hidden_MWB = (torch.cat(p, dim=-1) for p in zip(*parts, strict=True))
        return Readings(loss_MB.double(), log_scale_MB.exp().double(), hidden_MWB.mT)

    def _read(
        self, numbers_BF: Tensor, codes_BF: Tensor, law_B6: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        loss_MB, log_scale_MB, hidden_MWB = self.stacked(numbers_BF, codes_BF, law_B6)
        if self.process is not None and self.process_share:
            law_B6 = sized(law_B6)
            law_B = self.surface.value(self.surface.coefficients(law_B6), law_B6)
            left_B = self.process(numbers_BF, codes_BF, law_B6, self.surface)
            loss_MB = loss_MB.lerp((law_B + left_B).expand_as(loss_MB), self.process_share)
        return loss_MB, log_scale_MB, hidden_MWB

    def predict(self, encoded: Encoded, batch_size: int = 192) -> tuple[Tensor, Tensor]:
        """Return losses and expected absolute errors of every member, each (members, B), nats."""
        return self.read(encoded, batch_size)[:2]

    def divergence_risk(self, encoded: Encoded) -> Array | None:
        """Return probabilities of divergence (B,), or None where the fit learned no risk."""
        if self.risk is None or self.process is None:
            return None
        found = self.risk(tensors_of(encoded), self.process, self.surface)
        return np.asarray(found, dtype=np.float64)

    def nearest(self, encoded: Encoded, count: int) -> list[list[Known]]:
        """Return the `count` training runs most like each run; none without a process."""
        if self.process is None:
            return [[] for _ in range(len(encoded))]
        places, far = self.process.nearest(tensors_of(encoded), self.surface, count)
        return [
            self.known.at(place, distance)
            for place, distance in zip(places.tolist(), far.tolist(), strict=True)
        ]

    @torch.inference_mode()
    def shapes(
        self, rows: Sequence[Config], encoded: Encoded, hidden_MBW: Tensor, frac_BP: Array
    ) -> Tensor:
        """Return every member's loss less its final loss, (members, B, P), nats.

        `rows` are derived configurations, `hidden_MBW` what `read` gave for them. Raises
        ConfigError when the fit has no curves.
        """
        if not self.heads:
            raise ConfigError(f"the fit for {self.family[0]} was trained without curves")
        schedules = Schedules.of(rows)
        functions_BPJ = torch.from_numpy(schedules.functions(frac_BP)).float()
        found = []
        for member, head, hidden_BW in zip(self.members, self.heads, hidden_MBW, strict=True):
            inputs_BS = head_inputs(member, rows, tensors_of(encoded), schedules)
            found.append(torch.einsum("bpj,bj->bp", functions_BPJ, head(hidden_BW, inputs_BS)))
        return torch.stack(found).double()


class Readings(NamedTuple):
    """What the members of a fit say about B runs."""

    loss: Tensor
    """(M, B) nats per token."""
    scale: Tensor
    """(M, B) expected absolute error, nats."""
    hidden: Tensor
    """(M, B, W) what each transformer holds at the end; curve heads read it."""


def tensors_of(encoded: Encoded) -> tuple[Tensor, Tensor, Tensor]:
    """Return the network's three inputs."""
    return (
        torch.from_numpy(encoded.numbers),
        torch.from_numpy(encoded.codes),
        torch.from_numpy(encoded.law).float(),
    )


def head_inputs(
    member: NCPL,
    rows: Sequence[Config],
    tensors: tuple[Tensor, Tensor, Tensor],
    schedules: Schedules,
) -> Tensor:
    """Return what a curve head hears beside the transformer (B, S).

    The numbers the transformer reads, the schedule, the log of the number of steps, and the
    optimizer as one of the known ones.
    """
    numbers_BF, codes_BF, law_B6 = tensors
    law_B6 = sized(law_B6)
    numbers = member.network_inputs(numbers_BF, law_B6) * (codes_BF == 1)
    steps = np.nan_to_num(np.log(column(rows, "train_steps") / 1e4))
    place_B = torch.nan_to_num(law_B6[:, 5], nan=member.surface.n_optimizers).long()
    optimizer = nn.functional.one_hot(place_B, member.surface.n_optimizers + 1)
    rest = np.column_stack([schedules.inputs(), steps])
    return torch.cat([numbers, torch.from_numpy(rest), optimizer], dim=1).float()


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
    floor: float | None = None,
    start: Fit | None = None,
    points: Points | None = None,
    diverged: Runs | None = None,
    deadline: float | None = None,
    checkpoints: Path | None = None,
    on_step: Callable[[int, int, float], None] | None = None,
) -> Fit:
    """Return the ensemble fitted to the training runs of one family.

    With `points`, the measured curves of the runs, it learns curves too; with `diverged`, runs that
    diverged where training runs did not, their risk. `floor` is where the law's irreducible loss
    starts, chosen by left-out sizes if not given; `start` an older fit whose networks the members
    begin with. `deadline` is a
    time.monotonic() value after which training stops where it is, once the first member has begun;
    with `checkpoints`, members continue from what an earlier call left there;
    `on_step(member, step, loss)` is told each step.
    """
    family = train.family[0]
    params, tokens = sizes(train)
    baseline = chinchilla.fit(params, tokens, train.loss, seed=0)
    encoder = Encoder.fit(train.configs, config.context_fields, config.recipe_fields)
    tensors = tensors_of(encoder.encode(train.configs))
    target_B = torch.from_numpy(train.loss).float()
    settings: dict[str, Any] = {
        "delta": config.huber_delta,
        "penalty": config.surface_penalty,
        "margin": config.hull_margin,
        "n_optimizers": len(encoder.optimizers),
    }
    floor = floor or config.floor
    if not floor:
        floor = choose_floor(tensors[2], target_B, **settings)
    surface = fit_surface(tensors[2], target_B, floor=floor, **settings)
    if not config.is_structured:
        surface.flatten_to(baseline)
    fit = Fit(family, encoder, baseline, [], [], process_share=config.process_share)
    if config.process_share:
        with torch.no_grad():
            law_B = surface.value(surface.coefficients(tensors[2]), tensors[2])
        fit.process = fit_process(tensors, target_B - law_B, surface, encoder, seed=seed)
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


def risk_of(
    fit: Fit, surface: Surface, tensors: tuple[Tensor, Tensor, Tensor], diverged: Runs
) -> Risk | None:
    """Return the risk law of training runs beside runs that diverged."""
    assert fit.process is not None
    more = tensors_of(fit.encoder.encode(diverged.configs))
    numbers, codes, law = (torch.cat(pair) for pair in zip(tensors, more, strict=True))
    label = torch.cat([torch.zeros(len(tensors[0])), torch.ones(len(diverged))])
    return fit_risk((numbers, codes, sized(law)), label, fit.process, surface)


def fit_curves(fit: Fit, train: Runs, points: Points, config: FitConfig) -> list[CurveHead]:
    """Return a trained curve head for each member; none when too few runs have a curve.

    Members stay as they are. A head learns the loss less the final loss, so only runs with at least
    MIN_POINTS points count.
    """
    keep = np.isfinite(points.frac).sum(1) >= MIN_POINTS
    if keep.sum() < MIN_CURVES:
        log.info("%s: %d curves are too few for a model of curves", fit.family[0], keep.sum())
        return []
    train, points = train.take(keep), points.take(keep)
    rows = [derive(run) for run in train.configs]
    schedules = Schedules.of(rows)
    given = np.isfinite(points.frac)
    frac_BP = np.where(given, points.frac, 1.0)
    functions_BPJ = torch.from_numpy(schedules.functions(frac_BP)).float()
    shape_BP = torch.from_numpy(np.where(given, points.loss - train.loss[:, None], 0.0)).float()
    weight_BP = torch.from_numpy(given * np.where(frac_BP > LATE, 1.0, EARLY_WEIGHT)).float()
    tensors = tensors_of(fit.encoder.encode(train.configs))
    heads = []
    for member, seed in zip(fit.members, fit.seeds, strict=True):
        inputs_BS = head_inputs(member, rows, tensors, schedules)
        hidden_VBW = readings(member, tensors, config.field_dropout, seed)
        head = new_head(member, seed)
        fit_head(
            head,
            hidden_VBW,
            inputs_BS,
            functions_BPJ,
            shape_BP,
            weight_BP,
            steps=config.curve_steps,
            seed=seed,
        )
        heads.append(head.eval())
    return heads


@torch.no_grad()
def readings(
    member: NCPL, tensors: tuple[Tensor, Tensor, Tensor], dropout: float, seed: int
) -> Tensor:
    """Return what a member holds of each run (V, B, W): with all fields, then with some hidden."""
    numbers_BF, codes_BF, law_B6 = tensors
    generator = torch.Generator().manual_seed(seed)
    found = [member.read(*tensors)[1]]
    for _ in range(N_READINGS - 1):
        hidden = torch.rand(codes_BF.shape, generator=generator) < dropout
        found.append(member.read(numbers_BF, codes_BF.masked_fill(hidden, 0), law_B6)[1])
    return torch.stack(found)


def new_head(member: NCPL, seed: int) -> CurveHead:
    """Return a fresh curve head for a member; its weights depend on `seed` only."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        n_inputs = len(member.low) + N_SCHEDULE_INPUTS + 1 + member.surface.n_optimizers + 1
        return CurveHead(member.names.shape[1], n_inputs)


def new_member(config: FitConfig, encoder: Encoder, surface: Surface, seed: int) -> NCPL:
    """Return a fresh network whose initial weights depend on `seed` only."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        own = Surface(surface.n_optimizers)
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
