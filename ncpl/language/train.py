"""Training: two stages, each a loop over steps that can be cut off and continued.

The number of processes does not matter: the batch of a step, its loss and its gradient are those
of one process, up to the order of sums.
"""

from __future__ import annotations

import contextlib
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule

from ncpl.errors import BundleError, NcplError
from ncpl.language.average import averaged, update
from ncpl.language.checkpoint import NAME, Progress, Training, read_progress, replace, write
from ncpl.language.examples import Examples
from ncpl.language.forecast import cast, residuals
from ncpl.language.metrics import Metrics
from ncpl.language.network import LanguageNetwork
from ncpl.language.parallel import Parallel, last_pass_only, plain, spread_like, whole
from ncpl.language.plan import Stage, hidden_fields, passes_of, rows_of, stages_of
from ncpl.language.quantities import KEPT
from ncpl.language.sequence import Sequencer

BEST = "best.safetensors"


@dataclass
class Trainer:
    """One training: its data, its settings, its place among the processes."""

    build: Callable[[], LanguageNetwork]
    """A fresh network on the CPU, always with the same weights."""
    sequencer: Sequencer
    train: Examples
    fold: Examples
    """Training groups held out; may be empty."""
    seed: int
    key: str
    """Hash of all that decides the weights, `Progress.key`."""
    folder: Path
    """Of checkpoints."""
    parallel: Parallel
    metrics_folder: Path | None = None
    """Of the metrics and what trackers write; `folder` if not given."""
    trackers: Sequence[str] = ()
    deadline: float | None = None
    """A time.monotonic() value after which training stops where it is."""
    show: Callable[[int, int, float], None] | None = None
    """Told (step, steps, loss) after each step, in the first process."""

    def run(self, *, resume: bool = False) -> Progress:
        """Train to the end, leave the best weights in BEST and return where that was.

        Raises KeyboardInterrupt after SIGINT or SIGTERM, with a checkpoint written;
        BundleError where the checkpoint belongs to other settings; NcplError when the loss is lost.
        """
        progress = (read_progress(self.folder) if resume else None) or Progress(self.key)
        if progress.key != self.key:
            raise BundleError(
                f"{self.folder / NAME} belongs to other settings, another snapshot or seed; "
                "train without --resume to begin anew"
            )
        config = self.sequencer.config
        stages = stages_of(config, len(self.train))
        self.n_steps = sum(stage.n_steps for stage in stages)
        self.lengths = [self.sequencer.length(query) for query in self.train.queries]
        self.hideable = [name for name in config.fields if name not in KEPT]
        resumed_at = progress.step
        metrics = None
        if self.parallel.is_first:
            about = {"config": config.to_dict(), "key": self.key, "world": self.parallel.world}
            place = self.metrics_folder or self.folder
            metrics = Metrics(place, self.trackers, first_step=resumed_at, about=about)
        carried: dict[str, Tensor] | None = None
        try:
            with _signals() as stop, torch.random.fork_rng(devices=[]):
                for stage in stages:
                    end = stage.begins_at + stage.n_steps
                    if resumed_at >= end and end < self.n_steps:
                        continue
                    run = _StageRun(self, stage, carried)
                    if carried is None and resumed_at:
                        is_begun = resumed_at > stage.begins_at
                        run.tensors.restore(self.folder / NAME, has_moments=is_begun)
                    is_over = run.loop(progress, metrics, stop)
                    if is_over:
                        break
                    carried = {n: whole(p) for n, p in run.tensors.weights.items()}
        finally:
            if metrics is not None:
                metrics.close()
        return progress


