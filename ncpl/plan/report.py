"""A recommendation as text for a terminal, and as plain values for JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from ncpl.errors import ConfigError
from ncpl.plan.recommend import Recommendation
from ncpl.plan.search import TIE_FRAC
from ncpl.plan.setting import CHOSEN, Setting
from ncpl_data.terminal.tables import aligned

SECONDS_PER_HOUR = 3600
HEAD = ("setting", "best", "tied, alone", "tied, together", "searched", "worst costs, nats")


def device_hours(flop: float, flops_per_device: float | None, mfu: float | None) -> float | None:
    """Return device-hours for a number of FLOP, None where neither speed nor utilization is given.

    `flops_per_device` is the peak in FLOP/s, `mfu` the share of it that a run reaches, in (0, 1].
    Raises ConfigError for one without the other.
    """
    if flops_per_device is None and mfu is None:
        return None
    if flops_per_device is None or mfu is None:
        raise ConfigError("device-hours need both --flops-per-device and --mfu")
    return flop / (flops_per_device * mfu) / SECONDS_PER_HOUR


def as_dict(found: Recommendation, hours: float | None) -> dict[str, Any]:
    """Return the recommendation in plain values.

    `cost` is that of the run; what the fixed fields give up is `constraint_cost`.
    """
    plain = dataclasses.asdict(found)
    plain["constraint_cost"] = plain.pop("cost")
    return plain | {"cost": {"flop": found.flop, "device_hours": hours}}


def as_text(found: Recommendation, hours: float | None) -> str:
    """Return the recommendation as tables and notes."""
    p, config = found.prediction, found.config
    chosen = [HEAD, *map(_row, [s for s in found.settings if s.role == CHOSEN])]
    table = aligned(chosen) if len(chosen) > 1 else ["nothing is left to search"]
    cost = f"{found.flop:.3g} FLOP" + (f", {hours:.3g} device-hours" if hours is not None else "")
    lines = [
        f"{found.source}: {config['params_non_embedding']:.4g} non-embedding parameters, "
        f"{config['train_tokens']:.4g} tokens: {cost}",
        f"loss {p.loss:.4f} nats per token, 90% {p.low:.4f} to {p.high:.4f}{_risk(p)}",
        "",
        *table,
    ]
    for role in dict.fromkeys(s.role for s in found.settings if s.role != CHOSEN):
        shown = [f"{s.name} {value_text(s.value)}" for s in found.settings if s.role == role]
        lines.append(f"{role}: {', '.join(shown)}")
    lines += ["", *_measured(found), *_cost(found), *_step_law(found)]
    if len(found.optimizers) > 1:
        lines += ["", *aligned(_optimizer_rows(found))]
    notes = [*found.notes, *p.warnings]
    return "\n".join([*lines, *([""] if notes else []), *(f"note: {note}" for note in notes)])


def _risk(prediction: Any) -> str:
    """Return the risk of divergence, where the bundle tells one."""
    risk = getattr(prediction, "divergence_risk", None)
    return "" if risk is None else f", risk of divergence {100 * risk:.1f}%"


def _row(setting: Setting) -> tuple[str, ...]:
    costs = setting.worst_costs
    return (
        setting.name,
        value_text(setting.value),
        _range(setting.tied_alone) if setting.matters else "all: does not matter",
        _range(setting.tied_together),
        _range(setting.searched),
        "" if costs is None else f"{costs:.4f}",
    )


def _range(ends: Sequence[Any] | None) -> str:
    if not ends:
        return ""
    if isinstance(ends[0], str):
        return ", ".join(ends) if len(ends) <= 4 else f"{len(ends)} names"
    if value_text(ends[0]) == value_text(ends[-1]):
        return value_text(ends[0])
    return f"{value_text(ends[0])} to {value_text(ends[-1])}"


def value_text(value: Any) -> str:
    """Return a value in at most three to four digits."""
    if isinstance(value, str) or value is None:
        return str(value)
    if float(value).is_integer() and abs(value) < 1e5:
        return f"{value:.0f}"
    return f"{value:.3g}"


def _measured(found: Recommendation) -> list[str]:
    """Return the best measured run of the nearest group, beside the choice."""
    near = found.measured
    if near is None:
        return ["no run of this optimizer is known to compare with"]
    where = "this size and tokens" if near.is_same else "the nearest measured size and tokens"
    where += f" ({near.params_non_embedding:.4g} on {near.data_tokens:.4g}, {near.n} runs)"
    shown = ", ".join(f"{name} {value_text(value)}" for name, value in near.config.items())
    at = f" at {shown}" if shown else ""
    return [f"measured best of {where}: {near.loss:.4f}{at}: {near.run_id}"]


def _cost(found: Recommendation) -> list[str]:
    """Return what the fixed fields give up, in one line."""
    cost = found.cost
    if cost is None:
        return []
    free = ", ".join(f"{name} {value_text(value)}" for name, value in cost.free.items())
    given = ", ".join(cost.fields)
    return [
        f"keeping {given} gives up {cost.nats:.4f} nats, 90% {cost.low:.4f} to {cost.high:.4f}, "
        f"against the best without ({free})"
    ]


def _step_law(found: Recommendation) -> list[str]:
    law, p = found.step_law, found.step_law_prediction
    verdict = "tied with the choice" if found.step_law_is_tied else "not tied with the choice"
    if p.loss < found.prediction.loss * (1 - TIE_FRAC):
        verdict = "below the choice, but outside what was searched or less certain"
    kept = [] if found.cost is None else found.cost.fields
    broken = [name for name in kept if name in law and law[name] != found.config.get(name)]
    if broken:
        verdict += f", and without what was fixed: {', '.join(broken)}"
    optimizer = law.get("optimizer")
    about = "" if optimizer in (None, "adamw") else f" (a law of AdamW runs, not of {optimizer})"
    return [
        f"Step Law (published constants): learning rate {value_text(law['learning_rate'])}, batch "
        f"{law['batch_size_sequences']} sequences of {law['sequence_length']:g}: loss "
        f"{p.loss:.4f}, 90% {p.low:.4f} to {p.high:.4f}; {verdict}{about}"
    ]


def _optimizer_rows(found: Recommendation) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [
        ("optimizer", "loss", "90% interval", "learning rate", "batch", "measured near", "")
    ]
    for rival in found.optimizers:
        config = rival["config"]
        rows.append(
            (
                str(rival["optimizer"]),
                f"{rival['loss']:.4f}",
                f"{rival['low']:.4f} to {rival['high']:.4f}",
                value_text(config.get("learning_rate")),
                value_text(config.get("batch_size_sequences")),
                _measured_text(rival["measured"]),
                "tied" if rival["tied"] else "",
            )
        )
    return rows


def _measured_text(near: dict[str, Any] | None) -> str:
    """Return the best loss of a group, and the group where it is another one."""
    if near is None:
        return "-"
    if near["is_same"]:
        return f"{near['loss']:.4f}"
    return f"{near['loss']:.4f} at {near['params_non_embedding']:.3g} on {near['data_tokens']:.3g}"
