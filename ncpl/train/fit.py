"""Training: baseline, response surface, Gaussian process, then the networks on top.

Legend: B runs.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ncpl.data.snapshot import Points, Runs, sizes
from ncpl.laws import chinchilla
from ncpl.model.arrays import Array
from ncpl.model.config import FitConfig
from ncpl.model.encoder import Encoder
from ncpl.model.ensemble import Fit
from ncpl.model.inputs import Inputs
from ncpl.model.neighbours import KnownRuns
from ncpl.train.beyond import told_beyond
from ncpl.train.checkpoint import checkpoint_name
from ncpl.train.curves import fit_curves
from ncpl.train.divergence import fit_risk
from ncpl.train.gaussian_process import fit_process
from ncpl.train.members import fresh_network, train_members
from ncpl.train.response_surface import choose_floor, fit_surface
from ncpl.train.warm_start import warm_start

log = logging.getLogger(__name__)


def fit_family(
    train: Runs,
    config: FitConfig,
    *,
    seed: int,
    start: Fit | None = None,
    kernel: Array | None = None,
    whole: Fit | None = None,
    points: Points | None = None,
    diverged: Runs | None = None,
    deadline: float | None = None,
    checkpoints: Path | None = None,
    on_step: Callable[[int, list[float]], None] | None = None,
) -> Fit:
    """Return the ensemble fitted to the training runs of one family.

    With `points`, the measured curves of the runs, it learns curves too; with `diverged`, runs that
    diverged where training runs did not, their risk. `start` is an older fit whose networks the
    members begin with; `kernel` holds numbers of a process's kernel that are taken, not fitted, and
    `whole` a fit of more runs whose refitted Chinchilla is. `deadline` is a time.monotonic() value
    after which the members stop, after one step at least; with `checkpoints`, they go on from what
    an earlier call left there; `on_step(step, errors)` is told each member's batch error, nats.
    """
    family = train.family[0]
    baseline = whole.baseline if whole else chinchilla.fit(*sizes(train), train.loss, seed=0)
    encoder = Encoder.fit(
        train.configs, config.context_fields, config.recipe_fields, config.process_fields
    )
    inputs = Inputs.of(encoder.encode(train.configs))
    target_B = train.loss.astype(np.float32)
    settings: dict[str, Any] = {
        "delta": config.huber_delta,
        "penalty": config.surface_penalty,
        "margin": config.hull_margin,
        "n_optimizers": len(encoder.optimizers),
    }
    floor = config.floor or choose_floor(inputs.law, target_B, **settings)
    surface = fit_surface(inputs.law, target_B, floor=floor, **settings)
    if not config.is_structured:
        surface = surface.flattened(baseline)
    process = risk = None
    kept = np.ones(len(train), dtype=bool)
    if config.process_share:
        surface_B = surface.value(surface.coefficients(inputs.law), inputs.law)
        process, places = fit_process(
            inputs, target_B - surface_B, surface, encoder, seed=seed, logs=kernel
        )
        kept[:] = False
        kept[places] = True
        carries, fades = config.carry == "yes", config.fade == "yes"
        if "chosen" in (config.carry, config.fade):
            told = told_beyond(inputs, target_B, encoder, floor=floor, seed=seed, **settings)
            carries = told[0] if config.carry == "chosen" else carries
            fades = told[1] if config.fade == "chosen" else fades
        process = dataclasses.replace(
            process, carries_level=np.array(carries), fades=np.array(fades)
        )
        if diverged is not None and len(diverged):
            more = Inputs.of(encoder.encode(diverged.configs))
            both = Inputs(*map(np.concatenate, zip(inputs, more, strict=True)))
            label = np.repeat([0.0, 1.0], [len(train), len(diverged)])
            risk = fit_risk(both, label, process, surface)
    seeds = [seed * 1000 + i for i in range(config.members)]
    network = fresh_network(config, encoder, surface, seeds).with_hull(inputs, config.hull_margin)
    if start is not None:
        network = warm_start(network, encoder, start.network, start.encoder)
    name = checkpoint_name(config, family, target_B, start, seed)
    network = train_members(
        network, inputs, target_B, config, seeds=seeds, deadline=deadline, on_step=on_step,
        checkpoint=checkpoints and checkpoints / name,
    )  # fmt: skip
    fit = Fit(
        family, encoder, baseline, network, seeds, process, config.process_share,
        risk=risk, known=KnownRuns.of(train.take(kept)),
    )  # fmt: skip
    if points is not None and config.curve_steps:
        fit = dataclasses.replace(fit, heads=fit_curves(fit, train, points, config))
    return fit


def settled(config: FitConfig, fit: Fit) -> FitConfig:
    """Return a configuration in which what training chose for a fit is given."""
    carries = fit.process is None or bool(fit.process.carries_level)
    fades = fit.process is not None and bool(fit.process.fades)
    floor = float(fit.surface.start[4])
    carry, fade = ("yes" if chosen else "no" for chosen in (carries, fades))
    return dataclasses.replace(config, floor=floor, carry=carry, fade=fade)