class _StageRun:
    """One stage under way: a network laid out over the processes and its optimizer."""

    def __init__(self, trainer: Trainer, stage: Stage, carried: dict[str, Tensor] | None) -> None:
        self.trainer, self.stage = trainer, stage
        self.parallel, self.sequencer = trainer.parallel, trainer.sequencer
        self.config = config = trainer.sequencer.config
        network = trainer.build()
        network.base.requires_grad_(not stage.is_base_frozen)
        if config.gradient_checkpointing:
            _checkpoint_activations(network.base)
        if config.compile:
            network.base.compile(dynamic=True)
        self.network = self.parallel.wrap(network)
        weights = dict(plain(self.network).named_parameters())
        if carried is not None:
            with torch.no_grad():
                for name, weight in weights.items():
                    weight.copy_(spread_like(carried[name], weight))
        trained = {name: p for name, p in weights.items() if p.requires_grad}
        base = [p for name, p in trained.items() if name.startswith("base.")]
        rest = [p for name, p in trained.items() if not name.startswith("base.")]
        groups = [(base, 1.0), (rest, config.number_learning_rate_factor)]
        self.optimizer = torch.optim.AdamW(
            [{"params": params, "factor": factor} for params, factor in groups if params],
            lr=stage.learning_rate,
            betas=(config.adam_beta1, config.adam_beta2),
            weight_decay=config.weight_decay,
        )
        average = {}
        if config.ema_decay:
            average = {name: p.detach().clone() for name, p in trained.items()}
        self.tensors = Training(weights, average, self.optimizer)
        self.trained = list(trained.values())

    def loop(self, progress: Progress, metrics: Metrics | None, stop: threading.Event) -> bool:
        """Train to the end of the stage; return whether training as a whole is over."""
        end = self.stage.begins_at + self.stage.n_steps
        is_last_stage = end == self.trainer.n_steps
        if progress.step >= end:  # a run that was cut off after its last step
            return is_last_stage
        while progress.step < end:
            begun = time.monotonic()
            step = progress.step
            loss, norm, n_tokens = self.step(step)
            if not math.isfinite(loss):
                raise NcplError(
                    f"the loss is {loss} at step {step}; lower the learning rates of the settings, "
                    "or continue from the last checkpoint: --resume"
                )
            progress.step = step + 1
            numbers = {
                "stage": self.stage.name,
                "loss": loss,
                "learning_rate": self.stage.rate(step),
                "grad_norm": norm,
                "tokens": n_tokens,
                "seconds": time.monotonic() - begun,
            }
            is_end = progress.step == self.trainer.n_steps
            if progress.step % self.config.evaluate_every == 0 or is_end:
                numbers["held_out_mae"] = self.look(progress)
            late = self.trainer.deadline is not None and time.monotonic() > self.trainer.deadline
            is_stopped, is_late = self.parallel.any(stop.is_set(), late)
            patience = self.config.patience
            is_done = is_end or is_late or 0 < patience <= progress.looks_since_best
            if is_late and not is_end and "held_out_mae" not in numbers:
                numbers["held_out_mae"] = self.look(progress)
            if metrics is not None:
                metrics.log(step, numbers)
                if self.trainer.show is not None:
                    self.trainer.show(progress.step, self.trainer.n_steps, loss)
            is_due = progress.step % self.config.checkpoint_every == 0 or progress.step == end
            if is_stopped or is_done or is_due:
                self.save(progress)
            if is_done:
                return True
            if is_stopped:
                raise KeyboardInterrupt
        return is_last_stage

    def step(self, step: int) -> tuple[float, float, int]:
        """Take one step of the optimizer; return the batch's loss, gradient norm and tokens."""
        config, parallel, queries = self.config, self.parallel, self.trainer.train.queries
        seed = self.trainer.seed
        rows = rows_of(step, len(queries), config.batch_size_runs, seed)
        hidden = hidden_fields(step, len(rows), self.trainer.hideable, config.field_dropout, seed)
        lengths = [self.trainer.lengths[i] for i in rows]
        passes = passes_of(lengths, config.max_tokens, parallel.world, parallel.rank)
        n_points = sum(len(queries[i].targets) for i in rows)
        for group in self.optimizer.param_groups:
            group["lr"] = self.stage.rate(step) * group["factor"]
        torch.manual_seed((seed * 1_000_003 + step) * 1_009 + parallel.rank)  # for dropout layers
        self.network.train()
        self.optimizer.zero_grad(set_to_none=True)
        total = torch.zeros((), dtype=torch.float64)
        n_tokens = 0
        for number, places in enumerate(passes):
            own, share = places or [0], 1.0 if places else 0.0
            batch = self.sequencer.batch(
                [queries[rows[i]] for i in own], [hidden[i] for i in own]
            ).to(parallel.device)
            is_last = number + 1 == len(passes)
            with last_pass_only(self.network, is_last=is_last), cast(config, parallel.device):
                error_R = self.network(batch) - batch.targets
                loss = share * _penalty(error_R, config.huber_delta).sum() / n_points
                # Gradients are averaged over the processes, and shall be summed.
                torch.autograd.backward(loss * parallel.world)
            total += loss.detach().double().cpu()
            n_tokens += int((batch.blocks >= 0).sum()) if places else 0
        norm = torch.nn.utils.clip_grad_norm_(self.trained, config.grad_clip_norm)
        self.optimizer.step()
        if self.tensors.average:
            decay = min(config.ema_decay, (1 + step) / (10 + step))
            update(self.tensors.average, self.tensors.weights, decay)
        sums = parallel.sum(torch.tensor([float(total), float(n_tokens)], dtype=torch.float64))
        return float(sums[0]), float(whole(norm)), int(sums[1])

    def look(self, progress: Progress) -> float:
        """Return the error on the held-out training groups; keep the weights if it is the best."""
        with averaged(self.tensors.average, self.tensors.weights):
            error = self.held_out_mae()
            if not error < progress.best_error and len(self.trainer.fold):
                progress.looks_since_best += 1
                return error
            progress.best_error, progress.best_step = error, progress.step
            progress.looks_since_best = 0
            full = {name: whole(weight) for name, weight in self.tensors.weights.items()}
            if self.parallel.is_first:
                replace(self.trainer.folder / BEST, full)
        return error

    def held_out_mae(self) -> float:
        """Return the mean absolute error over the points of the fold, nats; NaN without a fold."""
        queries, parallel = self.trainer.fold.queries, self.parallel
        if not queries:
            return math.nan
        self.network.eval()
        found = residuals(
            self.network, self.sequencer, queries, parallel.device,
            world=parallel.world, rank=parallel.rank,
        )  # fmt: skip
        _forget_gathered(self.network)
        missed = [
            abs(value - target)
            for i, values in found.items()
            for value, target in zip(values, queries[i].targets, strict=True)
        ]
        sums = parallel.sum(torch.tensor([sum(missed), len(missed)], dtype=torch.float64))
        return float(sums[0] / sums[1])

    def save(self, progress: Progress) -> None:
        """Write the checkpoint, in the first process."""
        tensors = self.tensors.tensors(self.parallel)
        if self.parallel.is_first:
            write(self.trainer.folder, tensors, progress)
        self.parallel.wait()


def _penalty(error_R: Tensor, delta: float) -> Tensor:
    if not delta:
        return error_R.square()
    return nn.functional.huber_loss(
        error_R, torch.zeros_like(error_R), reduction="none", delta=delta
    )


def _checkpoint_activations(base: Any) -> None:
    """Compute activations again in the backward pass; renamed within transformers 5."""
    enable = getattr(base, "activation_checkpointing_enable", None)
    if enable is not None:
        enable()
    else:
        base.gradient_checkpointing_enable({"use_reentrant": False})


def _forget_gathered(network: nn.Module) -> None:
    """Drop gathered weights: without a backward pass the outermost ones stay, and grow stale."""
    for module in network.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


@contextlib.contextmanager
def _signals() -> Iterator[threading.Event]:
    """Give an event that SIGINT and SIGTERM set, instead of ending the process at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # signals reach the main thread alone
        return
    wanted = (signal.SIGINT, signal.SIGTERM)
    before: dict[Any, Any] = {s: signal.signal(s, lambda *_: stop.set()) for s in wanted}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
