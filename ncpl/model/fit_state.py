"""The state of a fit: named tensors and an entry of the card, from which it is made again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from torch import Tensor, nn

from ncpl.data.snapshot import Family
from ncpl.laws.chinchilla import Chinchilla
from ncpl.model.config import FitConfig
from ncpl.model.curve_head import new_head
from ncpl.model.divergence import Risk
from ncpl.model.encoder import Encoder
from ncpl.model.ensemble import Fit
from ncpl.model.gaussian_process import Process
from ncpl.model.neighbours import KnownRuns
from ncpl.model.network import new_member
from ncpl.model.response_surface import Surface


def entry(fit: Fit) -> dict[str, Any]:
    """Return what the card tells of a fit: everything but tensors and known runs."""
    return {
        "family": list(fit.family),
        "encoder": fit.encoder.to_dict(),
        "baseline": asdict(fit.baseline),
        "seeds": fit.seeds,
        "calibration": fit.calibration,
    }


def tensors(fit: Fit) -> dict[str, Tensor]:
    """Return every tensor of a fit by part and name; the part of a member is its seed."""
    parts: dict[str, nn.Module | None] = {
        str(seed): member for seed, member in zip(fit.seeds, fit.members, strict=True)
    }
    parts |= {"process": fit.process, "risk": fit.risk}
    parts |= {f"head{seed}": h for seed, h in zip(fit.seeds, fit.heads, strict=False)}
    return {
        f"{part}/{name}": tensor.contiguous().clone()
        for part, module in parts.items()
        if module is not None
        for name, tensor in module.state_dict().items()
    }


def fit_of(
    entry: Mapping[str, Any], found: Mapping[str, Tensor], config: FitConfig, known: KnownRuns
) -> Fit:
    """Return the fit of a card's entry and its tensors."""
    encoder = Encoder.from_dict(entry["encoder"])
    members, heads = [], []
    for seed in entry["seeds"]:
        member = new_member(config, encoder, Surface(len(encoder.optimizers)), seed)
        member.load_state_dict(part(found, str(seed)))
        members.append(member.eval())
        if head_state := part(found, f"head{seed}"):
            head = new_head(member, encoder, seed)
            head.load_state_dict(head_state)
            heads.append(head.eval())
    process = risk = None
    if process_state := part(found, "process"):
        process = Process(len(process_state["x"]), process_state["columns"].tolist())
        process.load_state_dict(process_state)
        if risk_state := part(found, "risk"):
            risk = Risk(process_state["x"].shape[1], len(encoder.optimizers))
            risk.load_state_dict(risk_state)
    source, metric, dataset, tokenizer, unit = entry["family"]
    family: Family = (source, metric, dataset, tokenizer, unit)
    return Fit(
        family,
        encoder,
        Chinchilla(**entry["baseline"]),
        members,
        list(entry["seeds"]),
        process,
        config.process_share,
        heads,
        risk,
        known,
        dict(entry["calibration"]),
    )


def part(found: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """Return the tensors of one part, by their names inside it."""
    start = f"{name}/"
    return {key.removeprefix(start): t for key, t in found.items() if key.startswith(start)}
