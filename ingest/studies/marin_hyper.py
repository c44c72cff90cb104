"""Hyperparameters of the Marin study, in the columns of the catalog."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

COLUMNS: Mapping[str, str] = {
    "learning_rate": "learning_rate",
    "weight_decay": "weight_decay",
    "beta1": "adam_beta1",
    "beta2": "adam_beta2",
    "epsilon": "adam_epsilon",
    "momentum": "momentum",
    "nesterov": "is_nesterov",
    "max_grad_norm": "grad_clip_norm",
    "train_batch_size": "batch_size_sequences",
    "warmup": "warmup_steps",
}
"""Column of a hyperparameter; those without one go to `optimizer_extra` or the schedule."""


SCHEDULE_KEYS = ("decay", "lr_schedule", "min_lr_ratio")


SECOND_RATES: Mapping[str, str] = {
    "muon_to_adam_lr": "adam",
    "scion_to_signum_lr": "signum",
}
"""Group whose learning rate is the main one times this key."""


def hyperparameter_fields(config: Mapping[str, Any], train_steps: int) -> dict[str, Any]:
    """Return the columns a run's hyperparameters decide; keys that are absent stay out.

    Levanter reads `warmup` as steps from 1 on, else as a fraction; `decay` is the fraction of
    the run that decays, 1 being the whole run (`_convert_frac_or_steps`; runs with .2, .4, .6, .8
    and 1 differ as such fractions do). A schedule without the key decays after warm-up to the end.
    """
    found: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for key, value in config.items():
        if key in COLUMNS:
            found[COLUMNS[key]] = value
        elif key not in SCHEDULE_KEYS and value is not None:
            extra[key] = value
    if "warmup_steps" in found:
        warmup = found["warmup_steps"]
        found["warmup_steps"] = int(warmup if warmup >= 1 else warmup * train_steps)
    if "is_nesterov" in found:
        found["is_nesterov"] = bool(found["is_nesterov"])
    rate = config.get("learning_rate")
    if rate is not None and config.get("min_lr_ratio") is not None:
        found["min_learning_rate"] = rounded(rate * config["min_lr_ratio"])
    for key, group in SECOND_RATES.items():
        if rate is not None and config.get(key) is not None:
            found["learning_rate_groups"] = (
                {"group": "main", "learning_rate": rate},
                {"group": group, "learning_rate": rounded(rate * config[key])},
            )
    found["schedule"] = config.get("lr_schedule") or "cosine"
    decay = config.get("decay")
    if decay == 0:
        found["schedule"] = "constant"
    elif decay is not None and decay <= 1:
        found["decay_steps"] = int(decay * train_steps)
        if decay < 1:
            found["schedule"] = "wsd"
    if extra:
        found["optimizer_extra"] = extra
    return found


def rounded(value: float) -> float:
    """Return a product without the last bits' noise: .0024, not .0024000000000000002."""
    return float(f"{value:.12g}")
