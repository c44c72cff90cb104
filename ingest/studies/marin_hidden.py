"""Hyperparameters a copy of the Marin logs dropped, found again by the digest in the run's name.

The digest is 24 bits of the MD5 of all hyperparameters, so the missing ones are found by trying
the study's grids: some thousand candidates a run, of which one fits by chance in some thousand
runs. Two that fit make the run ambiguous. Grids: the values of all launcher files and logged
configurations of the study (WhenWen/marin at 97cfef35, Apache-2.0); the wider ones are tried
where nothing of the first fits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ncpl_data.ingest.studies import marin as study

Values = Sequence[Any]

MOMENTA = (0.95, 0.98, 0.9, 0.8)
DECAYS = (0.8, 1, 0.6, 0.4, 0.2, 0.0)
EPSILONS = (1e-15, 1e-5, 1e-10, 1e-20, 1e-25)

GRIDS: Mapping[str, Mapping[str, Values]] = {
    "muon": {
        "muon_epsilon": EPSILONS,
        "momentum": MOMENTA,
        "muon_to_adam_lr": (0.3, 0.2, 0.1),
        "decay": DECAYS,
    },
    "scion": {
        "scion_epsilon": EPSILONS,
        "momentum": MOMENTA,
        "scion_to_signum_lr": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6),
        "decay": DECAYS,
    },
    "mars": {"gamma": (0.025, 0.05, 0.0125, 0.1, 0.00625)},
    "sophia": {"gamma": (0.0125, 0.025, 0.00625, 0.05, 0.1)},
    "soap": {
        "shampoo_beta": (0.9, 0.95, 0.98, 0.99),
        "precondition_frequency": (1, 5, 10),
        "partition_grads_into_blocks": (True, False),
        "block_size": (128, 256, 512),
    },
    "kron": {
        "preconditioner_lr": (0.2, 0.1),
        "preconditioner_init_scale": (1,),
        "normalize_grads": (True, False),
        "partition_grads_into_blocks": (True, False),
        "block_size": (128, 256, 512),
        "preconditioner_update_probability": (0.05, 0.1),
        "update_prob_flat_start": (500, 1000, 2000),
    },
}
"""Hidden hyperparameters by optimizer. Those of the other optimizers are all listed."""

WIDER: Mapping[str, Mapping[str, Values]] = {
    "muon": {
        "muon_epsilon": (*EPSILONS, 1e-8, 1e-7, 0.0),
        "momentum": (*MOMENTA, 0.85, 0.99, 0.97, 0.0),
        "muon_to_adam_lr": (0.3, 0.2, 0.1, 0.4, 0.5, 0.6, 0.05, 0.15, 0.25, 1),
        "decay": (*DECAYS, 0.5, 0.7, 0.9, 0.3, 0.1),
    },
    "scion": {
        "scion_epsilon": (*EPSILONS, 1e-8, 1e-7, 0.0),
        "momentum": (*MOMENTA, 0.85, 0.99, 0.97, 0.0),
        "scion_to_signum_lr": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.05, 0.15, 0.25, 0.7, 0.8, 1),
        "decay": (*DECAYS, 0.5, 0.7, 0.9, 0.3, 0.1),
    },
}


def hidden_keys(optimizer: str) -> tuple[str, ...]:
    """Return the hyperparameters that may have to be found."""
    return tuple(GRIDS.get(optimizer, ()))


def recover(
    name: str, optimizer: str, listed: Mapping[str, Any], train_steps: int
) -> list[dict[str, Any]]:
    """Return every choice of hidden hyperparameters that fits the digest in a run's name.

    None is found where the name has no digest or a value lies outside the grids; one is an
    answer, more than one is ambiguous. `listed` holds what is known, by the study's keys; a key
    it has is not searched. Choices that differ in spelling only are one.
    """
    named = study.parse_name(name)
    if named is None or named.digest is None or optimizer not in GRIDS:
        return []
    for grids in (GRIDS, WIDER):
        found = search(named, optimizer, grids.get(optimizer, {}), listed, train_steps)
        if found:
            return found
    return []


def search(
    named: study.MarinName,
    optimizer: str,
    grid: Mapping[str, Values],
    listed: Mapping[str, Any],
    train_steps: int,
) -> list[dict[str, Any]]:
    """Return the choices of one grid that fit."""
    if not grid:
        return []
    known = {**study.UNSWEPT, **listed, "steps": train_steps}
    keys = study.spelling_keys(optimizer)
    if any(key not in known and key not in grid for key in keys):
        return []
    choices: dict[str, list[str]] = {}
    values: dict[str, dict[str, Any]] = {}
    for key in keys:
        options = (known[key],) if key in known else grid[key]
        values[key] = {text: v for v in options for text in study.spelled(v)}
        choices[key] = list(values[key])
    found: list[dict[str, Any]] = []
    for text, spelled in study.spellings(optimizer, choices, named.visible):
        if study.digest(text) == named.digest:
            fit = {
                key: values[key][one]
                for key, one in zip(keys, spelled, strict=True)
                if key not in known
            }
            if fit not in found:
                found.append(fit)
    return found
